"""An exchange put together from its records: the inverse of `tap` and `heads`.

Apart from `recorder`, which minds files and order. While an exchange is open only the places of its body pieces are
held, not the bytes (a hundred open uploads of 32 MB cost nothing); bodies are read when it is handed on. Content
codings of requests are taken off here, answers are read here; heads were redacted before the journal, bodies are
looked through for secrets where the configuration says so (`looking`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture.bodies import codings_of
from claudeproxy.capture.heads import Closing, Filtered, Informational, Opening, ResponseHead, raw_headers
from claudeproxy.capture.journal_format import RecordType
from claudeproxy.capture.kept import kept_request, kept_response
from claudeproxy.capture.looking import Looked, recoded, told_by_relay
from claudeproxy.capture.messages import MessageBounds, as_agreed, read_messages
from claudeproxy.capture.upgraded import RECORD_TYPES, Places
from claudeproxy.errors import ProtocolError
from claudeproxy.model import (
    Answer,
    BodyKept,
    Direction,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    RecordedWebSocket,
    State,
)
from claudeproxy.sansio.answer import read_answer
from claudeproxy.sansio.encoding import decode, split_codings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.capture.journal_reader import Position, Record, Span
    from claudeproxy.capture.looking import SecretLook
    from claudeproxy.model import RawHeaders

    ReadPayload = Callable[[Sequence[Span]], bytes]
    Look = Callable[..., Looked]

_UPGRADED = frozenset(RECORD_TYPES.values())


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
    upgraded: Places = field(default_factory=Places)
    response_head: ResponseHead | None = None
    informational: list[int] = field(default_factory=list)
    closing: Closing | None = None
    filtered: list[Filtered] = field(default_factory=list)
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
        elif record.type is RecordType.FILTERED:
            self.filtered.append(msgspec.json.decode(record.payload, type=Filtered))
        elif record.type in _UPGRADED:
            self.upgraded.add(record)
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
            or self.request_whole
        )

    @property
    def request_whole(self) -> bool:
        """Whether the journal has the request's body to its end, as far as the body itself tells."""
        if self.head.filtered:
            return any(one.done for one in self.filtered if one.direction is Direction.SENT)
        return self.head.body_length is not None and self.request.length >= self.head.body_length


