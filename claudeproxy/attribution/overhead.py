"""The bytes outside every block: request parameters by name, and the brackets that hold the blocks.

Apart because these segments lie in the body, not in a block. A parameter's text is kept where the model reads it (an
output schema costs tokens); of the others only the place is.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import OVERHEAD
from claudeproxy.model import Segment, Source, SourceType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.sansio.messages import RequestLayout

PROMPT_PARAMETERS = frozenset({"output_config", "output_format", "tool_choice"})  # these become prompt text
MAX_PARAMETERS = 1000  # named one by one: requests have some thirty; what follows is structure
MAX_STRUCTURES = 2048  # 400 bytes each; long conversations have 500
_SECTIONS = frozenset({"tools", "system", "messages"})


def uncut(body: bytes) -> tuple[Segment, ...]:
    """Return one segment over a body that cannot be cut; none over an empty one."""
    if not body:
        return ()
    text = body.decode("utf-8", "surrogateescape")
    return (_segment(OVERHEAD, "unparsed", "$", 0, len(body), "overhead.unparsed", text),)


def cut_overhead(body: bytes, cut: RequestLayout, known: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """Return segments that tile everything between the blocks, in the order of the bytes.

    `known` are segments of overhead deeper inside (a batch's requests have parameters of their own).
    """
    blocks = sorted((block.start, block.end, None) for block in cut.blocks)
    marks: list[tuple[int, int, Segment | None]] = [*blocks]
    marks += [(segment.byte_start, segment.byte_end, segment) for segment in known]
    for member in cut.members[:MAX_PARAMETERS]:
        if member.key in _SECTIONS:
            inside = bisect_left(blocks, (member.start,))
            if inside < len(blocks) and blocks[inside][0] < member.end:
                continue
        text = body[member.start : member.end].decode("utf-8", "surrogateescape")
        source = Source(type=SourceType.OVERHEAD, name=member.key)
        kept = text if member.key in PROMPT_PARAMETERS else ""
        path = f"$.{member.key}"
        parameter = _segment(source, "parameter", path, member.key_start, member.end, "overhead.parameter", kept)
        marks.append((member.key_start, member.end, parameter))
    out: list[Segment] = []
    at = 0
    for start, end, segment in sorted(marks, key=itemgetter(0)):
        if start > at:
            out.append(_structure(at, start))
        if segment is not None:
            out.append(segment)
        at = max(at, end)
    if at < len(body):
        out.append(_structure(at, len(body)))
    return tuple(out)


@lru_cache(MAX_STRUCTURES)  # between the blocks of a conversation's history stands the same in every turn
def _structure(start: int, end: int) -> Segment:
    return _segment(OVERHEAD, "structure", "$", start, end, "structure", "")


def _segment(source: Source, kind: str, path: str, start: int, end: int, rule: str, text: str) -> Segment:
    return Segment(
        source=source,
        kind=kind,
        path=path,
        start=None,
        end=None,
        byte_start=start,
        byte_end=end,
        rule=rule,
        text=text,
    )
