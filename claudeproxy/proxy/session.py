"""The HTTP/1.1 requests of one client stream, answered one after another, and what happens when that fails.

Two tasks a stream: `reader` takes what the client sends, this one answers it. One nursery per stream, none per
exchange.
Whatever goes wrong ends here as a state in the record and, where the client can still be told, as an answer.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import UpstreamError
from claudeproxy.logs import get_logger
from claudeproxy.model import State
from claudeproxy.proxy.answers import OwnAnswer, bad_gateway, bad_request
from claudeproxy.proxy.entry import ConnectRequest, Endpoints, Layer
from claudeproxy.proxy.reader import RequestReader
from claudeproxy.proxy.relay import ClientGoneError, receive_head, relay_response, send_client, send_own
from claudeproxy.proxy.streams import PrefixedStream, linger_close, reset
from claudeproxy.proxy.websocket import relay_websocket

if TYPE_CHECKING:
    from claudeproxy.proxy.context import ProxyContext
    from claudeproxy.proxy.exchange import Exchange
    from claudeproxy.sansio.headers import ResponseHead

log = get_logger("claudeproxy.proxy")


class HTTPSession:
    """One client stream that speaks HTTP/1.1. `raw` is its socket, for a reset; `layer` what was unwrapped so far.

    `first` is what was received from the stream already.
    """

    def __init__(
        self,
        context: ProxyContext,
        stream: trio.abc.Stream,
        raw: trio.abc.Stream,
        layer: Layer,
        endpoints: Endpoints,
        *,
        first: bytes = b"",
        only_one: bool = False,
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._stream = stream
        self._raw = raw
        self._only_one = only_one
        self._closed = False
        self._client = endpoints.client
        self._reader = RequestReader(stream, raw, context.settings, layer, endpoints, context.tap, first=first)

    def __repr__(self) -> str:
        return f"<HTTPSession {self._reader!r}>"

    async def serve(self) -> ConnectRequest | None:
        """Answer requests until the client is through, then close the stream.

        A CONNECT ends it early: it is returned, the stream stays open, and `pending` is what the client sent after it.
        """
        tunnel: ConnectRequest | None = None
        self._context.sessions.add(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reader.run, nursery)
                work = await self._answer_exchanges()
                nursery.cancel_scope.cancel()
        finally:
            self._context.sessions.discard(self)
            begun = self._reader.current
            if begun is not None and not begun.finished.is_set():  # we were cancelled before we could take it up
                begun.finish()
        if isinstance(work, ConnectRequest):
            tunnel = work
        elif isinstance(work, OwnAnswer):
            await refuse(self._stream, work, self._settings.linger_timeout)
        elif not self._closed:
            await self._close()
        return tunnel

    @property
    def pending(self) -> bytes:
        """Bytes that came after the last request."""
        return self._reader.pending

    @property
    def client(self) -> str:
        """The client's address."""
        return self._client

    @property
    def idle_since(self) -> float | None:
        """When it came to lie between two requests, by the run's clock; None while it does not."""
        return self._reader.idle_since

    def close_when_idle(self) -> None:
        """End between two requests: now, or after the answer that is on its way."""
        if self._reader.current is not None:
            self._reader.current.close_client = True
        elif self._reader.idle:
            self._reader.end()

    async def _answer_exchanges(self) -> ConnectRequest | OwnAnswer | None:
        """Answer one request after another; returns what is not an exchange, None when there is no more to do."""
        while True:
            work = await self._reader.next_work()
            if work is None or isinstance(work, ConnectRequest | OwnAnswer):
                return work
            if not await self._exchange(work):
                return None
            self._reader.turn()
            if self._context.draining:
                self.close_when_idle()

    async def _close(self) -> None:
        exchange = self._reader.current
        if exchange is not None and (not exchange.upload_done.is_set() or self._reader.pending):
            await linger_close(self._stream, self._settings.linger_timeout)
            return
        with trio.move_on_after(self._settings.linger_timeout):
            await self._stream.aclose()

    async def _exchange(self, exchange: Exchange) -> bool:
        """One exchange from its head to its last byte; returns whether the stream can take another."""
        counters = self._context.counters
        counters.exchanges += 1
        counters.exchanges_total += 1
        exchange.close_client |= self._only_one or self._context.draining
        try:
            try:
                with exchange.scope:
                    await self._relay(exchange)
                if exchange.scope.cancelled_caught:
                    await self._abandoned(exchange)
            except ClientGoneError:
                exchange.gone = True
                await self._abandoned(exchange)
            except UpstreamError as exc:
                await self._failed(exchange, exc)
        finally:
            counters.exchanges -= 1
            exchange.finish()
            await self._give_back(exchange)
        return exchange.state is State.COMPLETE and not exchange.close_client and not self._closed

    async def _relay(self, exchange: Exchange) -> None:
        """The exchange as it should be. Raises UpstreamError, ClientGoneError; cancelled when the client goes away."""
        pool = self._context.pool
        exchange.upstream = pool.acquire_nowait(exchange.route.origin)
        if exchange.upstream is None:
            exchange.upstream = await pool.connect(exchange.route.origin)
        await exchange.send_head()
        head, first, since = await receive_head(exchange, exchange.upstream, self._stream, self._settings)
        if head.status_code == 101:
            await self._switch(exchange, head, first)
            return
        await relay_response(exchange, head, first, since, self._stream)
        if not exchange.upload_done.is_set() and not exchange.close_client:
            # An early answer, and the client still sends: its next request comes after the rest of this body.
            with trio.move_on_after(self._settings.idle_timeout):
                await exchange.upload_done.wait()
            exchange.close_client |= not exchange.upload_done.is_set()

    async def _switch(self, exchange: Exchange, head: ResponseHead, first: bytes) -> None:
        """The upstream agreed to a WebSocket: this stream is HTTP no longer."""
        if not exchange.websocket:
            raise UpstreamError("the upstream changed the protocol without being asked to", kind="protocol")
        exchange.close_client = True
        await self._reader.stop()  # loses nothing: the client waits for the 101, which it has not got yet
        pending, self._reader.pending = self._reader.pending, b""
        client = PrefixedStream(self._stream, pending) if pending else self._stream
        await relay_websocket(exchange, head, first, client)
        if exchange.state is not State.COMPLETE:
            await self._cut_off(hard=True)

    async def _abandoned(self, exchange: Exchange) -> None:
        """The client went away, or broke its own request: stop the upstream first, the user pays for every token."""
        if exchange.upstream is not None:
            await exchange.upstream.aclose()
        if exchange.state is State.COMPLETE:  # it had all it wanted
            exchange.close_client = True
        elif exchange.gone or exchange.fault is None:
            exchange.settle(State.ABORTED_BY_CLIENT, "the client closed before the answer's end", "client_closed")
            await self._cut_off(hard=False)
        elif exchange.answered:
            exchange.settle(State.ABORTED_BY_CLIENT, str(exchange.fault), "protocol")
            await self._cut_off(hard=exchange.ends_by_close)
        else:
            exchange.settle(State.ABORTED_BY_CLIENT, str(exchange.fault), "protocol")
            await self._answer_ourselves(exchange, bad_request(exchange.fault))

    async def _failed(self, exchange: Exchange, error: UpstreamError) -> None:
        """The upstream did not answer, or not to the end."""
        upstream = exchange.upstream
        if upstream is not None:
            await upstream.aclose()
        log.warning(
            "upstream error",
            correlation_id=exchange.correlation_id,
            upstream=str(exchange.route.origin),
            kind=error.kind,
            error=str(error),
        )
        if exchange.answered:
            exchange.settle(State.CUT_BY_UPSTREAM, str(error), error.kind)
            await self._cut_off(hard=exchange.ends_by_close)
            return
        exchange.settle(State.UPSTREAM_ERROR, str(error), error.kind)
        if upstream is not None and upstream.reused and not exchange.answer_begun:
            # RFC 9110, 9.2.2: we may not repeat it. A client whose own kept connection closes unanswered knows what
            # to do, and that is what it sees now.
            await self._cut_off(hard=False)
            return
        await self._answer_ourselves(exchange, bad_gateway(error))

    async def _answer_ourselves(self, exchange: Exchange, answer: OwnAnswer) -> None:
        exchange.close_client = True
        try:
            await send_own(exchange, answer, self._stream)
        except ClientGoneError:
            await self._cut_off(hard=False)

    async def _cut_off(self, *, hard: bool) -> None:
        """Close the client's stream without a proper end; `hard` where a mere close would look like one."""
        self._closed = True
        if hard:
            await reset(self._stream, self._raw)
        else:
            await trio.aclose_forcefully(self._stream)

    async def _give_back(self, exchange: Exchange) -> None:
        upstream = exchange.upstream
        if upstream is None:
            return
        whole = exchange.state is State.COMPLETE and exchange.upload_done.is_set() and not exchange.upload_broken
        if whole and exchange.reusable:
            await self._context.pool.release(upstream)
        else:
            await upstream.aclose()


async def refuse(stream: trio.abc.Stream, answer: OwnAnswer, linger: float) -> None:
    """Send an answer of ours to whatever the client said, then close."""
    log.info("request refused", status=answer.status_code, reason=answer.message)
    with suppress(ClientGoneError):
        await send_client(stream, answer.serialize())
    await linger_close(stream, linger)
