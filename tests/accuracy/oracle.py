"""Says for every mark in a captured request whose text it is there, from the plain JSON; never asks the engine.

A mark's owner follows from where it stands: a tool's definition is the tool's, what an assistant block says is the
model's (or the called server's, skill's, agent's), a result is the called tool's. Only where the client itself writes
(user and system messages, the system prompt, listings inside the descriptions of its own tools, reminders glued to a
result) does the plant's own row count.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claudeproxy.model import SourceType
from tests.accuracy.plants import BY_KEY, MARK, ODD_SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AGGREGATORS = frozenset({"proxy"})
SERVERS = ("docs", "my_server", "proxy", "plugin_toolbox_bench", "zz-broken-zz", *ODD_SERVERS.values())
PLUGIN_SERVERS = {"plugin_toolbox_bench": ("toolbox", "bench")}
FILE_NAMES = frozenset({"document", "picture"})
_TYPED_FOLDER = "garden:water</command-name>"
BUILT_IN_LISTERS = frozenset({"Agent", "Skill", "Task"})
_S = SourceType


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """What an occurrence must be attributed to. Empty `kinds`: any kind; `names` None: no name."""

    type: SourceType
    names: tuple[str | None, ...] = (None,)
    kinds: frozenset[str] = frozenset()
    via: str | None = None
    plugin: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One mark in one request's body."""

    key: str
    at: int  # byte offset in the body
    path: str  # "$.messages[2].content[0]..."
    owner: Owner


@dataclass(slots=True)
class _Reader:
    """One request read from its JSON."""

    names: Mapping[str, str]  # what the templates of plants' names mean
    uses: dict[str, dict[str, object]] = field(default_factory=dict)
    found: list[tuple[str, str, Owner]] = field(default_factory=list)  # key, path, owner

    def read(self, body: dict[str, object]) -> None:
        """Visit every string, in the order of the document."""
        self._collect_uses(body.get("messages"))
        for key, value in body.items():
            if key == "tools" and isinstance(value, list):
                for number, tool in enumerate(value):
                    self._tool(f"$.tools[{number}]", tool)
            elif key == "system":
                self._client(f"$.{key}", value)
            elif key == "messages" and (quoted := _side_call(body)) is not None:
                self.found += _quotations(quoted)
            elif key == "messages" and isinstance(value, list):
                for number, message in enumerate(value):
                    self._message(f"$.messages[{number}]", message)
            else:
                self._all(f"$.{key}", value, Owner(type=_S.OVERHEAD, names=(key, None)))

    def _collect_uses(self, messages: object) -> None:
        for message in messages if isinstance(messages, list) else []:
            for block in message["content"] if isinstance(message["content"], list) else []:
                if block.get("type") == "tool_use":
                    self.uses[block["id"]] = block

    def _tool(self, path: str, tool: dict[str, object]) -> None:
        name = str(tool.get("name"))
        owner = _tool_owner(name, "schema")
        for mark, where in _marks(tool, path):
            plant = BY_KEY[mark]
            if name == "SlashCommand":  # lists commands as such; later clients list them among the skills
                self.found.append(
                    (mark, where, Owner(type=_S.COMMAND, names=plant.names, kinds=frozenset({"listing"})))
                )
            else:
                listed = name in BUILT_IN_LISTERS and plant.described
                self.found.append((mark, where, self._own(mark) if listed else owner))

    def _message(self, path: str, message: dict[str, object]) -> None:
        for key, value in message.items():
            where = f"{path}.{key}"
            if key != "content":
                continue
            if not isinstance(value, list):
                self._said(where, message, value)
                continue
            for number, block in enumerate(value):
                self._said(f"{where}[{number}]", message, block)

    def _said(self, path: str, message: dict[str, object], block: object) -> None:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if message["role"] == "assistant":
            self._all(path, block, self._call_owner(block) if kind == "tool_use" else _assistant(str(kind)))
        elif kind == "tool_result" and isinstance(block, dict):
            use = self.uses.get(str(block.get("tool_use_id")))
            owner = _result_owner(use) if use is not None else Owner(type=_S.TOOL, names=("unknown tool",))
            for mark, where in _marks(block, path):
                own = BY_KEY[mark].glued and not _is_the_tools(mark, block, use)
                self.found.append((mark, where, self._own(mark) if own else owner))
        else:
            self._client(path, block, typed=_TYPED_FOLDER in str(message["content"]))

    def _call_owner(self, use: object) -> Owner:
        assert isinstance(use, dict)
        owner = _result_owner(use)
        if owner.type is _S.TOOL:
            return Owner(type=_S.ASSISTANT, names=("tool calls",), kinds=frozenset({"call"}))
        return Owner(type=owner.type, names=owner.names, kinds=frozenset({"call"}), via=owner.via, plugin=owner.plugin)

    def _client(self, path: str, value: object, *, typed: bool = False) -> None:
        found = list(_marks(value, path))
        sentences = {where: mark for mark, where in found if BY_KEY[mark].type is _S.USER}
        for mark, where in found:
            if mark == "compact-args" and "<command-name>/compact<" in str(value):
                owner = Owner(type=_S.COMMAND, names=("compact",))
            elif mark in ("folder-body", "folder-args") and not typed:  # called by the model: as a skill
                owner = Owner(type=_S.SKILL, names=("garden:water",), kinds=frozenset({"body", "arguments"}))
            else:
                owner = self._own(sentences.get(where, mark) if mark in FILE_NAMES else mark)
            self.found.append((mark, where, owner))

    def _all(self, path: str, value: object, owner: Owner) -> None:
        self.found += [(mark, where, owner) for mark, where in _marks(value, path)]

    def _own(self, key: str) -> Owner:
        plant = BY_KEY[key]
        names = tuple(name.format_map(self.names) for name in plant.names) or (None,)
        return Owner(type=plant.type, names=names, kinds=plant.kinds, via=plant.via, plugin=plant.plugin)


