"""`UpstreamTLSStream`: the client side of TLS over any Trio stream, for the legs to the API.

Apart because `trio.SSLStream`, which does the same for everybody, takes one more turn of the scheduler and an exception
for each streamed event; here it is one wait and no exception. Certificates are verified by the context that it is
given, always the one of `contexts.make_client_context`. It cannot close one half, and closes without a close_notify, as
HTTP clients do.
"""

from __future__ import annotations

import ssl
from operator import index
from typing import Final, TypeAlias

import trio

Buffer: TypeAlias = bytes | bytearray | memoryview

_CHUNK: Final = 131072  # received at a time
_PIECE: Final = _CHUNK + 16384  # sent at a time: so much of a body, and the head that goes before it
_STEP: Final = 65536  # encrypted at a time: OpenSSL keeps the memory that it took for the most


class UpstreamTLSStream(trio.abc.Stream):
    """TLS towards a server; `do_handshake` first. One task may send while another receives.

    What OpenSSL wants to say while it receives (a new key, TLS 1.3) goes out before the next bytes that are sent, which
    is as soon as it must (RFC 8446, 4.6.3). An EOF without close_notify reads as an EOF: framing tells truncation. A
    `send_all` that failed or was cancelled breaks the stream for sending: part of a record may be out.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server_hostname: str) -> None:
        self.transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._sending = self._broken = self._closed = False
        self._failure: ssl.SSLError | None = None  # what was wrong with the server's records

    def __repr__(self) -> str:
        return f"<UpstreamTLSStream to {self._tls.server_hostname} over {self.transport!r}>"

    @property
    def has_unread(self) -> bool:
        """Whether bytes have come that were not received yet; those below, in the transport, do not count."""
        return bool(self._incoming.pending or self._tls.pending())

    async def do_handshake(self) -> None:
        """Agree on TLS with the server. Raises BrokenResourceError, whose cause is the `ssl.SSLError`."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send(b"")
                await self._receive()
            except ssl.SSLError as exc:
                self._broken = True
                raise trio.BrokenResourceError(f"TLS failed: {exc.reason}") from exc
            else:
                await self._send(b"")
                return

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Decrypted bytes, at most `max_bytes`; what has already arrived is taken together, nothing is waited for.

        `b""` at the end. Raises BrokenResourceError, ClosedResourceError.
        """
        limit = _CHUNK if max_bytes is None else index(max_bytes)
        if limit < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")
        await trio.lowlevel.checkpoint_if_cancelled()  # not after reading: what was read would be lost
        waited = False
        while True:
            if self.has_unread or self._incoming.eof or self._failure is not None:
                data = self._read(limit)
                if data is not None:
                    if not waited:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    return data
            await self._receive()
            waited = True

    async def _receive(self) -> None:
        if data := await self.transport.receive_some(_CHUNK):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _read(self, limit: int) -> bytes | None:
        """What OpenSSL has, several records of it if they are there; None when it needs more bytes first."""
        if self._failure is not None:
            raise trio.BrokenResourceError(f"TLS failed: {self._failure.reason}") from self._failure
        pieces: list[bytes] = []
        try:
            while True:
                piece = self._tls.read(limit)
                pieces.append(piece)
                limit -= len(piece)
                if not (piece and limit and self.has_unread):
                    break
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b"".join(pieces)
        except ssl.SSLError as exc:
            self._failure = exc  # told when what came before it was given
            if not pieces:
                raise trio.BrokenResourceError(f"TLS failed: {exc.reason}") from exc
        return b"".join(pieces) if pieces else None

    async def send_all(self, data: Buffer) -> None:
        """Encrypt and send. Raises BrokenResourceError, ClosedResourceError, BusyResourceError."""
        if self._closed:
            raise trio.ClosedResourceError("this TLS stream was closed")
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this TLS stream")
        if self._broken:
            raise trio.BrokenResourceError("an earlier send on this TLS stream did not finish")
        if len(data) <= _PIECE:
            await self._send(data)
            return
        with memoryview(data) as view:
            for start in range(0, len(view), _PIECE):
                await self._send(view[start : start + _PIECE])

    async def _send(self, piece: Buffer) -> None:
        self._sending = True
        try:
            await self.transport.send_all(self._encrypt(piece))
        except BaseException as exc:
            self._broken = True
            if isinstance(exc, ssl.SSLError):
                raise trio.BrokenResourceError(f"TLS failed: {exc.reason}") from exc
            raise
        finally:
            self._sending = False

    def _encrypt(self, piece: Buffer) -> bytes:
        """Its records, after what OpenSSL itself had to say."""
        if len(piece) > _STEP:
            with memoryview(piece) as view:
                return b"".join(self._encrypt(view[start : start + _STEP]) for start in range(0, len(view), _STEP))
        if len(piece):
            self._tls.write(piece)
        return self._outgoing.read()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes bytes."""
        await self.transport.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the transport."""
        self._closed = True
        await self.transport.aclose()
