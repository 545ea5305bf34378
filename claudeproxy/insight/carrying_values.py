"""What `Carrying` gives: the lives of pieces of context. Frozen values; times ns since the epoch, costs pico-dollars.

Apart, as `values` is, so that the API and the command line can name them without the SQL behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.model import Source


class Gone(StrEnum):
    """Why a piece of context is not sent any more."""

    COMPACTION = "compaction"  # the conversation was summed up
    DROPPED = "dropped"  # the client left it out


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What one source has in one block, through a conversation: first sent, then carried along.

    A block is known by its texts, wherever it stands: a tool that is added in front gives the history no new lives.
    """

    agent_id: str | None  # None: the main conversation
    source: Source
    kind: str  # of its largest piece: schema, result, ...
    text_hash: str  # SHA-256 (hex) of that piece's text, as in ContextAttribution.content_hash; "": of no text
    tokens: int  # when it was last sent
    first_request: str
    first_at: int
    last_request: str
    last_at: int
    requests: int  # that sent it and were billed
    reads: int  # after the first: from the cache
    writes: int  # after the first: into the cache
    rewrites: int  # those of the writes that had been in the cache before
    uncached: int  # after the first: at the full price
    fetched_tokens: int  # the first time
    carried_tokens: int  # all later times
    fetched_cost: int | None  # the first time; this and the next None: price unknown
    carried_cost: int | None  # all later times
    gone: Gone | None  # None: the last request of its conversation still had it

    @property
    def cost(self) -> int | None:
        """Over its life."""
        if self.fetched_cost is None or self.carried_cost is None:
            return None
        return self.fetched_cost + self.carried_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class CarriedSource:
    """All lives of one source: fetched for so much, carried for so much over so many turns."""

    source: Source
    lives: int
    turns: int  # requests that carried any of it along
    fetched_tokens: int
    carried_tokens: int
    fetched_cost: int | None
    carried_cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTotal:
    """What was billed beside the prompts: generated text, thinking, calls; fees."""

    source: Source
    tokens: int
    cost: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CarryingCost:
    """A session's bill by what was carried. Costs of all sources and of the output add up to `cost`, exactly."""

    session_id: str
    requests: int  # billed ones
    unbilled: int  # the others: failed, in flight, or not settled; they are not in here
    unpriced: int  # billed ones whose price is unknown: they are in tokens, not in costs
    subscription: bool  # some were paid by a subscription: costs are what the API would have charged
    cost: int  # of the priced ones
    sources: Sequence[CarriedSource]  # the dearest first
    output: Sequence[OutputTotal]
    lives: Sequence[Life]  # the dearest first
