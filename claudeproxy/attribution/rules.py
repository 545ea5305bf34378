"""The rules' form: one row a kind of text that the client writes into a conversation, with the proof that it works.

Apart from the table (`rulebook`) and from the code that applies it (`segmenter`, `custom`), because users add rows of
the same form (`userrules`). A rule of scope TEXT says how an item *begins*; where it ends follows from the rest:

- a `closed` item is matched whole by its pattern, so nothing inside it can pass for another item;
- an open item (a hook's output, a server's instructions) may contain anything, also text that imitates markers. What
  follows it only ends it when the client would write it there: `rank` is the place in the order in which the client
  joins items into one text (wire.md, section 4), `resent` its place when listings are sent again after a compaction.

The other scopes are for users alone: they know their own system prompts, gateways and names.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import agent_source, command_source, skill_source
from claudeproxy.model import Source, SourceType

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

_MAKERS = {
    SourceType.SKILL: skill_source,
    SourceType.AGENT: agent_source,
    SourceType.COMMAND: command_source,
}


class Scope(StrEnum):
    """What a rule's pattern is held against."""

    TEXT = "text"  # items that the client injects into the conversation, from a paragraph's start
    SYSTEM = "system"  # paragraphs of the system prompt, from their start
    TOOLS = "tools"  # the whole name of a tool
    NAMES = "names"  # the whole label of a source that other rules found: "MCP: docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of item. `name`, `plugin` and `via` may use the pattern's named groups: ``"{event}:{matcher}"``."""

    id: str
    pattern: re.Pattern[str]
    type: SourceType
    name: str
    plugin: str = ""
    via: str = ""
    kind: str
    scope: Scope = Scope.TEXT
    rank: int = 5
    resent: int | None = None
    closed: bool = False
    repeats: bool = False  # several of the same may stand in one text
    glued: bool = False  # layout A appends it to a tool result
    divide: str | None = None  # the divider (see `containers`) that cuts a container into its entries
    layouts: str = "ABC"
    confidence: float = 1.0
    example: str
    counter_example: str

    def source(self, match: re.Match[str]) -> Source:
        """Return whose text it is."""
        groups = {key: value or "" for key, value in match.groupdict().items()}
        name = self.name.format_map(groups).strip(": ") or str(self.type)
        if self.plugin or self.via:
            plugin, via = self.plugin.format_map(groups), self.via.format_map(groups)
            return Source(type=self.type, name=name, plugin=plugin or None, via=via or None)
        if self.type in {SourceType.USER, SourceType.OVERHEAD} and not self.name:
            return Source(type=self.type)
        maker = _MAKERS.get(self.type)
        return maker(name) if maker is not None else Source(type=self.type, name=name)

    def matches(self, text: str) -> re.Match[str] | None:
        """Hold a whole text against the pattern as the scope demands: names from end to end, texts from the start."""
        return self.pattern.fullmatch(text) if self.scope in _WHOLE else self.pattern.match(text)

    def ranks(self) -> tuple[int, int]:
        """Return the rule's places in the two orders."""
        return self.rank, self.rank if self.resent is None else self.resent

    def fingerprint(self) -> str:
        """Return all that decides the rule's result, as text."""
        parts = (self.id, self.pattern.pattern, str(self.pattern.flags), str(self.type), self.name, self.kind)
        more = (self.ranks(), self.closed, self.repeats, self.glued, self.divide, self.layouts, self.confidence)
        return "\x1f".join((*parts, *map(str, more), self.scope, self.plugin, self.via))


_WHOLE = frozenset({Scope.TOOLS, Scope.NAMES})


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in the order in which they are tried: the first that matches wins."""

    rules: tuple[Rule, ...]
    version: str = field(init=False)
    _by_scope: dict[Scope, tuple[Rule, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256("\x1e".join(rule.fingerprint() for rule in self.rules).encode())
        object.__setattr__(self, "version", digest.hexdigest()[:12])
        by_scope = {scope: tuple(rule for rule in self.rules if rule.scope is scope) for scope in Scope}
        object.__setattr__(self, "_by_scope", by_scope)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self.rules)

    def of(self, scope: Scope) -> tuple[Rule, ...]:
        """Return the rules of one scope."""
        return self._by_scope[scope]

    def match(self, text: str, at: int = 0, *, glued: bool = False) -> tuple[Rule, re.Match[str]] | None:
        """Return the first rule whose item begins at `at`; with `glued` only those of layout A's tool results."""
        for rule in self._by_scope[Scope.TEXT]:
            if glued and not rule.glued:
                continue
            found = rule.pattern.match(text, at)
            if found is not None:
                return rule, found
        return None

    def extended(self, *rules: Rule) -> RuleSet:
        """Return a set in which the given rules are tried before the present ones."""
        return RuleSet((*rules, *self.rules))
