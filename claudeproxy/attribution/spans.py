"""Claims on text: who brought code points start to end, by which rule, how sure.

Apart because rules make spans and the tiler turns them into segments; neither needs to know the other. Spans handed
on always cover a text from its first to its last code point in order: `cover` sees to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import UNCLASSIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claudeproxy.model import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One source's claim, without its place."""

    source: Source
    kind: str
    rule: str
    evidence: str | None = None
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """A claim on the code points `start` to `end` of one text."""

    start: int
    end: int
    claim: Claim


NOBODY = Claim(source=UNCLASSIFIED, kind="text", rule="unclassified", confidence=0.5)


def cover(spans: Iterable[Span], start: int, end: int, rest: Claim = NOBODY) -> list[Span]:
    """Return spans in order that cover ``[start, end)`` exactly: gaps go to `rest`, equal neighbours are joined.

    Of overlapping spans the one that begins first keeps what it has.
    """
    out: list[Span] = []
    at = start
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        low, high = max(span.start, at), min(span.end, end)
        if high <= low:
            continue
        if low > at:
            _append(out, Span(at, low, rest))
        _append(out, Span(low, high, span.claim))
        at = high
    if at < end:
        _append(out, Span(at, end, rest))
    return out


def _append(spans: list[Span], span: Span) -> None:
    if spans and spans[-1].end == span.start and spans[-1].claim == span.claim:
        spans[-1] = Span(spans[-1].start, span.end, span.claim)
    else:
        spans.append(span)
