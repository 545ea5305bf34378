"""What a block's meaning depends on besides its own bytes: the conversation's facts and the block's place in it.

Apart because these values are the cache key of every explanation: whatever an explanation reads must stand here, and
everything here is frozen and hashable. `Scene` is one per request, `Place` one per block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import Servers

if TYPE_CHECKING:
    from claudeproxy.model import Source, WholeText


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The facts of one request that explanations read."""

    servers: Servers = field(default_factory=Servers)
    claude_code: bool = False  # the client says so: billing block, identity line or User-Agent
    version: str | None = None  # the client's
    cwd: str | None = None
    agent: str | None = None  # the subagent's type when this is a subagent's request
    auxiliary: bool = False  # a side call: its prompt is the client's
    glues: bool = False  # layout A: reminders are appended to tool results
    plugins: frozenset[str] = frozenset()  # that the request shows to be plugins
    skill_roots: frozenset[tuple[str, str]] = frozenset()  # plugins whose skills were used, and where those lie
    skills: frozenset[str] = frozenset()  # names with a colon, in listings and calls


class Role(StrEnum):
    """What part a block plays in the conversation."""

    TOOL = "tool"
    SYSTEM = "system"
    INJECTED = "injected"  # role:system text, or a reminder block of a user message
    ASSISTANT = "assistant"
    RESULT = "result"
    WHOLE = "whole"  # all of it belongs to `source`


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A block's part, with what its neighbours say about it."""

    role: Role
    source: Source | None = None
    kind: str = ""
    rule: str = ""
    evidence: str | None = None
    confidence: float = 1.0
    mention: str | None = None  # path of the file mention that this reminder goes on with
    notified: tuple[tuple[str, Source], ...] = ()  # calls that a notification here tells about, by id
    turn_tools: frozenset[str] = frozenset()  # names of the tools whose results stand in this message
    turn_paths: frozenset[str] = frozenset()  # and the files that they were called for
    apart: bool = False  # the reminders of this message's hooks stand in blocks of their own, so none is glued
    known: tuple[WholeText, ...] = ()  # where what is in doubt here stood alone in other requests
    spoken: bool = False  # not Claude Code's: role:system text is the application's own
