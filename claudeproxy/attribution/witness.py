"""What one request can tell about texts of others, and what of it only others can tell.

Apart from `explain` because explanations are made of one request: here is what passes between requests, by way of
whoever keeps it (`claudeproxy.model.Evidence`). Three shapes are in doubt by themselves: text appended to a system
prompt behind a container (`appended`), a tool's output that may end in a copy of a hook's reminder (`segmenter`), and
the end of a server's name that holds ``__`` in a tool's name (`names`). The first two are told by where the same text
stood alone, the last by where the client spelled the name.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from claudeproxy.attribution.appended import DOUBTFUL
from claudeproxy.attribution.names import USER, framework
from claudeproxy.attribution.scene import Role
from claudeproxy.attribution.segmenter import GLUED
from claudeproxy.attribution.views import REMINDER_CLOSE
from claudeproxy.model import SourceType, WholeText, result_owner, server_owner, text_owner

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from claudeproxy.attribution.names import Servers
    from claudeproxy.attribution.scene import Place, Scene
    from claudeproxy.attribution.views import BlockView
    from claudeproxy.model import Evidence, Segment

OUTPUT_STYLE = framework("output style")
_OWN = frozenset({"system.fingerprint", "system.variable"})
_CLOSE = REMINDER_CLOSE.encode()
_SPELLING = frozenset({"instructions", "notice", "error"})
MAX_ASKED = 256  # tools that one request asks for: each new name costs a look-up


def doubts(segments: Sequence[Segment], view: BlockView, place: Place) -> tuple[str, ...]:
    """Return the owners of texts that would divide this block better, were they known."""
    if place.role is Role.SYSTEM:
        if not any(one.rule in DOUBTFUL for one in segments):
            return ()
        return tuple(dict.fromkeys(text_owner(s.source) for s in segments if _is_container(s) or s.source == USER))
    if place.role is Role.RESULT and view.answers and any(one.rule.endswith(GLUED) for one in segments):
        return (result_owner(view.answers),)
    return ()


def spelled_elsewhere(
    tools: Collection[str], servers: Servers, session_id: str | None, evidence: Evidence
) -> frozenset[str]:
    """Return the servers of these tools that the client spelled in some request, where the names leave it open.

    Of several names that a tool allows one must have been spelled, and no other: projects have servers of their own.
    """
    known: dict[str, bool] = {}
    found: set[str] = set()
    for possible in islice(filter(None, map(servers.possible, sorted(tools))), MAX_ASKED):
        for name in possible:
            if name not in known:
                known[name] = bool(evidence.whole_texts(session_id, server_owner(name)))
        spelled = [name for name in possible if known[name]]
        found.update(spelled if len(spelled) == 1 else ())
    return frozenset(found)


def unspelled(view: BlockView, place: Place, scene: Scene) -> tuple[str, ...]:
    """Return the owners of names that would tell better whose the tools are that this block defines, calls or lists."""
    match place.role:
        case Role.TOOL:
            names: tuple[str, ...] = (view.tool_name or "",)
        case Role.ASSISTANT | Role.RESULT:
            names = (place.evidence or "",)
        case _:
            names = tuple(view.tool_names) if place.role is Role.INJECTED else ()
    found = dict.fromkeys(server for name in names for server in scene.servers.possible(name))
    return tuple(server_owner(server) for server in islice(found, MAX_ASKED))


def tell(segments: Sequence[Segment], view: BlockView, place: Place, scene: Scene) -> tuple[WholeText, ...]:
    """Return the texts that stand alone in this block, and that others may have glued to something."""
    if place.role in {Role.SYSTEM, Role.INJECTED} and scene.claude_code:
        spelled = _spelled(segments, scene)
        if any(one.rule in DOUBTFUL for one in segments):
            return spelled
        told = [WholeText.of(text_owner(s.source), s.text) for s in segments if _is_container(s) and s.confidence == 1]
        return spelled + tuple(dict.fromkeys(told + (_appended(segments) if place.role is Role.SYSTEM else [])))
    if place.role is Role.RESULT and view.answers and (place.apart or not scene.glues) and _CLOSE in view.raw:
        texts = [one.text for one in segments if one.path == ".content" and one.text]
        if len(texts) == 1 and texts[0].rstrip().endswith(REMINDER_CLOSE):
            return (WholeText.of(result_owner(view.answers), texts[0]),)
    return ()


def _spelled(segments: Sequence[Segment], scene: Scene) -> tuple[WholeText, ...]:
    """Return the names of servers that the client wrote out here, by themselves."""
    sources = [s.source for s in segments if s.kind in _SPELLING and s.confidence == 1]
    names = [s.name for s in sources if s.type is SourceType.MCP_SERVER and s.name and not (s.plugin or s.via)]
    proven = scene.servers.known - scene.servers.guessed
    return tuple(WholeText.of(server_owner(name), name) for name in dict.fromkeys(names) if name in proven)


def _is_container(segment: Segment) -> bool:
    source = segment.source
    return segment.kind == "instructions" and (source.type is SourceType.MCP_SERVER or source == OUTPUT_STYLE)


def _appended(segments: Sequence[Segment]) -> list[WholeText]:
    """Return the text that was appended to a prompt, where it follows what is certainly the client's own.

    It must be in one piece: appended text that quotes the client's prompt is divided by what it quotes.
    """
    texts = [one for one in segments if one.start is not None]
    if texts and texts[-1].rule == "system.git":
        texts.pop()
    mine = [number for number, one in enumerate(texts) if one.rule == "system.custom"]
    if not mine or mine != list(range(mine[0], len(texts))) or texts[mine[0] - 1].rule not in _OWN:
        return []
    return [WholeText.of(text_owner(USER), "".join(texts[number].text for number in mine))]
