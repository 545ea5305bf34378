"""What `sessions` gives: summaries, agents, turns. Frozen values; times are ns since the epoch, costs pico-dollars.

Apart, as `values` is, so that the API and the command line can name them without the SQL behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.model import State


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFilters:
    """What `Sessions.list` is asked for; None filters nothing.

    `project` is a directory, or the last parts of one, as in `RequestFilters`.
    """

    since: int | None = None  # inclusive
    until: int | None = None  # exclusive
    project: str | None = None
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTotals:
    """Requests of a session or an agent together."""

    requests: int  # all of them: attempts, side calls and counts too
    retries: int  # attempts after the first at the same request
    failed: int  # no whole answer, or one that says that something went wrong
    in_flight: int
    tokens: int  # context, each once however many attempts it took
    output_tokens: int  # as billed
    billed_tokens: int  # prompt tokens as billed: input, cache creation, cache read
    cache_read_tokens: int  # those of them that the cache had
    cost: int | None  # of what has a price; None: nothing has
    started: int
    ended: int  # the last byte that was delivered, or the last request
    models: tuple[str, ...]

    @property
    def cache_share(self) -> float:
        """The part of the billed prompt that the cache had, 0 to 1; 0.0 of nothing."""
        return self.cache_read_tokens / self.billed_tokens if self.billed_tokens else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """One session in a list."""

    session_id: str
    project: str | None  # as last said
    client: str | None
    client_version: str | None
    agents: int  # subagents, without the main conversation
    prompts: int  # of the main conversation
    turns: int  # of all agents
    totals: SessionTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionPage:
    """One page of sessions, the last active first, and how many match in all."""

    rows: tuple[SessionSummary, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionAgent:
    """The main conversation (`agent_id` None, no type) or a subagent, with the agents that it called, the first first.

    A type without an id: requests of subagents that nothing names.
    """

    agent_id: str | None
    parent_agent_id: str | None  # as the client says; None: called by the main conversation
    agent_type: str | None
    totals: SessionTotals  # its own, without its children's
    children: tuple[SessionAgent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRequest:
    """One attempt."""

    id: str
    timestamp: int
    state: State
    request_class: str | None
    model: str | None
    status_code: int | None
    error: str | None
    stop_reason: str | None
    tokens: int | None  # None: not explained
    output_tokens: int | None
    cost: int | None
    retry_of: str | None  # the first attempt, when this is another one


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTurn:
    """One request of a conversation with all attempts at it. Indexes count from 1 within the agent."""

    agent_id: str | None
    agent_type: str | None
    prompt_index: int
    turn_index: int
    started: int
    state: State  # of the last attempt
    tokens: int | None  # counted once; None: not explained
    output_tokens: int
    cost: int | None
    requests: tuple[SessionRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDetail:
    """A session: what all of it comes to, and a page of its turns and of its other requests."""

    summary: SessionSummary
    states: Mapping[str, int]  # requests of each
    request_classes: Mapping[str, int]  # those without one are left out
    agents: tuple[SessionAgent, ...]  # the roots: the main conversation, where any of it was captured
    turns: tuple[SessionTurn, ...]  # in order of time
    turns_total: int
    others: tuple[SessionRequest, ...]  # side calls, counts, compactions, what was not explained
    others_total: int
