"""A block read once: its members, its text, and what it tells about the rest of the conversation.

Apart because reading depends on a block's bytes alone and is remembered by their hash, while what a block means
depends on its place. A view never judges; it only knows shapes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.attribution.plugins import listed_plugins, listed_skills
from claudeproxy.sansio.jsonspans import JSONSpanError, Member, object_members
from claudeproxy.sansio.jsonstrings import JSONString, decode_string

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REMINDER_OPEN = "<system-reminder>"
REMINDER_CLOSE = "</system-reminder>"
MAX_NAME = 400  # longer names and paths than this are not believed

# Claude Code's own tools that reach into a server; another client's tool may well have an argument named `server`.
_RESOURCE_TOOLS = frozenset({"ListMcpResourcesTool", "ReadMcpResourceTool", "ReadMcpResourceDirTool"})
# Calls of the API's code execution are named by what runs, its definition by the tool: one source.
_PARTS = {"bash_code_execution": "code_execution", "text_editor_code_execution": "code_execution"}
_LISTERS = frozenset({"Agent", "Skill", "SlashCommand", "Task"})
_MCP_LINE = re.compile(r"^(mcp__[^\s(]+)(?: \(\d+\))?$", re.MULTILINE)
_HEADING = re.compile(r"^## ([^\n]{1,200})$", re.MULTILINE)
_SERVER_NOTICE = re.compile(
    r"^The following MCP servers (?:are|(?:also )?require|have disconnected)[^\n]*\n((?:[^\n]+(?:\n|\Z))+)",
    re.MULTILINE,
)
_CWD = re.compile(
    r"(?:# Environment\nYou have been invoked in the following environment:[^\n]*\n\s*- Primary working directory: "
    r"|<env>\nWorking directory: )([^\n]{1,4000})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """A tool call, as far as attribution looks into it."""

    id: str
    name: str
    skill: str | None = None  # Skill: input.skill; SlashCommand: input.command
    agent: str | None = None  # Task, Agent: input.subagent_type
    path: str | None = None  # file tools: input.file_path
    server: str | None = None  # resource tools: input.server; connector blocks: server_name


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChange:
    """What a ``tool_addition`` or ``tool_removal`` names: a tool, a server's tool, or a server's whole set."""

    name: str | None
    server: str | None
    defines: bool  # it carries the definition


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockView:
    """One block's shape. Offsets in `members` and `text` are bytes from the block's start."""

    raw: bytes
    digest: bytes
    type: str  # "string" for a bare string, "" when it says nothing
    order: tuple[Member, ...]  # all members, duplicates too
    members: Mapping[str, Member]  # the last of each name
    text: JSONString | None  # of a bare string or of a text block
    use: ToolUse | None = None
    answers: str | None = None  # tool_use_id of a result
    tool_name: str | None = None  # of a tool's definition
    tool_names: tuple[str, ...] = ()  # MCP tool names that stand on lines of their own in listings
    headings: tuple[str, ...] = ()  # servers as configured: "## NAME" of MCP instructions, lines of notices
    cwd: str | None = None
    plugins: tuple[str, ...] = ()  # that listings show: of agents, of 2.0's skills
    skills: tuple[str, ...] = ()  # names with a colon in 2.0's list of skills

    @property
    def words(self) -> str:
        """The text, or nothing."""
        return self.text.text if self.text is not None else ""

    @property
    def is_reminder(self) -> bool:
        """Whether the whole text is wrapped in reminder tags (or looks like it)."""
        return is_reminder(self.words)


def is_reminder(text: str) -> bool:
    """Tell whether a text begins with a reminder's opening tag and ends with a closing one."""
    return text.startswith(REMINDER_OPEN) and text.rstrip().endswith(REMINDER_CLOSE)


def read_block(raw: bytes, digest: bytes) -> BlockView:
    """Read one block. Never raises: what cannot be read has no members and no text."""
    try:
        if raw[:1] == b'"':
            return _text_view(raw, digest, "string", (), decode_string(raw))
        order = tuple(object_members(raw))
        members = {member.key: member for member in order}
        kind = string_member(raw, members, "type") or ""
        if kind == "text" and (text := members.get("text")) is not None and raw[text.start] == ord('"'):
            return _text_view(raw, digest, kind, order, decode_string(raw, text.start, text.end))
        described = _description(raw, members)
        return BlockView(
            raw=raw,
            digest=digest,
            type=kind,
            order=order,
            members=members,
            text=None,
            plugins=listed_plugins(described),
            skills=listed_skills(described),
            use=_tool_use(raw, kind, members) if kind.endswith("tool_use") else None,
            answers=string_member(raw, members, "tool_use_id"),
            headings=_glued_headings(raw) if kind == "tool_result" else (),
            tool_name=string_member(raw, members, "name"),
            tool_names=_changed_tools(raw, members) if kind in {"tool_addition", "tool_removal"} else (),
        )
    except JSONSpanError:
        return BlockView(raw=raw, digest=digest, type="", order=(), members={}, text=None)


