"""An exchange put together from its records: the inverse of `tap` and `heads`.

Apart from `recorder`, which minds files and order. While an exchange is open only the places of its body pieces are
held, not the bytes (a hundred open uploads of 32 MB cost nothing); bodies are read when it is handed on. Content
codings of requests are taken off here, answers are read here; nothing here redacts, for no secret gets this far.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture.heads import Closing, Informational, Opening, ResponseHead, raw_headers
from claudeproxy.capture.journal_format import RecordType
from claudeproxy.errors import ProtocolError
from claudeproxy.model import (
    Answer,
    BodyKept,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
)
from claudeproxy.sansio.answer import read_answer
from claudeproxy.sansio.encoding import decode, split_codings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.capture.journal_reader import Position, Record, Span
    from claudeproxy.model import RawHeaders

    ReadPayload = Callable[[Sequence[Span]], bytes]

_DATA = frozenset({BodyKept.WHOLE, BodyKept.PARTIAL})


@dataclass(slots=True, kw_only=True)
class BodyPlaces:
    """Where the pieces of one body lie, and the writer's clock when the last one came."""

    spans: list[Span] = field(default_factory=list)
    length: int = 0
    last: int | None = None

    def add(self, record: Record) -> None:
        """Note a piece."""
        self.spans.append(record.span)
        self.length += record.span[2]
        self.last = record.instant


@dataclass(slots=True, kw_only=True)
class OpenExchange:
    """An exchange as far as its records came. msgspec.MsgspecError from `begin` and `add` on an unreadable one."""

    start: Position
    head: Opening
    request: BodyPlaces = field(default_factory=BodyPlaces)
    response: BodyPlaces = field(default_factory=BodyPlaces)
    response_head: ResponseHead | None = None
    informational: list[int] = field(default_factory=list)
    closing: Closing | None = None
    announced: bool = False  # handed on as in flight already

    @classmethod
    def begin(cls, record: Record) -> OpenExchange:
        """From an OPEN record."""
        return cls(start=record.start, head=msgspec.json.decode(record.payload, type=Opening))

    def add(self, record: Record) -> None:
        """Take a further record of this exchange; after END nothing more comes."""
        if record.type is RecordType.REQUEST_BODY:
            self.request.add(record)
        elif record.type is RecordType.RESPONSE_BODY:
            self.response.add(record)
        elif record.type is RecordType.INFORMATIONAL:
            self.informational.append(msgspec.json.decode(record.payload, type=Informational).status_code)
        elif record.type is RecordType.RESPONSE_START:
            self.response_head = msgspec.json.decode(record.payload, type=ResponseHead)
        elif record.type is RecordType.END:
            self.closing = msgspec.json.decode(record.payload, type=Closing)
            self.response_head = self.response_head or self.closing.late_head

    @property
    def request_complete(self) -> bool:
        """Whether all of the request that will ever be in the journal is there, as far as can be told before END."""
        head = self.head
        return (
            self.closing is not None
            or self.response_head is not None
            or head.fate is not BodyKept.WHOLE
            or (head.body_length is not None and self.request.length >= head.body_length)
        )


class Assembler:
    """Makes `RecordedExchange`s. `max_decoded` bounds what one body's content coding may expand to, in bytes."""

    def __init__(self, *, max_decoded: int) -> None:
        self._max_decoded = max_decoded
        self.undecodable = 0  # request bodies kept as received, because their content coding could not be taken off

    def build(self, exchange: OpenExchange, *, owner: str, alive: bool, read: ReadPayload) -> RecordedExchange:
        """The exchange as it is known: ended, in flight, or interrupted when its owner is dead."""
        head, closing = exchange.head, exchange.closing
        unfinished = State.IN_FLIGHT if alive else State.INTERRUPTED
        headers = raw_headers(head.headers)
        built = RecordedExchange(
            correlation_id=head.correlation_id,
            owner=owner,
            state=unfinished if closing is None else closing.state,
            entry_mode=head.entry_mode,
            method=head.method,
            url=head.url,
            upstream_url=head.upstream_url,
            http_version=head.http_version,
            headers=headers,
            api_key_hash=head.api_key_hash,
            instants=_instants(exchange),
            request_body=self._decoded(_request_body(exchange, read), headers),
            # Of an answer under way nothing is told but that the request is out: the record is made once.
            response=None if closing is None and alive else self._response(exchange, read),
            informational=tuple(exchange.informational),
        )
        return built if closing is None else _with_end(built, closing)

    def _response(self, exchange: OpenExchange, read: ReadPayload) -> RecordedResponse | None:
        head = exchange.response_head
        if head is None:
            return None
        headers = raw_headers(head.headers)
        body = _response_body(exchange, head, read)
        answer = Answer()
        if body.data:
            answer = read_answer(body.data, headers, status_code=head.status_code, max_decoded=self._max_decoded)
        return RecordedResponse(
            status_code=head.status_code,
            reason=head.reason,
            http_version=head.http_version,
            headers=headers,
            trailers=() if exchange.closing is None else raw_headers(exchange.closing.trailers),
            origin=head.origin,
            body=body,
            answer=answer,
        )

    def _decoded(self, body: RecordedBody, headers: RawHeaders) -> RecordedBody:
        codings = ", ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")
        names = split_codings(codings)
        if not names or not body.data:
            return body
        try:
            plain = decode(body.data, codings, max_bytes=self._max_decoded)
        except ProtocolError:
            # Cut, corrupt, a bomb or unknown: the raw bytes are the record. The header still names the coding while
            # `encoding` is None: that is how a reader sees it.
            self.undecodable += 1
            return body
        return RecordedBody(
            kept=body.kept, data=plain, length=body.length, sha256=body.sha256, encoding=", ".join(names)
        )


