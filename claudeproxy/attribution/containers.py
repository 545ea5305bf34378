"""Cuts containers into their entries: a listing into skills, agents, tools, servers; a context block into its parts.

Apart because entries are told by lists and names, not by markers alone. Every divider gets the item's text span and
returns spans inside it; what it leaves out belongs to the item's own claim. An entry's text may imitate an entry:
each divider says what it accepts as the beginning of a genuine one.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.contextblock import divide_context
from claudeproxy.attribution.memory import divide_memory
from claudeproxy.attribution.names import (
    PREFIX,
    agent_source,
    command_source,
    extract_mcp_server_name,
    normalize_server,
    skill_source,
    tool,
)
from claudeproxy.attribution.ordering import SORTED_SINCE, in_order, is_at_least
from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.attribution.views import string_member
from claudeproxy.model import Source, SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError, array_items, object_members

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from claudeproxy.attribution.scene import Place, Scene

    Divider = Callable[[str, int, int, Claim, Scene, Place], list[Span]]

_NAME = r"[\w.\-]+(?::[\w.\-]+)*"
_AGENT = re.compile(rf"^- (?P<name>{_NAME}): ", re.MULTILINE)
_SKILL = re.compile(rf"^- (?P<name>{_NAME})(?: \({_NAME}\))?(?:: |$)", re.MULTILINE)  # in brackets: as it is spelled
_FLAT_SKILL = re.compile(r"^- (?P<name>[^\n]{1,200}?)(?: \([^()\n]{1,200}\))?(?:: |$)", re.MULTILINE)
_FLAT_SINCE = (2, 1, 330)  # from here on a description is one line, so every line that looks like an entry is one
_AGENT_LINE = re.compile(r"^- (?P<name>[^\n]{1,200})$", re.MULTILINE)
_HEADING = re.compile(r"(?:^|(?<=\n\n))## (?P<name>[^\n]{1,200})(?:\n|$)", re.MULTILINE)
_TOOL_LINE = re.compile(r"^(?:- )?(?P<name>[^\s()<>:,]+)(?: \(\d+\))?$", re.MULTILINE)
_TOOL_WORD = re.compile(r"(?<=[:,] )(?P<name>[^\s(),.]+)(?: \(\d+\))?(?=[,.]|$)")
_SERVER_LINE = re.compile(
    r"^(?:- )?(?P<name>(?:plugin:[^\n:]+:)?[^\n:]+?)(?: \([A-Z_0-9]+\))?(?::[^\n]*)?$", re.MULTILINE
)
_COMMAND = re.compile(rf"^- /(?P<name>{_NAME})(?::? |$)", re.MULTILINE)
_SKILL_TAG = re.compile(r"<skill>\n<name>\n(?P<name>[^\n]+)\n</name>.*?\n</skill>\n", re.DOTALL)
_AGENT_ENTRIES = re.compile(r"(?:- .*?\(Tools: [^\n]*\)(?:\n(?=- )|(?=\n\n)|\n?\Z))+", re.DOTALL)
_AGENT_LISTS = ("Available agent types and the tools they have access to:\n",)
_SKILL_LISTS = ("<available_skills>\n",)
_COMMAND_LIST = "\nAvailable Commands:\n"
_MENTION_PATH = re.compile(r'"(?:file_path|notebook_path|path)":("(?:[^"\\]|\\.)*")')
_MENTION_RESULT = re.compile(r"\nResult of calling the \w+ tool:")
_RESULT = re.compile(r"<result>(?P<result>.*)</result>", re.DOTALL)
_LISTED_TOOLS_END = re.compile(r"\(Tools: [^\n]*\)\s*$")


def _entry(claim: Claim, source: Source, kind: str = "listing", evidence: str | None = None) -> Claim:
    return replace(claim, source=source, kind=kind, evidence=evidence or claim.evidence)


def divide_agents(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut ``- NAME: DESCRIPTION (Tools: ...)`` entries; one begins at the list's start or after a closed one."""
    del scene, place
    spans: list[Span] = []
    at, name = start, None
    for match in _AGENT.finditer(text, start, end):
        if name is None or _LISTED_TOOLS_END.search(text[at : match.start()]):
            if name is not None:
                spans.append(Span(at, match.start(), _entry(claim, agent_source(name))))
            at, name = match.start(), match["name"]
    if name is not None:
        close = _close_of_tools(text, at, end)
        spans.append(Span(at, close, _entry(claim, agent_source(name))))
    return spans