def string_member(raw: bytes, members: Mapping[str, Member], key: str) -> str | None:
    """Return a member's value when it is a string of sensible length, None otherwise."""
    member = members.get(key)
    if member is None or raw[member.start] != ord('"') or member.end - member.start > MAX_NAME * 6:
        return None
    try:
        return decode_string(raw, member.start, member.end).text
    except JSONSpanError:
        return None


def _glued_headings(raw: bytes) -> tuple[str, ...]:
    """Return the servers' headings in a result: layout A glues instructions to it. Whose they are is judged later."""
    found = raw.find(b"# MCP Server Instructions\\n")
    parts = raw[found:].split(b"\\n") if found >= 0 else []
    names = (part.removeprefix(b"## ") for part in parts if part.startswith(b"## ") and b'"' not in part)
    return tuple(name.decode("utf-8", "replace") for name in names if len(name) <= MAX_NAME)


def _description(raw: bytes, members: Mapping[str, Member]) -> str:
    """Return the description of one of the client's own tools that list what there is."""
    member = members.get("description")
    if member is None or raw[member.start] != ord('"') or string_member(raw, members, "name") not in _LISTERS:
        return ""
    return decode_string(raw, member.start, member.end).text


def tool_change(raw: bytes, members: Mapping[str, Member]) -> ToolChange | None:
    """Return what the `tool` of a tool change names, None when that cannot be read."""
    tool = _inner(raw, members, "tool")
    definition = _inner(raw, tool, "definition")
    named = definition or tool
    if not named:
        return None
    server = string_member(raw, named, "mcp_server_name") or string_member(raw, named, "server_name")
    return ToolChange(name=string_member(raw, named, "name"), server=server, defines=bool(definition))


def _changed_tools(raw: bytes, members: Mapping[str, Member]) -> tuple[str, ...]:
    change = tool_change(raw, members)
    return (change.name,) if change is not None and change.name is not None else ()


def _inner(raw: bytes, members: Mapping[str, Member], key: str) -> dict[str, Member]:
    member = members.get(key)
    if member is None or raw[member.start] != ord("{"):
        return {}
    try:
        return {inner.key: inner for inner in object_members(raw, member.start, member.end)}
    except JSONSpanError:
        return {}


def _text_view(raw: bytes, digest: bytes, kind: str, order: tuple[Member, ...], text: JSONString) -> BlockView:
    words = text.text
    listing = "deferred" in words and "mcp__" in words
    instructions = "# MCP Server Instructions" in words
    cwd = _CWD.search(words)
    return BlockView(
        raw=raw,
        digest=digest,
        type=kind,
        order=order,
        members={member.key: member for member in order},
        text=text,
        tool_names=tuple(_MCP_LINE.findall(words)) if listing else (),
        headings=(*(_HEADING.findall(words) if instructions else ()), *_noticed_servers(words)),
        cwd=cwd[1].strip() if cwd else None,
        plugins=listed_plugins(words),
    )


def _noticed_servers(words: str) -> Iterator[str]:
    """Yield the servers that a notice about connections lists, one a line, each perhaps with a code and a reason."""
    if "The following MCP servers " in words:
        for notice in _SERVER_NOTICE.finditer(words):
            for line in notice[1].splitlines():
                yield re.split(r": |:\Z| \(", line.removeprefix("- ").strip(), maxsplit=1)[0]


def _tool_use(raw: bytes, kind: str, members: Mapping[str, Member]) -> ToolUse | None:
    name, use_id = string_member(raw, members, "name"), string_member(raw, members, "id")
    if name is None or use_id is None:
        return None
    if kind == "server_tool_use":
        name = _PARTS.get(name, name)
    fields: dict[str, str] = {}
    member = members.get("input")
    if member is not None:
        try:
            value = json.loads(raw[member.start : member.end])
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            fields = {key: item for key, item in value.items() if isinstance(item, str) and len(item) <= 4000}
    return ToolUse(
        id=use_id,
        name=name,
        skill=_name(fields.get("skill") or fields.get("command")),
        agent=_name(fields.get("subagent_type")),
        path=fields.get("file_path") or fields.get("notebook_path"),
        server=string_member(raw, members, "server_name")
        or (_name(fields.get("server")) if name in _RESOURCE_TOOLS else None),
    )


def _name(value: str | None) -> str | None:
    return value.strip().removeprefix("/").split("\n")[0][:MAX_NAME] if value and value.strip() else None
