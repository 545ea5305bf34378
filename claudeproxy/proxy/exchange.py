"""The books of one exchange: what was seen when, what became of it, and the one `end` that its tap is owed.

Apart from `relay` so that the code which moves bytes reads as moving bytes. Instants are `time.monotonic_ns()`; no
clock is read for the record alone that a forwarding step did not need anyway.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import ProtocolError, UpstreamError
from claudeproxy.model import ExchangeEnd, ExchangeStart, ExchangeTap, RawHeaders, State, Tap
from claudeproxy.proxy.body import Body
from claudeproxy.proxy.tap import NullTap
from claudeproxy.sansio.headers import (
    Framing,
    RequestHead,
    get,
    get_all,
    request_framing,
    serialize_request,
)
from claudeproxy.sansio.hops import forward_headers, names_option, wants_close

if TYPE_CHECKING:
    from claudeproxy.proxy.entry import Route
    from claudeproxy.proxy.upstream import UpstreamConnection


class Exchange:
    """One request and its answer, between the task that reads the client and the one that answers it.

    The reader calls `take`, `send_body`, `client_gone` and `client_fault`; the answering task the rest.
    """

    def __init__(self, head: RequestHead, route: Route, tap: Tap, *, begun: int, now: int) -> None:
        """`begun` and `now`: monotonic instants of the head's first and last byte."""
        framing, length = request_framing(head)
        self.head = head
        self.route = route
        self.correlation_id = str(uuid.uuid4())
        self.websocket = framing is Framing.NONE and _asks_for_websocket(head)
        self.close_client = head.http_version == "1.0" or wants_close(head.http_version, head.headers)
        self.expects_continue = get(head.headers, b"expect") is not None
        self.request_body = Body(framing, length)
        self.scope = trio.CancelScope()  # round everything that the client waits for
        self.head_sent = trio.Event()
        self.upload_done = trio.Event()
        self.finished = trio.Event()
        self.upstream: UpstreamConnection | None = None
        self.reusable = False  # the upstream connection is at the start of a message, as far as its answer says
        self.upload_broken = False
        self.answer_begun = False  # some byte of an answer came
        self.answered = False  # a final answer began: no answer of ours may follow
        self.own_answer = False  # the answer is ours, not the upstream's
        self.ends_by_close = False  # the client takes our close for the answer's end
        self.gone = False
        self.fault: ProtocolError | None = None
        self.response_received: int | None = None
        self.delivered: int | None = None
        self.trailers: RawHeaders = ()
        self.response_head_us = 0
        self._first = b""
        self._head_at = now
        self._proxy_received = now if self.request_body.ended else None
        self._forwarded: int | None = None
        self._head_us = 0
        self._body_us = 0
        self._state = State.INTERRUPTED
        self._error: str | None = "the proxy was shut down"
        self._error_kind: str | None = "shutdown"
        if self.request_body.ended:
            self.upload_done.set()
        self.tap: ExchangeTap = (
            tap.exchange(
                ExchangeStart(
                    correlation_id=self.correlation_id,
                    entry_mode=route.mode,
                    method=head.method,
                    url=route.url,
                    upstream_url=route.upstream_url,
                    http_version=head.http_version,
                    headers=head.headers,
                    body_length=None if framing is Framing.CHUNKED else length,
                    request_initiated=time.time_ns() - (time.monotonic_ns() - begun),
                    monotonic=begun,
                )
            )
            if route.record
            else NullTap()
        )

    def __repr__(self) -> str:
        return f"<Exchange {self.correlation_id} {self.head.method} {self._state}>"

    # ---- the request's way

    def take(self, data: bytes, now: int) -> tuple[bytes, bytes]:
        """Account for request bytes: (what belongs to this body, what follows it). Raises ProtocolError."""
        wire, payload, rest = self.request_body.feed(data)
        if payload:
            self.tap.request_body(payload)
        if self.request_body.fault is not None:
            raise self.request_body.fault
        if self.request_body.ended and self._proxy_received is None:
            self._proxy_received = now
        return wire, rest

    def take_first(self, data: bytes, now: int) -> bytes:
        """Keep the body bytes that came with the head, to go out with it; return what follows the body."""
        self._first, rest = self.take(data, now)
        return rest

    async def send_head(self) -> None:
        """Send the head, and in the same breath what came with it.

        Never fails: an upstream that stopped reading may have answered already, and the answer is what counts.
        Reading that answer waits for this send; what came with a head is at most a receive or two, and fits the
        sockets' buffers.
        """
        upstream = self.upstream
        assert upstream is not None
        try:
            await upstream.send(self._head_bytes(upstream) + self._first)
        except UpstreamError:
            self.upload_broken = True
        now = time.monotonic_ns()
        self._head_us = max(0, (now - self._head_at) // 1000 - upstream.connect_us)
        self._first = b""
        self._note_upload(now)
        self.head_sent.set()

    def _head_bytes(self, upstream: UpstreamConnection) -> bytes:
        headers = forward_headers(self.head.headers, host=self.route.host, keep_upgrade=self.websocket)
        if not upstream.proxied:
            return serialize_request(self.head.method, self.route.target, headers)
        if upstream.proxy_authorization is not None:
            headers += ((b"Proxy-Authorization", upstream.proxy_authorization),)
        target = f"{self.route.origin}{'' if self.route.target == '*' else self.route.target}"
        return serialize_request(self.head.method, target, headers)

    async def send_body(self, data: bytes, received: int) -> None:
        """Send more of the body, after the head; `received` is when it came. Never fails, see `send_head`."""
        if not self.head_sent.is_set():
            await self.head_sent.wait()
        given = time.monotonic_ns()
        if self.upstream is not None and not self.upload_broken:
            try:
                await self.upstream.send(data)
            except UpstreamError:
                self.upload_broken = True
        now = time.monotonic_ns()
        if self.response_received is not None and given <= self.response_received < now:
            now = given  # the answer was read before this task had its turn again: the bytes were out long ago
        if self.request_body.ended:
            self._body_us = (now - received) // 1000
        self._note_upload(now)

    def _note_upload(self, now: int) -> None:
        if self.request_body.ended:
            if not self.upload_broken:
                self._forwarded = now
            self.upload_done.set()

    # ---- how it ends

    def client_gone(self) -> None:
        """The client closed or reset: nobody waits for the answer any more."""
        self.gone = True
        self.scope.cancel()

    def client_fault(self, error: ProtocolError) -> None:
        """The client's body is malformed."""
        self.fault = error
        self.scope.cancel()

    def settle(self, state: State, error: str | None = None, kind: str | None = None) -> None:
        """Say what became of it; the last word before `finish` counts."""
        self._state, self._error, self._error_kind = state, error, kind

    @property
    def state(self) -> State:
        """What became of it: INTERRUPTED until something else is settled."""
        return self._state

    def finish(self) -> None:
        """Tell the tap the end. Called once, whatever happened."""
        self.tap.end(
            ExchangeEnd(
                state=self._state,
                error=self._error,
                error_kind=self._error_kind,
                proxy_received=self._proxy_received,
                forwarded=self._forwarded,
                response_received=self.response_received,
                delivered=self.delivered,
                request_head_us=self._head_us,
                request_body_us=self._body_us,
                response_head_us=self.response_head_us,
                connect_us=0 if self.upstream is None else self.upstream.connect_us,
                early_response=self.answered_early,
                response_trailers=self.trailers,
                monotonic=time.monotonic_ns(),
            )
        )
        self.finished.set()

    @property
    def answered_early(self) -> bool:
        """Whether the upstream answered before it had the whole request."""
        if self.response_received is None or self.own_answer:
            return False
        return self._forwarded is None or self.response_received < self._forwarded


def _asks_for_websocket(head: RequestHead) -> bool:
    """Only this upgrade is passed on (RFC 6455, 4.1): after any other we would not know what the bytes are.

    HTTP/1.0 has no upgrades, and without its mark in Connection it is none (RFC 9110, 7.8).
    """
    if head.method != "GET" or head.http_version == "1.0" or not names_option(head.headers, b"upgrade"):
        return False
    return [value.lower() for value in get_all(head.headers, b"upgrade")] == [b"websocket"]
