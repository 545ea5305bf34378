"""TCP without a kernel: `trio.open_tcp_stream` leads to handlers in this process, so that a test can have its own time.

For autojump clocks, which need every peer in memory (beside real sockets they jump too early). Only what a client's end
does is here, and only as far as `trio.SocketStream` asks.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Self, TypeAlias

import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Buffer


Pipe: TypeAlias = "trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]"


class MemoryNetwork(trio.abc.SocketFactory):
    """Every connection of this `trio.run` is served by `handler` in `nursery`."""

    def __init__(self, nursery: trio.Nursery, handler: Callable[[trio.abc.Stream], Awaitable[None]]) -> None:
        self._nursery = nursery
        self._handler = handler

    def install(self) -> None:
        trio.socket.set_custom_socket_factory(self)

    def socket(self, family: int = 0, type: int = 0, proto: int = 0) -> trio.socket.SocketType:  # noqa: A002
        return _MemorySocket(self)

    def connect(self) -> Pipe:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._handler, theirs)
        return ours


class _MemorySocket(trio.socket.SocketType):
    """One end of a connection."""

    did_shutdown_SHUT_WR = False  # noqa: N815  # trio's own name
    type = socket.SOCK_STREAM
    family = socket.AF_INET
    proto = 0

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._stream: Pipe | None = None
        self._closed = False

    @property
    def _connected(self) -> Pipe:
        assert self._stream is not None
        return self._stream

    async def connect(self, address: object) -> None:
        self._peer = address
        self._stream = self._network.connect()
        await trio.lowlevel.checkpoint()

    async def send(self, data: Buffer, flags: int = 0) -> int:
        sent = bytes(data)
        await self._connected.send_all(sent)
        return len(sent)

    async def recv(self, size: int, flags: int = 0) -> bytes:
        return bytes(await self._connected.receive_some(size))

    def close(self) -> None:
        if not self._closed and self._stream is not None:
            self._closed = True
            self._stream.send_stream.close()
            self._stream.receive_stream.close()

    def fileno(self) -> int:
        return -1 if self._closed else 1 << 20

    def is_readable(self) -> bool:
        return False

    def setsockopt(self, *args: object) -> None:
        return

    def getsockname(self) -> object:
        return "127.0.0.1", 1

    def getpeername(self) -> object:
        return self._peer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()
