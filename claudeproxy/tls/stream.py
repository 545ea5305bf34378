"""`TLSStream`: the server side of TLS over any Trio stream, through OpenSSL's memory buffers.

Apart because this is the riskiest code of the package: two tasks share one OpenSSL object, and neither may wait for
the other where the peer would have to move first. pyOpenSSL instead of `trio.SSLStream`, because the standard library
takes certificates from files only and chooses them too late. It verifies no peer: upstream legs have `upstream`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVarTuple, Unpack

import trio
from OpenSSL import SSL

from claudeproxy.errors import HandshakeError
from claudeproxy.tls.alerts import UNRECOGNIZED_NAME, explain, reason
from claudeproxy.tls.contexts import HandshakeState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

Arguments = TypeVarTuple("Arguments")

_RECORD: Final = 16384  # plaintext bytes in a TLS record at most: what one `recv` gives
_PIECE: Final = 131072  # received and given, or encrypted and sent, at a time: bounds what is in memory twice
_FRAMES: Final = 4096  # more than the record headers and tags of a piece, and than what TLS has to say itself
_CLOSE_NOTIFY_SECONDS: Final = 1.0  # a peer that does not read must not keep us from closing


class _Busy:
    """Refuses a second task in the same direction, as `trio.abc.Stream` asks for."""

    __slots__ = ("_message", "held")

    def __init__(self, message: str) -> None:
        self._message = message
        self.held = False

    def __enter__(self) -> None:
        if self.held:
            raise trio.BusyResourceError(self._message)
        self.held = True

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.held = False


class TLSStream(trio.abc.HalfCloseableStream):
    """TLS towards a client. One task may send while another receives; the handshake comes first, by itself if need be.

    `context` is `CertificateCache.server_context()`; `default_host` is whose certificate a client gets that names no
    server; `first` is what was received already. A cancelled `send_all` or a failed one breaks the stream for sending:
    part of a record may be out. An EOF without close_notify reads as an EOF: framing tells truncation.
    """

    def __init__(
        self, transport: trio.abc.Stream, context: SSL.Context, *, default_host: str | None = None, first: bytes = b""
    ) -> None:
        self.transport = transport
        self._state = HandshakeState(default_host=default_host)
        self._connection = SSL.Connection(context, None)
        self._connection.set_app_data(self._state)
        self._connection.set_accept_state()
        if first:
            self._connection.bio_write(first)
        self._sending = _Busy("another task is sending on this TLS stream")
        self._receiving = _Busy("another task is receiving on this TLS stream")
        self._handshaking = trio.Lock()
        self._moving = self._more_output = False  # OpenSSL's output to the transport; more than the mover has seen
        self._movers = trio.lowlevel.ParkingLot()  # who waits to move it
        self._tickets = b""  # encrypted, to go out before the first bytes of ours
        self._shaken = False
        self._failure: HandshakeError | None = None
        self._broken = self._sent_eof = self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "broken" if self._broken else "open" if self._shaken else "new"
        return f"<TLSStream {state} server_name={self.server_name!r} over {self.transport!r}>"

    @property
    def server_name(self) -> str | None:
        """The name the client asked for (SNI), lower case; None before the handshake or when it asked for none."""
        return self._state.server_name

    @property
    def protocol_version(self) -> str:
        """The TLS version agreed on, such as `TLSv1.3`."""
        return self._connection.get_protocol_version_name()

    async def do_handshake(self) -> None:
        """Agree on TLS with the client; does nothing the second time.

        Raises HandshakeError; `distrusted` when the client refused our certificate: by an alert that says so, or by an
        EOF or a reset in answer to it. (Some clients complete the handshake and close then: the caller sees an EOF.)
        """
        async with self._handshaking:
            if self._closed:
                raise trio.ClosedResourceError
            if self._failure is not None:
                raise HandshakeError(str(self._failure), distrusted=self._failure.distrusted)
            if self._shaken:
                return
            try:
                await self._handshake()
            except BaseException as exc:
                self._broken = True
                self._failure = exc if isinstance(exc, HandshakeError) else None
                raise
            self._shaken = True

    async def _handshake(self) -> None:
        certificate_sent = False
        try:
            while True:
                try:
                    self._connection.do_handshake()
                except SSL.WantReadError:
                    certificate_sent |= await self._flush()
                else:
                    return await self._finish()
                data = await self.transport.receive_some(_PIECE)
                if not data:
                    raise HandshakeError("the client closed during the TLS handshake", distrusted=certificate_sent)
                self._connection.bio_write(data)
        except SSL.Error as exc:
            await self._send_alert()
            if self._state.refused is not None:
                raise HandshakeError(f"no certificate for the client: {self._state.refused}") from exc
            raise explain(exc) from exc
        except trio.BrokenResourceError as exc:
            raise HandshakeError(
                "the client reset the connection during the TLS handshake", distrusted=certificate_sent
            ) from exc

    async def _finish(self) -> None:
        """TLS 1.2: send our Finished, the client waits for it. TLS 1.3: keep the session tickets for later.

        pyOpenSSL has no SSL_CTX_set_num_tickets, and OP_NO_TICKET only makes the two tickets stateful. Sent on their
        own they lie unread at a client that closes early, and turn its close into a reset that can eat its last bytes.
        """
        if self._connection.get_protocol_version() == SSL.TLS1_2_VERSION:
            await self._flush()
        else:
            with suppress(SSL.WantReadError):
                self._tickets = self._connection.bio_read(_FRAMES)

    async def _send_alert(self) -> None:
        with suppress(trio.BrokenResourceError):  # the client is gone; why the handshake failed is the better news
            if self._state.refused is None:
                await self._flush()
            else:
                await self.transport.send_all(UNRECOGNIZED_NAME)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Decrypted bytes, at most `max_bytes`; what has already arrived is taken together, nothing is waited for.

        `b""` at the client's EOF. Raises BrokenResourceError, ClosedResourceError, HandshakeError.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be positive")
        with self._receiving:
            await self._ready()
            await trio.lowlevel.checkpoint_if_cancelled()  # not after reading: what was read would be lost
            waited = False
            while True:
                data = self._read(max_bytes or _PIECE)
                if data is not None:
                    if not waited:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    return data
                # A key update or an alert may want out. If a send is under way it takes that along: to wait for it
                # could mean to wait for a peer that waits for us to read.
                self._more_output = True
                if not (self._sending.held or self._moving or self._broken):
                    await self._flush()
                received = await self.transport.receive_some(_PIECE + _FRAMES)
                waited = True
                if not received:
                    return b""
                self._connection.bio_write(received)

    def _read(self, limit: int) -> bytes | None:
        """What OpenSSL has, several records of it if they are full; None when it needs more bytes first."""
        try:
            data = self._connection.recv(min(limit, _RECORD))
        except SSL.WantReadError:
            return None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as exc:
            raise trio.BrokenResourceError(f"TLS failed: {reason(exc)}") from exc
        if len(data) < _RECORD or limit == _RECORD:
            return data
        pieces, left = [data], limit - len(data)
        with suppress(SSL.Error):  # nothing more for now; what is wrong, if anything, comes again at the next call
            while left and len(pieces[-1]) == _RECORD:
                pieces.append(self._connection.recv(min(left, _RECORD)))
                left -= len(pieces[-1])
        return b"".join(pieces)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send. Raises BrokenResourceError, ClosedResourceError, HandshakeError."""
        with self._sending:
            await self._ready()
            if self._sent_eof:
                raise trio.ClosedResourceError("the end was already sent")
            self._check_unbroken()
            if not data:
                await trio.lowlevel.checkpoint()
            for start in range(0, len(data), _PIECE):
                piece = memoryview(data)[start : start + _PIECE]
                await self._deliver(len(piece), self._encrypt, piece)

    def _encrypt(self, piece: memoryview) -> None:
        while piece:  # pyOpenSSL's contexts allow partial writes: one record a call
            piece = piece[self._connection.send(piece) :]

    async def _deliver(self, size: int, produce: Callable[[Unpack[Arguments]], object], *args: *Arguments) -> None:
        """Have OpenSSL produce records and send them. If anything goes wrong, sending is over: some may be out."""
        try:
            produce(*args)
            await self._flush(size)
        except SSL.Error as exc:
            self._broken = True
            raise trio.BrokenResourceError(f"TLS failed: {reason(exc)}") from exc
        except BaseException:
            self._broken = True
            raise

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport takes bytes; raises like `send_all`."""
        with self._sending:
            await self._ready()
            await self.transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the client that nothing more comes (close_notify); receiving goes on."""
        with self._sending:
            await self._ready()
            if self._sent_eof:
                await trio.lowlevel.checkpoint()
            else:
                self._check_unbroken()
                self._sent_eof = True
                await self._deliver(0, self._connection.shutdown)

    async def aclose(self) -> None:
        """Close; with a close_notify, if the stream can still send one and the client takes it within a second."""
        if self._closed:
            return await trio.lowlevel.checkpoint()
        self._closed = True
        can_send = self._shaken and not (self._broken or self._sent_eof or self._sending.held or self._moving)
        try:
            if can_send:
                # Closed or broken: the client is gone already.
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    with trio.move_on_after(_CLOSE_NOTIFY_SECONDS):
                        await self._deliver(0, self._connection.shutdown)
        finally:
            await self.transport.aclose()

    async def _ready(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError
        if not self._shaken:
            await self.do_handshake()

    def _check_unbroken(self) -> None:
        if self._broken:
            raise trio.BrokenResourceError("an earlier send on this TLS stream did not finish")

    async def _flush(self, size: int = 0) -> bool:
        """Move what OpenSSL wants to send (`size` plaintext bytes) to the transport; whether there was anything."""
        size += _FRAMES  # pyOpenSSL takes memory for as much as it is asked for, each time
        while self._moving:
            await self._movers.park()
        self._moving = True
        try:
            sent = False
            while True:
                self._more_output = False
                try:
                    data = self._connection.bio_read(size)
                except SSL.WantReadError:
                    return sent
                self._check_unbroken()
                data, self._tickets = self._tickets + data, b""
                sent = True
                await self.transport.send_all(data)
                if len(data) < size and not self._more_output:
                    return sent
        except BaseException:
            self._broken = True  # some of it may be out: the next byte would land in the middle of a record
            raise
        finally:
            self._moving = False
            self._movers.unpark()
