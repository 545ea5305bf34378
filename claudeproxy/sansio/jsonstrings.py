"""A JSON string token as text, with the way back from code points to bytes.

Apart because attribution splits strings inside while the record is bytes: a piece of text is only proven when the
bytes that it came from are known. Decoding is `json`'s own; the map back is made only for strings that are split.

Nothing is lost and nothing raises on text: a lone surrogate (JavaScript cuts between the halves of a pair) stays a
lone surrogate, a byte that is no UTF-8 becomes one surrogate (PEP 383). Hash such text with ``surrogatepass``.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field

from claudeproxy.sansio.jsonspans import JSONSpanError

# One run of a token's inside: plain ASCII, one escape (a surrogate pair is one code point), or raw multi-byte text.
_RUN = re.compile(
    rb"(?P<ascii>[^\\\x80-\xff]+)"
    rb"|(?P<escape>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u])"
    rb"|(?P<wide>[\x80-\xff]+)"
)


@dataclass(slots=True)
class JSONString:
    """A decoded string. `start` and `end` are the token's byte span, quotes included."""

    text: str
    start: int
    end: int
    _inside: bytes
    _runs: tuple[list[int], list[int]] | None = field(default=None)

    def byte_offset(self, code_point: int) -> int:
        """Return the byte offset at which code point number `code_point` begins; its length is the closing quote."""
        first = self.start + 1
        if len(self.text) == len(self._inside):  # one byte a code point: neither escapes nor multi-byte characters
            return first + code_point
        if code_point >= len(self.text):
            return self.end - 1
        points, offsets = self._runs = self._runs or _map(self._inside)
        run = bisect_right(points, code_point) - 1
        within = code_point - points[run]
        if within and self._inside[offsets[run]] >= 0x80:
            rest = self._inside[offsets[run] :].decode("utf-8", "surrogateescape")
            within = len(rest[:within].encode("utf-8", "surrogateescape"))
        return first + offsets[run] + within


def decode_string(data: bytes, start: int = 0, end: int | None = None) -> JSONString:
    """Decode the string token that is ``data[start:end]``, quotes included.

    :raises JSONSpanError: when it is not a JSON string.
    """
    end = len(data) if end is None else end
    if end - start < 2 or data[start] != ord('"') or data[end - 1] != ord('"'):
        raise JSONSpanError(f"no JSON string at byte {start}")
    inside = data[start + 1 : end - 1]
    text = inside.decode("utf-8", "surrogateescape")
    if "\\" in text:
        try:
            value = json.loads(f'"{text}"', strict=False)
        except ValueError as error:
            raise JSONSpanError(f"no JSON string at byte {start}: {error}") from None
        text = str(value)
    elif '"' in text:
        raise JSONSpanError(f"no JSON string at byte {start}: a quote inside")
    return JSONString(text, start, end, inside)


def _map(inside: bytes) -> tuple[list[int], list[int]]:
    """Return where runs begin, in code points and in bytes. Inside a run of ASCII both advance alike."""
    points, offsets = [], []
    at = 0
    for match in _RUN.finditer(inside):
        points.append(at)
        offsets.append(match.start())
        if match.lastgroup == "escape":
            at += 1
        elif match.lastgroup == "ascii":
            at += match.end() - match.start()
        else:
            at += len(match[0].decode("utf-8", "surrogateescape"))
    return points, offsets
