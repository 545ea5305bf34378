"""Lays segments over a block's bytes so that they tile it: claimed values, and the structure between them.

Apart because the promise of this package, every byte in exactly one segment, is kept here and nowhere else. Callers
name values in the order of the bytes; the tiler fills what lies between (keys, braces, quotes, ids) with structure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.attribution.names import OVERHEAD
from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.model import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.sansio.jsonstrings import JSONString

STRUCTURE = "structure"
_STRUCTURE = Claim(source=OVERHEAD, kind=STRUCTURE, rule="structure")


class Tiler:
    """Collects the segments of the bytes ``[start, end)`` of `raw`."""

    def __init__(self, raw: bytes, start: int = 0, end: int | None = None) -> None:
        self.raw = raw
        self._end = len(raw) if end is None else end
        self._at = start
        self._segments: list[Segment] = []

    def string(self, path: str, text: JSONString, spans: Sequence[Span], *, opaque: bool = False) -> None:
        """Add a string, cut at the spans, which must cover it. `opaque` text (base64) is not kept in the segments."""
        last = len(spans) - 1
        begin = text.start + 1
        self._fill(begin)
        for number, span in enumerate(spans):
            finish = text.end - 1 if number == last else text.byte_offset(span.end)
            words = "" if opaque else text.text[span.start : span.end]
            self._add(span.claim, path, begin, finish, words, span.start, span.end)
            begin = finish

    def value(self, path: str, start: int, end: int, claim: Claim, *, counted: bool = True) -> None:
        """Add a value of any JSON type as one segment. What is not `counted` never becomes prompt: no text is kept."""
        self._fill(start)
        words = self.raw[start:end].decode("utf-8", "surrogateescape") if counted else ""
        self._add(claim, path, start, end, words, None, None)

    def finish(self) -> tuple[Segment, ...]:
        """Return the segments; what is left is structure."""
        self._fill(self._end)
        return tuple(self._segments)

    def _fill(self, until: int) -> None:
        if until > self._at:
            self._add(_STRUCTURE, "", self._at, until, "", None, None)

    def _add(
        self, claim: Claim, path: str, begin: int, finish: int, text: str, start: int | None, end: int | None
    ) -> None:
        self._segments.append(
            Segment(
                source=claim.source,
                kind=claim.kind,
                path=path,
                start=start,
                end=end,
                byte_start=begin,
                byte_end=finish,
                rule=claim.rule,
                evidence=claim.evidence,
                confidence=claim.confidence,
                text=text,
            )
        )
        self._at = finish
