"""Message batches (``/v1/messages/batches``): many request bodies in one, each divided like any other.

Apart because a batch is no request: it has no conversation of its own, and the store keeps it whole. Paths say where
each piece stands, ``$.requests[3].params.messages[0].content``; `message_index` counts within its own request.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.overhead import cut_overhead
from claudeproxy.model import RequestAttribution
from claudeproxy.sansio.jsonspans import JSONSpanError, array_items, object_members
from claudeproxy.sansio.messages import RequestLayout, layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.model import Segment

# A batch may hold 100,000 requests, and a page of sources is meant for people. The rest is one piece of overhead.
MAX_REQUESTS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPart:
    """One request of a batch: where its `params` stand, and how they are laid out (offsets from their start)."""

    path: str
    start: int
    end: int
    cut: RequestLayout


def batch_parts(body: bytes, cut: RequestLayout) -> list[BatchPart]:
    """Return the requests of a batch that can be cut; none when the body is no batch."""
    members = {member.key: member for member in cut.members}
    requests = members.get("requests")
    if requests is None or "messages" in members or body[requests.start] != ord("["):
        return []
    try:
        items = array_items(body, requests.start, requests.end)[:MAX_REQUESTS]
    except JSONSpanError:
        return []
    parts: list[BatchPart] = []
    for number, (start, end) in enumerate(items):
        try:
            last = {member.key: member for member in object_members(body, start, end)}
            params = last.get("params")
            if params is not None:
                inner = layout(body[params.start : params.end])
                path = f"$.requests[{number}].params"
                parts.append(BatchPart(path=path, start=params.start, end=params.end, cut=inner))
        except JSONSpanError:
            continue
    return parts


def divide_batch(
    body: bytes,
    cut: RequestLayout,
    parts: Sequence[BatchPart],
    divide: Callable[[bytes, RequestLayout], RequestAttribution],
) -> RequestAttribution:
    """Return the attribution of a whole batch: its requests' blocks in order, and the overhead around them."""
    found = [divide(body[part.start : part.end], part.cut) for part in parts]
    blocks = [
        replace(block, json_path=part.path + block.json_path[1:])
        for part, result in zip(parts, found, strict=True)
        for block in result.blocks
    ]
    inside = RequestLayout(
        blocks=tuple(
            replace(block, start=block.start + part.start, end=block.end + part.start)
            for part in parts
            for block in part.cut.blocks
        ),
        members=tuple(member for member in cut.members if member.key != "requests"),
        length=cut.length,
    )
    parameters = [
        _moved(segment, part) for part, result in zip(parts, found, strict=True) for segment in result.overhead
    ]
    overhead = cut_overhead(body, inside, [segment for segment in parameters if segment.text])
    return RequestAttribution(
        blocks=tuple(blocks), overhead=overhead, identity=replace(found[0].identity, request_class="batch")
    )


def _moved(segment: Segment, part: BatchPart) -> Segment:
    return replace(
        segment,
        path=part.path + segment.path[1:],
        byte_start=segment.byte_start + part.start,
        byte_end=segment.byte_end + part.start,
    )
