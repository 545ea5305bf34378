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
    forward_headers,
    response_framing,
    serialize_response,
    wants_close,
)

if TYPE_CHECKING:
    from claudeproxy.model import Buffer, RawHeaders
    from claudeproxy.proxy.answers import OwnAnswer
    from claudeproxy.proxy.exchange import Exchange
    from claudeproxy.proxy.upstream import UpstreamConnection


class ClientGoneError(Exception):
    """The client does not take what we send; stays inside the package."""


async def send_client(client: trio.abc.Stream, data: Buffer) -> None:
    """Send to the client. Raises ClientGoneError."""
    try:
        await client.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
        raise ClientGoneError from exc


async def receive_head(
    exchange: Exchange, upstream: UpstreamConnection, client: trio.abc.Stream, *, max_head_bytes: int
) -> tuple[ResponseHead, bytes, int]:
    """Relay informational answers as they come; return the final head, the bytes after it, and when it was whole.

    A 101 counts as final. Raises UpstreamError, ClientGoneError.
    """
    parser = HeadParser(max_bytes=max_head_bytes)
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
            exchange.tap.informational(head.status_code, head.headers)
            if exchange.head.http_version != "1.0":  # RFC 9110, 15.2
                await send_client(client, serialize_response(head, forward_headers(head.headers)))


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
    if framing is Framing.CLOSE or (upstream_closes and not exchange.upload_done.is_set()):
        exchange.close_client = True
    exchange.answered = True  # the record has this head from here on: no answer of ours may follow
    _tell_start(exchange, head)
    piece, rest = _accept(exchange, body, first, dechunk=dechunk)
    headers = _response_headers(head, dechunk=dechunk, close=exchange.close_client)
    await send_client(client, serialize_response(head, headers) + piece)
    exchange.response_head_us = (time.monotonic_ns() - since) // 1000
    while not body.ended:
        data = await upstream.receive()
        if not data:
            if framing is Framing.CLOSE:
                break
            raise UpstreamError("the upstream closed the connection in the middle of its answer", kind="closed")
        piece, rest = _accept(exchange, body, data, dechunk=dechunk)
        if piece:
            await send_client(client, piece)
    exchange.delivered = time.monotonic_ns()
    exchange.trailers = body.trailers
    exchange.reusable = not (upstream_closes or rest)
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
    try:
        wire, payload, rest = body.feed(data)
    except ProtocolError as exc:
        raise UpstreamError(f"the upstream's body is malformed ({exc})", kind="protocol") from exc
    for piece in payload:
        exchange.tap.response_body(piece)
    return (b"".join(payload) if dechunk else wire), rest


def _response_headers(head: ResponseHead, *, dechunk: bool, close: bool) -> RawHeaders:
    headers = forward_headers(head.headers)
    if dechunk:
        headers = tuple(field for field in headers if field[0].lower() not in (b"transfer-encoding", b"trailer"))
    return (*headers, (b"Connection", b"close")) if close else headers


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
