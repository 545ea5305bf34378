"""The one reader of a client stream: heads, bodies, requests sent ahead, and the end of the stream.

Apart from `session` because it is the other task. It is always waiting in the same receive; what its bytes are depends
on where the exchange stands, so that noticing a client that went away costs nothing and cancels nothing. It never sends
to the client.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

import trio

from claudeproxy.errors import ProtocolError
from claudeproxy.proxy.answers import OwnAnswer, bad_request, head_timed_out
from claudeproxy.proxy.entry import ConnectRequest, Endpoints, Layer, Route, route_request
from claudeproxy.proxy.exchange import Exchange
from claudeproxy.proxy.hangup import HangupWatch
from claudeproxy.proxy.sockets import CHUNK
from claudeproxy.sansio.headers import HeadParser, RequestHead

if TYPE_CHECKING:
    from claudeproxy.model import Tap
    from claudeproxy.proxy.settings import ProxySettings

READ_AHEAD = 65536
"""Bytes of pipelined requests that are held while an answer is pending; beyond it the client is not read."""

Work: TypeAlias = Exchange | ConnectRequest | OwnAnswer | None
"""What is handed over: a request, a tunnel to open, a refusal; None when no more requests will come."""


class RequestReader:
    """Turns a client's bytes into work for the answering task, one request at a time."""

    def __init__(
        self,
        stream: trio.abc.Stream,
        raw: trio.abc.Stream,
        settings: ProxySettings,
        layer: Layer,
        endpoints: Endpoints,
        tap: Tap,
        *,
        first: bytes = b"",
    ) -> None:
        """`first` is what was received from `stream` already."""
        self._stream = stream
        self._first = first
        self._hangup = HangupWatch(raw, self._client_gone)
        self._settings = settings
        self._layer = layer
        self._endpoints = endpoints
        self._tap = tap
        self._parser = HeadParser(max_bytes=settings.max_head_bytes, max_fields=settings.max_header_fields)
        self._begun: int | None = None  # first byte of the head that is being read
        self._current: Exchange | None = None
        self._work: Work = None
        self._handed_over = trio.Event()
        self._limit = trio.CancelScope()  # its deadline follows what is being waited for
        self._done = trio.Event()
        self._stopping = False
        self._idle_since = trio.current_time()
        self.pending = b""  # what the client sent ahead

    def __repr__(self) -> str:
        return f"<RequestReader {self._current or 'idle'}>"

    @property
    def current(self) -> Exchange | None:
        """The exchange that is going on."""
        return self._current

    @property
    def idle(self) -> bool:
        """Whether the stream is between two requests."""
        return self._current is None and self._begun is None

    @property
    def idle_since(self) -> float | None:
        """When it came to be so, by the run's clock; None while it is not."""
        return self._idle_since if self.idle and not self._handed_over.is_set() else None

    # ---- towards the answering task

    async def next_work(self) -> Work:
        """Wait for the next thing to do."""
        await self._handed_over.wait()
        return self._work

    def turn(self) -> None:
        """The exchange is over: look for the next request, which may have been sent ahead."""
        self._current = None
        self._work = None
        self._idle_since = trio.current_time()
        self._handed_over = trio.Event()
        self._limit.deadline = trio.current_time() + self._settings.idle_timeout
        if self.pending:
            self._advance(time.monotonic_ns())
        if self._done.is_set() and self._current is None:
            self.end()

    def end(self) -> None:
        """Hand over that no more requests are taken."""
        self._hand_over(None)

    async def stop(self) -> None:
        """Leave the stream to somebody else; `pending` is what was read and not used."""
        self._stopping = True
        self._limit.cancel()
        await self._done.wait()

    # ---- from the client

    async def run(self, nursery: trio.Nursery) -> None:
        """Receive until the client's end; the only receiver of the stream while it runs. `nursery` outlives it."""
        self._limit.deadline = trio.current_time() + self._settings.head_timeout
        with self._limit:
            while data := await self._receive():
                await self._accept(data, nursery)
                if isinstance(self._work, ConnectRequest | OwnAnswer):
                    break  # what follows is no request of this stream
            else:
                self._client_gone()
        if self._limit.cancelled_caught and not self._stopping:
            if self._current is not None:  # it began in the very moment that the limit ran out
                self._current.client_gone()
            else:
                self._hand_over(None if self._begun is None else head_timed_out())
        self._done.set()

    async def _receive(self) -> bytes:
        if self._first:
            await trio.lowlevel.checkpoint()
            first, self._first = self._first, b""
            return first
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""  # a reset says no more than an end: the client is gone

    async def _accept(self, data: bytes, nursery: trio.Nursery) -> None:
        """Put bytes where they belong: the body that is being sent, or what comes after it."""
        now = time.monotonic_ns()
        exchange = self._current
        if exchange is not None and not exchange.request_body.ended:
            try:
                piece, data = exchange.take(data, now)
            except ProtocolError as exc:
                exchange.client_fault(exc)
                return
            with self._hangup.unread(nursery):
                await exchange.send_body(piece, now)
        if not data:
            return
        self.pending += data
        if self._current is None:
            self._advance(now)
        elif len(self.pending) >= READ_AHEAD:
            with self._hangup.unread(nursery):
                await self._current.finished.wait()

    def _client_gone(self) -> None:
        if self._current is not None:
            self._current.client_gone()
        else:
            self._hand_over(None)

    def _advance(self, now: int) -> None:
        """Look for a head in what is pending; hand its request over once it is whole."""
        if self._handed_over.is_set():
            return  # this stream takes no more requests
        self._parser.feed(self.pending)
        self.pending = b""
        head: RequestHead | None = None
        try:
            head = self._parser.request()
            if head is None:
                if self._begun is None:
                    self._begun = now
                    self._limit.deadline = trio.current_time() + self._settings.head_timeout
                return
            decision = route_request(self._settings, self._layer, self._endpoints, head)
        except ProtocolError as exc:
            decision = bad_request(exc)
        begun, self._begun = now if self._begun is None else self._begun, None
        self._limit.deadline = float("inf")
        self.pending = self._parser.leftover
        if isinstance(decision, Route):
            assert head is not None
            self._hand_over(self._begin(head, decision, begun, now))
        else:
            self._hand_over(decision)

    def _begin(self, head: RequestHead, route: Route, begun: int, now: int) -> Exchange:
        exchange = self._current = Exchange(head, route, self._tap, begun=begun, now=now)
        try:
            self.pending = exchange.take_first(self.pending, now)
        except ProtocolError as exc:
            exchange.client_fault(exc)
        return exchange

    def _hand_over(self, work: Work) -> None:
        if not self._handed_over.is_set():
            self._work = work
            self._handed_over.set()
