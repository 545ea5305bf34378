"""Small things done to byte streams: look ahead, splice two, cut one off hard.

Apart from HTTP because tunnels and WebSockets need no more than this. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

import trio

from claudeproxy.proxy.sockets import CHUNK
from claudeproxy.tls.upstream import UpstreamTLSStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.model import Buffer

_RESET_ON_CLOSE = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # struct linger: on, for zero seconds


class Ending(Enum):
    """How a splice ended."""

    CLEAN = auto()
    LEFT_BROKE = auto()
    RIGHT_BROKE = auto()


class PrefixedStream(trio.abc.HalfCloseableStream):
    """A stream with bytes put back in front of it, which is how a connection is classified without eating it.

    Everything but the prefix is the transport's own behaviour. `send_eof` needs a transport that has it.
    """

    def __init__(self, transport: trio.abc.Stream, prefix: Buffer = b"") -> None:
        self.transport = transport
        self._prefix = bytes(prefix)

    def __repr__(self) -> str:
        return f"<PrefixedStream {len(self._prefix)} bytes before {self.transport!r}>"

    @property
    def prefix(self) -> bytes:
        """What was looked at and not yet received."""
        return self._prefix

    def split(self) -> tuple[trio.abc.Stream, bytes]:
        """The stream below and the bytes before it, for who takes over both: each layer costs a call for each event."""
        prefix, self._prefix = self._prefix, b""
        if not isinstance(self.transport, PrefixedStream):
            return self.transport, prefix
        stream, more = self.transport.split()
        return stream, prefix + more

    async def look_further(self) -> bool:
        """Receive once and keep it in the prefix. False at the end of the stream."""
        data = await self.transport.receive_some(CHUNK)
        self._prefix += data
        return bool(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The prefix first, then the transport."""
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        if self._prefix:
            await trio.lowlevel.checkpoint()
            data, self._prefix = self._prefix[:max_bytes], self._prefix[max_bytes or len(self._prefix) :]
            return data
        return bytes(await self.transport.receive_some(max_bytes))

    async def send_all(self, data: Buffer) -> None:
        """Send by the transport."""
        await self.transport.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for the transport."""
        await self.transport.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Close the sending half of the transport."""
        assert isinstance(self.transport, trio.abc.HalfCloseableStream)
        await self.transport.send_eof()

    async def aclose(self) -> None:
        """Close the transport; what was not received is gone."""
        self._prefix = b""
        await self.transport.aclose()


async def splice(
    left: trio.abc.Stream,
    right: trio.abc.Stream,
    *,
    on_left: Callable[[Buffer], None] | None = None,
    on_right: Callable[[Buffer], None] | None = None,
) -> Ending:
    """Carry bytes both ways, as they come, until both directions have ended; an end is passed on as a half-close.

    `on_left` and `on_right` are told what came from that side before it is sent on; they must not wait or raise.
    Where one side breaks, or cannot be half-closed (TLS to an upstream), the whole splice ends: the caller closes both.
    """
    endings: list[Ending] = []

    async def carry(source: trio.abc.Stream, sink: trio.abc.Stream, tell: Callable[[Buffer], None] | None) -> None:
        culprit = source
        try:
            while True:
                culprit = source
                data = await source.receive_some(CHUNK)
                culprit = sink
                if not data:
                    break
                if tell is not None:
                    tell(data)
                await sink.send_all(data)
            if can_half_close(sink):
                assert isinstance(sink, trio.abc.HalfCloseableStream)
                await sink.send_eof()
                return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            endings.append(Ending.LEFT_BROKE if culprit is left else Ending.RIGHT_BROKE)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(carry, left, right, on_left)
        nursery.start_soon(carry, right, left, on_right)
    return endings[0] if endings else Ending.CLEAN


def can_half_close(stream: trio.abc.Stream) -> bool:
    """Whether the stream can end its sending half and go on receiving."""
    if isinstance(stream, PrefixedStream):
        return can_half_close(stream.transport)
    return isinstance(stream, trio.abc.HalfCloseableStream)


def has_unread(stream: trio.abc.Stream) -> bool:
    """Whether bytes have come that were not yet received from `stream`; those still in the kernel do not count."""
    if isinstance(stream, PrefixedStream):
        return bool(stream.prefix) or has_unread(stream.transport)
    if isinstance(stream, UpstreamTLSStream):
        return stream.has_unread or has_unread(stream.transport)
    return False


async def linger_close(stream: trio.abc.Stream, seconds: float) -> None:  # a limit of ours, not a wait
    """End our half, then read and forget until the peer closes or `seconds` passed; then close.

    Closing a TCP socket with unread input sends a reset, and a reset can destroy the answer that was just sent
    (RFC 9112, 9.6).
    """
    with trio.move_on_after(seconds):
        try:
            if can_half_close(stream):
                assert isinstance(stream, trio.abc.HalfCloseableStream)
                await stream.send_eof()
            while await stream.receive_some(CHUNK):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
    await trio.aclose_forcefully(stream)


async def reset(stream: trio.abc.Stream, raw: trio.abc.Stream) -> None:
    """Close `stream`, whose socket is `raw`, with a TCP reset: the peer must not take it for a clean end."""
    if isinstance(raw, trio.SocketStream):
        with suppress(OSError):  # the peer was faster
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    await trio.aclose_forcefully(stream)
