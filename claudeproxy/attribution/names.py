"""Names on the wire: which server an MCP tool belongs to, which plugin brought it, what a tool call was for.

Apart because every section of a request asks the same questions. Claude Code names an MCP tool
``mcp__SERVER__TOOL`` with every character outside ``[A-Za-z0-9_-]`` replaced by ``_``. A server's name may itself
contain ``_`` and ``__``, so the cut is not in the name: known servers decide, longest first. Servers of plugins are
``mcp__plugin_PLUGIN_SERVER__TOOL`` (wire.md, section 4).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from claudeproxy.model import Source, SourceType

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from claudeproxy.attribution.rules import Rule

PREFIX = "mcp__"
MAX_POSSIBLE = 8  # servers' names that one tool's name is asked about: of a hostile one there are thousands
_PLUGIN = "plugin_"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


def normalize_server(name: str) -> str:
    """Return a configured server name as it stands inside tool names: ``plugin:a:b`` -> ``plugin_a_b``."""
    return _UNSAFE.sub("_", name)


def extract_mcp_server_name(tool_name: str, known_servers: Collection[str] = ()) -> str | None:
    """Return the server part of an MCP tool's name, None for any other tool.

    The longest known server that fits wins; with none known the name ends at the first ``__``.
    """
    if not tool_name.startswith(PREFIX):
        return None
    rest = tool_name[len(PREFIX) :]
    for server in _possible_servers(rest):  # a look-up each, however many are known
        if server in known_servers:
            return server
    server, separator, _tool = rest.partition("__")
    return server if separator and server else None


def _possible_servers(rest: str) -> Iterator[str]:
    """All that stands before a ``__``, the longest first."""
    end = len(rest)
    while (end := rest.rfind("__", 0, end + 1)) >= 0:
        yield rest[:end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """What a conversation says about its MCP servers. Hashable: it is part of what an explanation depends on.

    `known` holds server names as inside tool names; `plugins` pairs such a name with (plugin, server) where the client
    spelled them apart; `aggregators` are servers all of whose tools carry an inner name (``proxy__context7__get``).
    `guessed` are names that nobody spelled, cut at the first of several ``__``.
    """

    known: frozenset[str] = frozenset()
    plugins: frozenset[tuple[str, tuple[str, str]]] = frozenset()
    aggregators: frozenset[str] = frozenset()
    guessed: frozenset[str] = frozenset()
    rules: tuple[Rule, ...] = field(default=(), compare=False, repr=False)  # a user's, for tools' names
    _sources: dict[str, Source] = field(default_factory=dict, compare=False, repr=False)

    def source(self, server: str) -> Source:
        """Return the source for a server by its name as inside tool names."""
        if server not in self._sources:
            self._sources[server] = self._make(server)
        return self._sources[server]

    def written(self, name: str) -> Source:
        """Return the source for a server by its name as configured: ``plugin:PLUGIN:SERVER`` says whose it is."""
        parts = name.split(":")
        if len(parts) == 3 and parts[0] == "plugin" and all(parts):
            return Source(type=SourceType.MCP_SERVER, name=parts[2], plugin=parts[1])
        return self.source(normalize_server(name))

    def tool_source(self, tool_name: str) -> Source | None:
        """Return the server that a tool belongs to, seen through an aggregator; None for a built-in tool.

        A user's rule for the name comes before all else, and may say anything.
        """
        for rule in self.rules:
            if (match := rule.matches(tool_name)) is not None:
                return rule.source(match)
        server = extract_mcp_server_name(tool_name, self.known)
        if server is None:
            return None
        if server in self.aggregators:
            inner, _, rest = tool_name[len(PREFIX) + len(server) + 2 :].partition("__")
            if not rest:  # "mcp__proxy__*": all of them
                return self.source(server)
            return Source(type=SourceType.MCP_SERVER, name=inner, via=server)
        return self.source(server)

    def certainty(self, tool_name: str) -> float:
        """Return how sure it is where the server's name ends in a tool's."""
        return 0.8 if extract_mcp_server_name(tool_name, self.known) in self.guessed else 1.0

    def possible(self, tool_name: str) -> tuple[str, ...]:
        """Return the names that a tool's server could have, where only a guess says which; else nothing."""
        found = _possible_servers(tool_name[len(PREFIX) :]) if self.certainty(tool_name) < 1 else ()
        return tuple(islice(found, MAX_POSSIBLE))

    def _make(self, server: str) -> Source:
        spelled = dict(self.plugins).get(server)
        if spelled is None and server.startswith(_PLUGIN) and "_" in server[len(_PLUGIN) :]:
            plugin, _, inner = server[len(_PLUGIN) :].partition("_")  # unproven: either part may contain "_"
            spelled = (plugin, inner)
        if spelled is None or not all(spelled):
            return Source(type=SourceType.MCP_SERVER, name=server)
        return Source(type=SourceType.MCP_SERVER, name=spelled[1], plugin=spelled[0])