def _side_call(body: dict[str, object]) -> str | None:
    """The text of a side call that quotes the conversation, None for any other request."""
    messages = body.get("messages")
    if not isinstance(messages, list) or len(messages) != 1 or len(_list(body.get("tools"))) > 1:
        return None
    content = messages[0]["content"]
    words = content if isinstance(content, str) else str(content[-1].get("text", ""))
    return words if words.startswith(("<policy_spec>", "Command: ", "Please write a 5-10 word title")) else None


def _quotations(text: str) -> Iterator[tuple[str, str, Owner]]:
    """A side call keeps who spoke and nothing else: a mark belongs to the last speaker named before it."""
    calls, said = (Owner(type=_S.ASSISTANT, names=(n,), kinds=frozenset({"quote"})) for n in ("tool calls", "text"))
    speakers = {
        "\nCommand: ": calls,
        "\nOutput: ": Owner(type=_S.TOOL, names=("Bash",), kinds=frozenset({"quote"})),
        "\nUser: ": Owner(type=_S.USER, kinds=frozenset({"quote"})),
        "\nClaude: ": said,
    }
    for match in MARK.finditer(text):
        before = "\n" + text[: match.start()]
        label = max(speakers, key=before.rfind)
        yield match[1], "$.messages", speakers[label]


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def occurrences(body: bytes, names: Mapping[str, str]) -> list[Occurrence]:
    """Return every mark in a request's body, with its owner. The document order of bytes and values is the same."""
    reader = _Reader(names)
    reader.read(json.loads(body))
    places = [(match[1], match.start()) for match in MARK.finditer(body.decode("latin-1"))]
    assert [key for key, _ in places] == [key for key, _, _ in reader.found], "a mark stands in a key"
    return [
        Occurrence(key=key, at=at, path=path, owner=owner)
        for (key, at), (_, path, owner) in zip(places, reader.found, strict=True)
    ]


def _marks(value: object, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        for match in MARK.finditer(value):
            yield match[1], path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _marks(item, f"{path}.{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _marks(item, f"{path}[{number}]")


def _is_the_tools(mark: str, block: dict[str, object], use: dict[str, object] | None) -> bool:
    """Whether a result holds a plant in the tool's own words, though the client may also glue it to results."""
    if mark == "todo":
        return use is not None and use["name"] in ("TaskCreate", "TodoWrite")
    # Of a refused call some versions say no more than the hook's reason: then only its place is known.
    return mark == "hook-pre-deny" and not str(block.get("content")).startswith(
        ("PreToolUse:", "Bash operation blocked by hook:")
    )


def _assistant(kind: str) -> Owner:
    return Owner(type=_S.ASSISTANT, names=(kind,), kinds=frozenset({kind}))


def _server_owner(server: str, tool: str, kind: str) -> Owner:
    kinds = frozenset({kind})
    if server in AGGREGATORS:
        return Owner(type=_S.MCP_SERVER, names=(tool.split("__")[0],), kinds=kinds, via=server)
    plugin, name = PLUGIN_SERVERS.get(server, (None, server))
    return Owner(type=_S.MCP_SERVER, names=(name,), kinds=kinds, plugin=plugin)


def _tool_owner(name: str, kind: str) -> Owner:
    for server in SERVERS:
        if name.startswith(f"mcp__{server}__"):
            return _server_owner(server, name.removeprefix(f"mcp__{server}__"), kind)
    return Owner(type=_S.TOOL, names=(name,), kinds=frozenset({kind}))


def _result_owner(use: dict[str, object]) -> Owner:
    """Whose a call's result is; a failure stands apart as `error`."""
    kinds = frozenset({"result", "error"})
    name, given = str(use["name"]), use["input"]
    assert isinstance(given, dict)
    if name == "Skill":
        skill = str(given.get("skill"))
        return Owner(type=_S.SKILL, names=(skill,), kinds=kinds, plugin=_plugin(skill))
    if name in ("Agent", "Task"):
        agent = str(given.get("subagent_type"))
        return Owner(type=_S.AGENT, names=(agent,), kinds=kinds, plugin=_plugin(agent))
    if name == "ReadMcpResourceTool":
        return Owner(type=_S.MCP_SERVER, names=(str(given.get("server")),), kinds=kinds)
    if name == "ListMcpResourcesTool":  # each entry names its server; only `docs` has resources
        return Owner(type=_S.MCP_SERVER, names=("docs",), kinds=kinds)
    owner = _tool_owner(name, "result")
    return Owner(type=owner.type, names=owner.names, kinds=kinds, via=owner.via, plugin=owner.plugin)


def _plugin(name: str) -> str | None:
    """The plugin of a skill or agent; other names with a colon are of commands in folders."""
    return "toolbox" if name.startswith("toolbox:") else None
