"""Cuts layout A's context block: memory files first, then sections that the client appends, then a closing line.

Apart from the other containers because its parts are told by where they stand, not by what they say: memory files are
free text and may hold any section's heading, while the client's own sections stand behind all of them.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.memory import divide_memory
from claudeproxy.attribution.names import framework
from claudeproxy.attribution.spans import Claim, Span, cover

if TYPE_CHECKING:
    from claudeproxy.attribution.scene import Place, Scene

_SECTIONS = {"currentDate": ("date", "text"), "gitStatus": ("git status", "text"), "userEmail": ("user", "text")}
_SECTION = re.compile(
    r"(?:^|\n)# (?:(?P<currentDate>currentDate)\n(?=Today's date is \d{4}-\d\d-\d\d\.(?:\s|\Z))"
    r"|(?P<gitStatus>gitStatus)\n(?=This is the git )|(?P<userEmail>userEmail)\n(?=The user's email))"
)
_CLOSING = re.compile(r"\n\n *(?:IMPORTANT: this context may or may not be relevant|Claude Code attached this context)")


def divide_context(text: str, start: int, end: int, claim: Claim, scene: Scene, place: Place) -> list[Span]:
    """Cut layout A's context block: memory files first, then sections that the client appends, then a closing line.

    Memory text may imitate a section: see `_sections`.
    """
    closings = [match.start() for match in _CLOSING.finditer(text, start, end)]
    stop = closings[-1] if closings and "\n\n" not in text[closings[-1] : end].strip() else end
    ordered = _sections(text, start, stop)
    bounds = [match.start() for match in ordered] + [stop]
    spans = []
    for number, match in enumerate(ordered):
        name, kind = _SECTIONS[str(match.lastgroup)]
        spans.append(Span(bounds[number], bounds[number + 1], replace(claim, source=framework(name), kind=kind)))
    memory = text.find("# claudeMd\n", start, bounds[0])
    if memory >= 0:
        preamble = replace(claim, source=framework("memory preamble"), kind="instructions")
        spans += cover(divide_memory(text, memory, bounds[0], preamble, scene, place), memory, bounds[0], preamble)
    return spans


def _sections(text: str, start: int, stop: int) -> list[re.Match[str]]:
    """Return the beginnings of the client's sections: each kind once, one behind the other, the last at the end.

    All but git status are one line. So what has anything else behind its line, a memory file perhaps, is a quotation.
    """
    genuine: list[re.Match[str]] = []
    for match in reversed(list(_SECTION.finditer(text, start, stop))):
        follows = genuine[0].start() if genuine else stop
        if any(match.lastgroup == later.lastgroup for later in genuine):
            continue
        if match.lastgroup != "gitStatus" and "\n" in text[match.end() : follows].strip():
            continue
        genuine.insert(0, match)
    return genuine
