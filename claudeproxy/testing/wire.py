"""The mock's half of an HTTP/1.1 connection: h11 for the protocol, a trio stream for the bytes.

Apart from `server` (which tasks run) and `endpoints` (what is said). One h11 object serves one request, so that the
raw bytes of each head can be kept; what a client sends early waits for the next one. Heads and bodies are bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import trio

from claudeproxy.errors import ProtocolError
from claudeproxy.testing.received import ReceivedRequest

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders

_CHUNK = 65536
_MAX_EARLY = 1 << 20  # bytes that a client may send while it waits for an answer


class BadRequestError(ProtocolError):
    """The request cannot be read; `status_hint` is the status to answer with."""


class BreakOffError(Exception):
    """The script wants the connection closed now, in the middle of things."""


class Connection:
    """One client. `receive` a request, `send` an answer's parts, again while it is `reusable`."""

    def __init__(self, stream: trio.abc.Stream, *, number: int, max_head_bytes: int, max_body_bytes: int) -> None:
        self.number = number
        self._stream = stream
        self._max_head, self._max_body = max_head_bytes, max_body_bytes
        self._early = b""
        self._http = self._fresh()

    def __repr__(self) -> str:
        return f"<Connection {self.number} {self._http.states}>"

    @property
    def reusable(self) -> bool:
        """Whether another request may come on this connection."""
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    @property
    def waits_for_continue(self) -> bool:
        """Whether the client sent `Expect: 100-continue` and still holds its body back."""
        return self._http.they_are_waiting_for_100_continue

    async def receive(self, number: int) -> ReceivedRequest | None:
        """Read a whole request; None when the client has closed. Raises BadRequestError."""
        data = (self._http.trailing_data[0] + self._early).lstrip(b"\r\n")
        while b"\r\n\r\n" not in data:
            if len(data) > self._max_head:
                raise BadRequestError("The request head is too large", status_hint=431)
            more = await self._stream.receive_some(_CHUNK)
            if not more:
                return None
            data = (data + more).lstrip(b"\r\n")
        self._http, self._early = self._fresh(), b""
        self._http.receive_data(data)
        try:
            return await self._read(data[: data.index(b"\r\n\r\n") + 4], number)
        except h11.RemoteProtocolError as exc:
            raise BadRequestError(str(exc), status_hint=exc.error_status_hint) from exc

    async def _read(self, raw_head: bytes, number: int) -> ReceivedRequest | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self.waits_for_continue:
                    await self.inform(100)
                more = await self._stream.receive_some(_CHUNK)
                if not more and head is not None:
                    return None
                self._http.receive_data(bytes(more))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._max_body:
                    raise BadRequestError("The request body is too large", status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return ReceivedRequest(
                    number=number,
                    connection=self.number,
                    raw_head=raw_head,
                    method=head.method.decode(),
                    target=head.target.decode("latin-1"),
                    http_version=head.http_version.decode(),
                    headers=tuple(head.headers.raw_items()),
                    body=bytes(body),
                    trailers=tuple(event.headers.raw_items()),
                )
            else:
                return None

    async def watch(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` when the client closes. What it sends meanwhile is kept for the next request."""
        while len(self._early) < _MAX_EARLY:
            try:
                data = await self._stream.receive_some(_CHUNK)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                scope.cancel()
                return
            self._early += data

    async def inform(self, status_code: int, headers: RawHeaders = ()) -> None:
        """Send a 1xx answer."""
        await self._write(self._http.send(h11.InformationalResponse(status_code=status_code, headers=list(headers))))

    async def begin(self, status_code: int, headers: RawHeaders, *, length: int | None) -> None:
        """Send a head. `length` None: chunked (until the end of the connection for an HTTP/1.0 client)."""
        framing = (b"Transfer-Encoding", b"chunked") if length is None else (b"Content-Length", b"%d" % length)
        fields = [*headers] if status_code in {204, 304} else [*headers, framing]
        await self._write(self._http.send(h11.Response(status_code=status_code, headers=fields)))

    async def send(self, *parts: bytes) -> None:
        """Send body parts in one write, each in a chunk of its own where the body is chunked."""
        await self._write(b"".join(self._http.send(h11.Data(data=part)) or b"" for part in parts if part))

    async def end(self, trailers: RawHeaders = ()) -> None:
        """End the body."""
        await self._write(self._http.send(h11.EndOfMessage(headers=list(trailers))))

    async def _write(self, data: bytes | None) -> None:
        if data:
            await self._stream.send_all(data)

    def _fresh(self) -> h11.Connection:
        return h11.Connection(h11.SERVER, max_incomplete_event_size=self._max_head)
