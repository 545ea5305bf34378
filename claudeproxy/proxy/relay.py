"""The answer's way back: from the upstream's first byte to the client's last.

Apart because these few functions stand in the path of every streamed event. They wait for nothing but the two sockets:
the tap (journal) is told first, then the client is sent to, and what has arrived is never held for what has not.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import ProtocolError, UpstreamError
from claudeproxy.model import ResponseStart, State
from claudeproxy.proxy.body import Body
from claudeproxy.sansio.headers import (
    Framing,
    HeadParser,
    ResponseHead,
    announces_body,
    response_framing,
    serialize_response,
)
from claudeproxy.sansio.hops import forward_headers, wants_close

if TYPE_CHECKING:
    from claudeproxy.model import Buffer, RawHeaders
    from claudeproxy.proxy.answers import OwnAnswer
    from claudeproxy.proxy.exchange import Exchange
    from claudeproxy.proxy.settings import ProxySettings
    from claudeproxy.proxy.upstream import UpstreamConnection


MAX_INFORMATIONAL = 1000
"""Informational answers before the final one. A 102 every two seconds of half an hour is fewer; without a bound an
upstream could fill the record with them."""


class ClientGoneError(Exception):
    """The client does not take what we send; stays inside the package."""


async def send_client(client: trio.abc.Stream, data: Buffer) -> None:
    """Send to the client. Raises ClientGoneError."""
    try:
        await client.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise ClientGoneError from exc


async def receive_head(
    exchange: Exchange, upstream: UpstreamConnection, client: trio.abc.Stream, settings: ProxySettings
) -> tuple[ResponseHead, bytes, int]:
    """Relay informational answers as they come; return the final head, the bytes after it, and when it was whole.

    A 101 counts as final. Raises UpstreamError, ClientGoneError.
    """
    parser = HeadParser(max_bytes=settings.max_head_bytes, max_fields=settings.max_header_fields)
    informational = 0
    while True:
        data = await upstream.receive()
        now = time.monotonic_ns()
        if not data:
            raise UpstreamError("the upstream closed the connection without an answer", kind="closed")
        exchange.answer_begun = True
        if exchange.response_received is None:
            exchange.response_received = now
        parser.feed(data)
        while (head := _next_head(parser, exchange.head.method)) is not None:
            if exchange.response_received is None:  # it came together with an informational one
                exchange.response_received = now
            if head.status_code >= 200 or head.status_code == 101:
                return head, parser.leftover, now
            exchange.response_received = None  # the instant is that of the final head
            informational += 1
            if informational > MAX_INFORMATIONAL:
                raise UpstreamError(f"more than {MAX_INFORMATIONAL} informational answers", kind="protocol")
            exchange.tap.informational(head.status_code, head.headers)
            if exchange.head.http_version != "1.0":  # RFC 9110, 15.2
                await send_client(client, serialize_response(head, _without_framing(forward_headers(head.headers))))


def _next_head(parser: HeadParser, method: str) -> ResponseHead | None:
    try:
        return parser.response(method=method)
    except ProtocolError as exc:
        raise UpstreamError(f"the upstream's answer is not HTTP ({exc})", kind="protocol") from exc


async def relay_response(
    exchange: Exchange, head: ResponseHead, first: bytes, since: int, client: trio.abc.Stream
) -> None:
    """Relay a final answer whose head is `head`, whole at `since`, followed by the bytes `first`.

    The riskiest function of the proxy: whatever it gets wrong, a user sees as a broken answer of the model. It ends
    normally only when the answer's last byte was given to the client. Raises UpstreamError for an answer that was cut,
    ClientGoneError.
    """
    upstream = exchange.upstream
    assert upstream is not None
    framing, length = response_framing(head, method=exchange.head.method)
    body = Body(framing, length)
    # RFC 9112, 7.1: HTTP/1.0 knows no chunks; such a client gets the payload, and our close as its end.
    dechunk = framing is Framing.CHUNKED and exchange.head.http_version == "1.0"
    upstream_closes = framing is Framing.CLOSE or wants_close(head.http_version, head.headers)
    exchange.ends_by_close = dechunk or framing is Framing.CLOSE
    unsettled = upstream_closes or exchange.expects_continue
    if framing is Framing.CLOSE or (unsettled and not exchange.upload_done.is_set()):
        exchange.close_client = True  # whether the rest of the request's body comes at all, nobody knows
    exchange.answered = True  # the record has this head from here on: no answer of ours may follow
    _tell_start(exchange, head)
    piece, rest = _accept(exchange, body, first, dechunk=dechunk)
    headers = _response_headers(exchange, head, dechunk=dechunk)
    await send_client(client, serialize_response(head, headers) + piece)
    exchange.response_head_us = (time.monotonic_ns() - since) // 1000
    while not body.ended and body.fault is None:
        data = await upstream.receive()
        if not data:
            if framing is Framing.CLOSE:
                break
            raise UpstreamError("the upstream closed the connection in the middle of its answer", kind="closed")
        piece, rest = _accept(exchange, body, data, dechunk=dechunk)
        if piece:
            await send_client(client, piece)
    if body.fault is not None:  # said only now: what stood before it has reached the client
        raise UpstreamError(f"the upstream's body is malformed ({body.fault})", kind="protocol")
    exchange.delivered = time.monotonic_ns()
    exchange.trailers = body.trailers
    # A body that was announced and must not come (HEAD, 204, 304) may come all the same, and an answer to half a
    # request may be followed by one to what its sender took for the next: either would answer somebody else's request.
    doubtful = (framing is Framing.NONE and announces_body(head.headers)) or exchange.answered_early
    exchange.reusable = not (upstream_closes or rest or doubtful)
    exchange.settle(State.COMPLETE)


def _tell_start(exchange: Exchange, head: ResponseHead) -> None:
    assert exchange.response_received is not None
    exchange.tap.response_start(
        ResponseStart(
            status_code=head.status_code,
            reason=head.reason,
            http_version=head.http_version,
            headers=head.headers,
            origin="upstream",
            monotonic=exchange.response_received,
        )
    )


def _accept(exchange: Exchange, body: Body, data: bytes, *, dechunk: bool) -> tuple[bytes, bytes]:
    """Tell the tap the payload of `data`; return what to send of it, and what does not belong to the answer."""
    wire, payload, rest = body.feed(data)
    if payload:
        exchange.tap.response_body(payload)
    return (bytes(payload) if dechunk else wire), rest


def _response_headers(exchange: Exchange, head: ResponseHead, *, dechunk: bool) -> RawHeaders:
    headers = forward_headers(head.headers)
    if dechunk or exchange.head.http_version == "1.0":  # RFC 9112, 6.1: not even where it only announces
        headers = tuple(field for field in headers if field[0].lower() not in (b"transfer-encoding", b"trailer"))
    if head.status_code == 204:
        headers = _without_framing(headers)
    return (*headers, (b"Connection", b"close")) if exchange.close_client else headers


def _without_framing(headers: RawHeaders) -> RawHeaders:
    """RFC 9110, 8.6 and RFC 9112, 6.1: a 1xx and a 204 do not announce a body; a client that believes it waits."""
    if not announces_body(headers):
        return headers
    return tuple(field for field in headers if field[0].lower() not in (b"transfer-encoding", b"content-length"))


async def send_own(exchange: Exchange, answer: OwnAnswer, client: trio.abc.Stream) -> None:
    """Answer in the upstream's place, for the record too. Raises ClientGoneError."""
    now = time.monotonic_ns()
    exchange.response_received = now
    exchange.tap.response_start(
        ResponseStart(
            status_code=answer.status_code,
            reason=answer.reason,
            http_version="1.1",
            headers=answer.headers,
            origin="proxy",
            monotonic=now,
        )
    )
    if exchange.head.method != "HEAD":
        exchange.tap.response_body(answer.body)
    exchange.answered = exchange.own_answer = True
    await send_client(client, answer.serialize(method=exchange.head.method))
    exchange.delivered = time.monotonic_ns()
