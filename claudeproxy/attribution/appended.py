"""Where text given with ``--append-system-prompt`` begins, behind a container that it is joined to by a blank line.

Apart because a request of versions 1.0 and 2.0 does not say it: that text was appended is certain (`system`), where
the last server's instructions or the output style end is written nowhere. Other requests may tell: where the same
container stood without anything behind it (a turn of the same day without the flag, a later client), or the same
appended text without a container before it. Without them the first paragraph is certainly the container's, the last
certainly the user's, and what lies between is left unclassified.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.containers import server_heading
from claudeproxy.attribution.names import UNCLASSIFIED
from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.model import text_owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.attribution.scene import Scene
    from claudeproxy.model import WholeText

APPENDED = "system.appended"
UNDECIDED = "system.undecided"
DOUBTFUL = frozenset({APPENDED, UNDECIDED})  # rules of what may be divided better when more is known
KNOWN = "system.appended-known"


def split_tail(
    text: str,
    entries: Sequence[Span],
    paragraphs: Sequence[tuple[int, int]],
    own: Claim,
    scene: Scene,
    known: Sequence[WholeText],
) -> list[Span]:
    """Divide a container and the user's text behind it.

    :param entries: the container's, as if nothing stood behind it; they cover it.
    :param paragraphs: those of the last entry, blank lines after them included.
    :param own: the claim on the text behind it.
    """
    start, end = entries[0].start, entries[-1].end
    mine = text_owner(own.source)
    after = len(text[:end].rstrip("\n"))
    tails = {after - one.length for one in known if one.owner == mine and one.ends(text[start:end])}
    told = _told(text, entries, scene, known)
    if told is not None:  # the container may have grown since by what follows; not when both sides meet
        cut = told[-1].end
        return [*told, Span(cut, end, replace(own, rule=KNOWN, confidence=1.0 if cut in tails else 0.95))]
    if tails:
        cut = min(tails)
        kept = [replace(span, end=min(span.end, cut)) for span in entries if span.start < cut]
        return [*kept, Span(cut, end, replace(own, rule=KNOWN, confidence=0.8))]
    *first, last = entries
    if len(paragraphs) < 2:
        return list(entries)
    middle = Claim(source=UNCLASSIFIED, kind="instructions", rule=UNDECIDED, confidence=0.5)
    spans = [
        Span(last.start, paragraphs[0][1], replace(last.claim, confidence=0.9)),
        Span(paragraphs[1][0], paragraphs[-1][0], middle),
    ]
    tail = Span(paragraphs[-1][0], end, replace(own, rule=APPENDED))
    return [*first, *spans[: len(paragraphs) - 1], tail]


def _told(text: str, entries: Sequence[Span], scene: Scene, known: Sequence[WholeText]) -> list[Span] | None:
    """Follow known texts through a container; None unless they lead up to something that is not its own.

    Appended text may imitate a server's heading, so what is known goes before the headings that were believed.
    """
    end = entries[-1].end
    at = next((span.start for span in entries if _is_named(span)), end)
    spans = [span for span in entries if span.end <= at]
    believed = {span.start: span.claim for span in entries if span.start >= at}
    while at < end:
        claim = believed.get(at)
        if claim is None and (source := server_heading(text, at, end, scene)) is not None and spans:
            claim = replace(spans[-1].claim, source=source)
        if claim is None:
            break
        owner = text_owner(claim.source)
        lengths = [one.length for one in known if one.owner == owner and one.begins(text[at:end])]
        if not lengths:
            return None
        stop = at + max(lengths)
        while stop < end and text[stop] == "\n":
            stop += 1
        spans.append(Span(at, stop, claim))
        at = stop
    return spans if spans and at < end and believed.keys() & {span.start for span in spans} else None


def _is_named(span: Span) -> bool:
    return span.claim.source.name != "MCP instructions"
