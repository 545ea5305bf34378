"""What the journal kept of a body: its bytes, its length, or why there is none.

Apart from `assemble`, which makes exchanges: here the fates of two bodies are judged, whole, cut, too large, dropped,
with a hole, and nothing is decoded.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.model import BodyKept, RecordedBody, State

if TYPE_CHECKING:
    from claudeproxy.capture.assemble import BodyPlaces, OpenExchange, ReadPayload
    from claudeproxy.capture.heads import BodyEnd, ResponseHead

_DATA = frozenset({BodyKept.WHOLE, BodyKept.PARTIAL})


def kept_request(exchange: OpenExchange, read: ReadPayload) -> RecordedBody:
    """The request's body as the journal has it: coded unless it is filtered."""
    head, closing = exchange.head, exchange.closing
    if closing is None:
        # A body that is not kept was not counted in the journal either: what was announced is all there is to say.
        counted = head.fate is BodyKept.WHOLE and not (head.filtered and head.body_length)
        length = exchange.request.length if counted else head.body_length or 0
        fate, digest, there = head.fate, None, exchange.request.length
    else:
        fate, length, digest, there = _told(closing.request)
    complete = closing is not None and closing.proxy_received is not None
    complete = complete or exchange.request_whole
    return _body(exchange.request, fate, length, digest, complete=complete, read=read, there=there)


def kept_response(exchange: OpenExchange, head: ResponseHead, read: ReadPayload) -> RecordedBody:
    """The response's body as the journal has it."""
    closing = exchange.closing
    if closing is None:
        fate, length, digest, there = head.fate, exchange.response.length, None, exchange.response.length
    else:
        fate, length, digest, there = _told(closing.response)
    # An answer of our own is always whole.
    complete = closing is not None and (closing.state is State.COMPLETE or head.origin == "proxy")
    complete = complete or (head.body_length is not None and length >= head.body_length and not head.filtered)
    return _body(exchange.response, fate, length, digest, complete=complete, read=read, there=there)


def _told(end: BodyEnd) -> tuple[BodyKept, int, str | None, int]:
    return end.fate, end.length, end.sha256, end.length if end.kept_length is None else end.kept_length


def _body(
    places: BodyPlaces,
    fate: BodyKept,
    length: int,
    digest: str | None,
    *,
    complete: bool,
    read: ReadPayload,
    there: int,
) -> RecordedBody:
    """`length` is that on the wire, `there` how many bytes the journal should have of it."""
    if length == 0 and complete:
        return RecordedBody(kept=BodyKept.EMPTY, data=None, length=0)
    if fate is BodyKept.DROPPED and places.length == there > 0:
        fate = BodyKept.WHOLE  # the exchange was dropped after this body was safe
    if fate not in _DATA:
        return RecordedBody(
            kept=fate, data=None, length=length, sha256=None if digest is None else bytes.fromhex(digest)
        )
    try:
        data = read(places.spans)
    except OSError:
        data = b""  # somebody deleted a segment
    if len(data) != there:
        # A damaged record in the middle: bytes with a hole are not what was on the wire.
        return RecordedBody(kept=BodyKept.DROPPED, data=None, length=length)
    kept = BodyKept.WHOLE if complete else BodyKept.PARTIAL
    return RecordedBody(kept=kept, data=data, length=length, sha256=sha256(data).digest())