def _instants(exchange: OpenExchange) -> Instants:
    head, closing = exchange.head, exchange.closing

    def wall(monotonic: int | None) -> int | None:
        return None if monotonic is None else head.request_initiated + (monotonic - head.monotonic)

    if closing is not None:
        return Instants(
            request_initiated=head.request_initiated,
            proxy_received=wall(closing.proxy_received),
            forwarded=wall(closing.forwarded),
            response_received=wall(closing.response_received),
            delivered=wall(closing.delivered),
        )
    # Without an end only what the journal saw itself: the last request byte, the response's head.
    known = head.body_length is not None and exchange.request.length >= head.body_length > 0
    return Instants(
        request_initiated=head.request_initiated,
        proxy_received=wall(exchange.request.last) if known else None,
        response_received=None if exchange.response_head is None else wall(exchange.response_head.monotonic),
    )


def _request_body(exchange: OpenExchange, read: ReadPayload) -> RecordedBody:
    head, closing = exchange.head, exchange.closing
    if closing is None:
        # A body that is not kept was not counted in the journal either: what was announced is all there is to say.
        length = exchange.request.length if head.fate is BodyKept.WHOLE else head.body_length or 0
        fate, digest = head.fate, None
    else:
        fate, length, digest = closing.request.fate, closing.request.length, closing.request.sha256
    complete = closing is not None and closing.proxy_received is not None
    complete = complete or (head.body_length is not None and length >= head.body_length)
    return _body(exchange.request, fate, length, digest, complete=complete, read=read)


def _response_body(exchange: OpenExchange, head: ResponseHead, read: ReadPayload) -> RecordedBody:
    closing = exchange.closing
    if closing is None:
        fate, length, digest = head.fate, exchange.response.length, None
    else:
        fate, length, digest = closing.response.fate, closing.response.length, closing.response.sha256
    # An answer of our own is always whole.
    complete = closing is not None and (closing.state is State.COMPLETE or head.origin == "proxy")
    complete = complete or (head.body_length is not None and length >= head.body_length)
    return _body(exchange.response, fate, length, digest, complete=complete, read=read)


def _body(
    places: BodyPlaces, fate: BodyKept, length: int, digest: str | None, *, complete: bool, read: ReadPayload
) -> RecordedBody:
    if length == 0 and complete:
        return RecordedBody(kept=BodyKept.EMPTY, data=None, length=0)
    if fate is BodyKept.DROPPED and places.length == length > 0:
        fate = BodyKept.WHOLE  # the exchange was dropped after this body was safe
    if fate not in _DATA:
        return RecordedBody(
            kept=fate, data=None, length=length, sha256=None if digest is None else bytes.fromhex(digest)
        )
    try:
        data = read(places.spans)
    except OSError:
        data = b""  # somebody deleted a segment
    if len(data) != length:
        # A damaged record in the middle: bytes with a hole are not what was on the wire.
        return RecordedBody(kept=BodyKept.DROPPED, data=None, length=length)
    kept = BodyKept.WHOLE if complete else BodyKept.PARTIAL
    return RecordedBody(kept=kept, data=data, length=length, sha256=sha256(data).digest())


def _with_end(exchange: RecordedExchange, closing: Closing) -> RecordedExchange:
    return replace(
        exchange,
        error=closing.error,
        error_kind=closing.error_kind,
        request_head_us=closing.request_head_us,
        request_body_us=closing.request_body_us,
        response_head_us=closing.response_head_us,
        connect_us=closing.connect_us,
        early_response=closing.early_response,
    )