def divide_agent_names(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut a list of agents' names, one a line."""
    del scene, place
    lines = _AGENT_LINE.finditer(text, start, end)
    return [Span(m.start(), m.end(), _entry(claim, agent_source(m["name"]), claim.kind)) for m in lines]


def _close_of_tools(text: str, start: int, end: int) -> int:
    """Return where the last entry ends: after its ``(Tools: ...)`` line, or at the first blank line."""
    for match in re.finditer(r"\(Tools: [^\n]*\)(?:\n|$)", text[start:end]):
        return start + match.end()
    blank = text.find("\n\n", start, end)
    return end if blank < 0 else blank + 1


def divide_skills(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut ``- NAME: DESCRIPTION`` entries. MCP prompts stand in the same list and belong to their server."""
    del place
    entry = _FLAT_SKILL if is_at_least(scene.version, _FLAT_SINCE) else _SKILL
    found = list(entry.finditer(text, start, end))
    spans = []
    for number, match in enumerate(found):
        stop = found[number + 1].start() if number + 1 < len(found) else end
        name = match["name"]
        source = scene.servers.tool_source(name) if name.startswith(PREFIX) else None
        spans.append(Span(match.start(), stop, _entry(claim, source or skill_source(name))))
    return spans


def divide_mcp_instructions(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut at ``## SERVER``: the first heading is the client's; later ones only when they name a known server.

    A server's text may hold headings, another server's name among them. From 2.1 on the client sorts by name (see
    `ordering`); before, of several equal headings the last is taken.
    """
    del place
    headings = list(_HEADING.finditer(text, start, end))
    named = [
        match
        for number, match in enumerate(headings)
        if number == 0
        or (normalize_server(match["name"]) in scene.servers.known and match["name"] != headings[0]["name"])
    ]
    genuine = list({match["name"]: match for match in named}.values())
    ascending = in_order(named) if named else []
    if is_at_least(scene.version, SORTED_SINCE) or len(ascending) == len(genuine):
        genuine = ascending
    genuine.sort(key=lambda match: match.start())
    spans = []
    for number, match in enumerate(genuine):
        stop = genuine[number + 1].start() if number + 1 < len(genuine) else end
        source = scene.servers.written(match["name"])
        spans.append(Span(match.start(), stop, _entry(claim, source, "instructions")))
    return spans


def server_heading(text: str, at: int, end: int, scene: Scene) -> Source | None:
    """Return the known server whose heading begins at `at`."""
    match = _HEADING.match(text, at, end)
    name = normalize_server(match["name"]) if match is not None else ""
    return scene.servers.source(name) if name in scene.servers.known else None


def server_headings(text: str, start: int, end: int, scene: Scene) -> list[int]:
    """Return where the headings stand that name a known server, as in servers' instructions."""
    found = _HEADING.finditer(text, start, end)
    return [match.start() for match in found if normalize_server(match["name"]) in scene.servers.known]


def divide_tool_lines(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut a list of tool names, one a line: an MCP tool's belongs to its server, any other to the built-in tool."""
    del place
    body = text.find("\n", start, end) + 1
    if not body:
        return []
    spans = []
    for match in _TOOL_LINE.finditer(text, body, end):
        name = match["name"]
        source = scene.servers.tool_source(name) or tool(name)
        spans.append(Span(match.start(), min(match.end() + 1, end), _entry(claim, source, claim.kind)))
    return spans


def divide_tool_words(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut tool names out of a sentence that lists them after a colon, with commas."""
    del place
    spans = []
    for match in _TOOL_WORD.finditer(text, text.find("): ", start, end) + 2, end):
        source = scene.servers.tool_source(match["name"]) or tool(match["name"])
        spans.append(Span(match.start("name"), match.end(), _entry(claim, source, claim.kind)))
    return spans


def divide_server_lines(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut a list of servers, one a line, up to the first blank line."""
    del place
    body = text.find("\n", start, end) + 1
    stop = text.find("\n\n", start, end)
    spans = []
    for match in _SERVER_LINE.finditer(text, body, end if stop < 0 else stop + 1) if body else ():
        source = scene.servers.written(match["name"].strip())
        spans.append(Span(match.start(), min(match.end() + 1, end), _entry(claim, source, claim.kind)))
    return spans


def divide_mention(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Name the mentioned file: by the call's input in this item, or in the item before it."""
    del scene
    found = _MENTION_PATH.search(text, start, text.find("\n", start, end) if "\n" in text[start:end] else end)
    path = mention_path(found[0]) if found else place.mention
    source = Source(type=SourceType.ATTACHMENT, name=path or "file")
    content = _MENTION_RESULT.search(text, start, end) if claim.kind == "call" else None
    cut = content.start() + 1 if content else end
    spans = [Span(start, cut, _entry(claim, source, claim.kind, path))]
    return spans if cut == end else [*spans, Span(cut, end, _entry(claim, source, "body", path))]


def mention_path(text: str) -> str | None:
    """Return the path that a ``Called the Read tool with ...`` line names."""
    found = _MENTION_PATH.search(text)
    try:
        return str(json.loads(found[1])) if found else None
    except ValueError:
        return None


def divide_notification(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut the result of a background agent out of the client's notification about it.

    The notification names the call before it quotes the result, so the first name is the client's.
    """
    del scene
    found = _RESULT.search(text, start, end)
    if found is None:
        return []
    head = text[start : found.start()]
    source = next((source for use_id, source in place.notified if f"<tool-use-id>{use_id}<" in head), None)
    entry = _entry(claim, source or agent_source("background"), "result")
    return [Span(found.start("result"), found.end("result"), entry)]


def divide_resources(text: str, claim: Claim, scene: Scene) -> list[Span]:
    """Cut what `ListMcpResourcesTool` answers, a JSON array: each entry is the server's that it names."""
    raw = text.encode("utf-8", "surrogatepass")
    spans = []
    try:
        for low, high in array_items(raw, 0, len(raw)):
            server = string_member(raw, {member.key: member for member in object_members(raw, low, high)}, "server")
            if server is not None:
                entry = _entry(claim, scene.servers.source(normalize_server(server)), claim.kind)
                start = len(raw[:low].decode("utf-8", "surrogatepass"))
                spans.append(Span(start, start + len(raw[low:high].decode("utf-8", "surrogatepass")), entry))
    except JSONSpanError:
        return []
    return spans


DIVIDERS: Mapping[str, Divider] = {
    "agent_names": divide_agent_names,
    "agents": divide_agents,
    "context": divide_context,
    "mcp_instructions": divide_mcp_instructions,
    "memory": divide_memory,
    "mention": divide_mention,
    "notification": divide_notification,
    "server_lines": divide_server_lines,
    "skills": divide_skills,
    "tool_lines": divide_tool_lines,
    "tool_words": divide_tool_words,
}


def divide_description(text: str, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut the listings that older clients keep in the descriptions of `Task`, `Agent`, `Skill` and `SlashCommand`."""
    spans: list[Span] = []
    for marker in _AGENT_LISTS:
        at = text.find(marker)
        if at >= 0:
            start = at + len(marker)
            entries = _AGENT_ENTRIES.match(text, start)  # a description may hold blank lines
            blank = text.find("\n\n", start)
            end = entries.end() if entries else len(text) if blank < 0 else blank + 1
            spans += divide_agents(text, start, end, claim, scene, place)
    for marker in _SKILL_LISTS:
        at = text.rfind(marker)
        for match in _SKILL_TAG.finditer(text, at) if at >= 0 else ():
            spans.append(Span(match.start(), match.end(), _entry(claim, skill_source(match["name"].strip()))))
    at = text.rfind(_COMMAND_LIST)
    listed = list(_COMMAND.finditer(text, at)) if at >= 0 else []
    for number, match in enumerate(listed):
        stop = listed[number + 1].start() if number + 1 < len(listed) else len(text)
        spans.append(Span(match.start(), stop, _entry(claim, command_source(match["name"]))))
    return spans


def known_prompt_server(name: str, scene: Scene) -> Source | None:
    """Return the server of an MCP prompt typed as a command: ``mcp__S__P``, or ``S:P (MCP)`` in 2.0."""
    if name.startswith(PREFIX):
        server = extract_mcp_server_name(name, scene.servers.known)
        return scene.servers.source(server) if server else None
    if name.endswith(" (MCP)"):
        return scene.servers.source(normalize_server(name.rsplit(":", 1)[0]))
    return None