def gather_servers(tools: Iterable[str], named: Iterable[str]) -> Servers:
    """Work out the servers from tool names (schemas, listings, calls) and from names the client wrote out.

    A written name counts only when a tool of that name exists or it was given as ``mcp__NAME__*``: a heading inside a
    server's own text must not found a server.
    """
    names = {name for name in tools if name.startswith(PREFIX)}
    certain = {name[len(PREFIX) : -3] for name in names if name.endswith("__*")}
    spelled = {normalize_server(name): name for name in named}
    certain |= {server for name in names for server in _possible_servers(name[len(PREFIX) :]) if server in spelled}
    by_server: dict[str, list[str]] = {}
    for name in sorted(names):
        server = extract_mcp_server_name(name, certain)
        if server is not None:
            by_server.setdefault(server, []).append(name[len(PREFIX) + len(server) + 2 :])
    return Servers(
        known=frozenset(by_server) | frozenset(certain),
        plugins=frozenset(_spelled_plugins(spelled)),
        aggregators=frozenset(server for server, inner in by_server.items() if all(map(_carries_inner, inner))),
        guessed=frozenset(s for s, inner in by_server.items() if s not in certain and any(map(_carries_inner, inner))),
    )


def _spelled_plugins(spelled: Mapping[str, str]) -> Iterable[tuple[str, tuple[str, str]]]:
    for server, name in spelled.items():
        parts = name.split(":")
        if len(parts) == 3 and parts[0] == "plugin":
            yield server, (parts[1], parts[2])


def _carries_inner(tool: str) -> bool:
    inner, separator, rest = tool.partition("__")
    return bool(inner and separator and rest)


def skill_source(name: str) -> Source:
    """Return the source of a skill; ``plugin:skill`` carries the plugin."""
    plugin, separator, _skill = name.partition(":")
    return Source(type=SourceType.SKILL, name=name, plugin=plugin if separator else None)


def agent_source(name: str) -> Source:
    """Return the source of an agent by its type; ``plugin:agent`` carries the plugin."""
    plugin, separator, _agent = name.partition(":")
    return Source(type=SourceType.AGENT, name=name, plugin=plugin if separator else None)


def command_source(name: str) -> Source:
    """Return the source of a slash command, without its slash."""
    plugin, separator, _command = name.partition(":")
    return Source(type=SourceType.COMMAND, name=name, plugin=plugin if separator else None)


def framework(name: str) -> Source:
    """Return the source of text that the client itself wrote."""
    return Source(type=SourceType.FRAMEWORK, name=name)


def tool(name: str) -> Source:
    """Return the source of a built-in tool (or any tool that no MCP server brought)."""
    return Source(type=SourceType.TOOL, name=name)


USER = Source(type=SourceType.USER)
OVERHEAD = Source(type=SourceType.OVERHEAD)
UNCLASSIFIED = framework("unclassified")