class Assembler:
    """Makes `RecordedExchange`s.

    `max_decoded` bounds what one body's content coding may expand to, in bytes; `bounds` are those of a WebSocket;
    `secrets` looks through bodies.
    """

    def __init__(
        self, *, max_decoded: int, bounds: MessageBounds | None = None, secrets: SecretLook | None = None
    ) -> None:
        self._max_decoded = max_decoded
        self._secrets = secrets
        self._bounds = bounds or MessageBounds(decoded=max_decoded)
        self._raw, self._unread = False, dict[str, str]()  # of the exchange at hand
        self.undecodable = 0  # request bodies kept as received, because their content coding could not be taken off

    def build(
        self, exchange: OpenExchange, *, owner: str, alive: bool, read: ReadPayload, raw: bool = False
    ) -> RecordedExchange:
        """The exchange as it is known: ended, in flight, or interrupted when its owner is dead.

        `raw`: nothing in it is to be read. A bug in reading a body costs what would have been read, and is told by
        the exchange (`unread`).
        """
        self._raw, self._unread = raw, {}
        head, closing = exchange.head, exchange.closing
        unfinished = State.IN_FLIGHT if alive else State.INTERRUPTED
        headers = raw_headers(head.headers)
        sent = self._request(exchange, headers, read)
        # Of an answer under way nothing is told but that the request is out: the record is made once.
        response, received = (None, None) if closing is None and alive else self._response(exchange, read)
        looked = [one for one in (sent, received) if one is not None]
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
            request_body=sent.body,
            response=response,
            informational=tuple(exchange.informational),
            secrets=(*told_by_relay(exchange.filtered), *(found for one in looked for found in one.findings)),
            secrets_in_journal=any(one.in_journal for one in looked),
            websocket=None if closing is None and alive else self._websocket(exchange, read),
            unread=self._unread,
            raw=raw,
        )
        return built if closing is None else as_agreed(_with_end(built, closing))

    def _request(self, exchange: OpenExchange, headers: RawHeaders, read: ReadPayload) -> Looked:
        body, filtered = kept_request(exchange, read), exchange.head.filtered
        if not filtered:
            body = self._decoded(body, headers)
        elif codings := codings_of(headers):
            body = replace(body, sha256=None, encoding=codings if body.data is not None else None)
        if self._secrets is None:
            return Looked(body=body)
        return self._looked(self._secrets.request, self._secrets, body, headers, filtered=filtered)

    def _response(
        self, exchange: OpenExchange, read: ReadPayload
    ) -> tuple[RecordedResponse, Looked] | tuple[None, None]:
        head = exchange.response_head
        if head is None:
            return None, None
        headers = raw_headers(head.headers)
        body = kept_response(exchange, head, read)
        if self._secrets is not None:
            looked = self._looked(self._secrets.response, self._secrets, body, headers, filtered=head.filtered)
        else:
            looked = Looked(body=recoded(body, headers) if head.filtered else body)
        body = looked.body
        answer = self._answer(body, headers, head.status_code)
        response = RecordedResponse(
            status_code=head.status_code,
            reason=head.reason,
            http_version=head.http_version,
            headers=headers,
            trailers=() if exchange.closing is None else raw_headers(exchange.closing.trailers),
            origin=head.origin,
            body=body,
            answer=answer,
        )
        return response, looked

    def _looked(
        self, look: Look, secrets: SecretLook, body: RecordedBody, headers: RawHeaders, *, filtered: bool
    ) -> Looked:
        if not self._raw:
            try:
                return look(body, headers, filtered=filtered)
            except Exception as error:  # noqa: BLE001 (a bug of ours)
                self._unread["secrets"] = type(error).__name__
        return secrets.without(body)

    def _websocket(self, exchange: OpenExchange, read: ReadPayload) -> RecordedWebSocket | None:
        head, closing = exchange.response_head, exchange.closing
        if head is None or head.status_code != 101:
            return None
        return read_messages(
            exchange.upgraded,
            None if closing is None else closing.upgrade,
            raw_headers(head.headers),
            read=read,
            wall=lambda instant: exchange.head.request_initiated + (instant - exchange.head.monotonic),
            bounds=self._bounds,
            clean=None if self._secrets is None else self._secrets.message,
            unreadable=self._raw,
        )

    def _answer(self, body: RecordedBody, headers: RawHeaders, status_code: int) -> Answer:
        if body.data and not self._raw:
            try:
                return read_answer(body.data, headers, status_code=status_code, max_decoded=self._max_decoded)
            except Exception as error:  # noqa: BLE001 (a bug of ours: the body is the record)
                self._unread["answer"] = type(error).__name__
        return Answer()

    def _decoded(self, body: RecordedBody, headers: RawHeaders) -> RecordedBody:
        codings = ", ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")
        names = split_codings(codings)
        if not names or not body.data or self._raw:
            return body
        try:
            plain = decode(body.data, codings, max_bytes=self._max_decoded)
        except ProtocolError:
            # Cut, corrupt, a bomb or unknown: the raw bytes are the record. The header still names the coding while
            # `encoding` is None: that is how a reader sees it.
            self.undecodable += 1
            return body
        except Exception as error:  # noqa: BLE001 (a bug of ours: as it came it can be read again later)
            self._unread["body"] = type(error).__name__
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
    known = exchange.request_whole and exchange.request.length > 0
    return Instants(
        request_initiated=head.request_initiated,
        proxy_received=wall(exchange.request.last) if known else None,
        response_received=None if exchange.response_head is None else wall(exchange.response_head.monotonic),
    )


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
