"""Accepting from a socket from which other processes accept, too, each in its turn.

Apart from the server, which does not care. A listening socket that several processes share gives a connection to
whoever asks first, and the system wakes all of them, so that one may take nearly everything; sockets of their own that
share a port (SO_REUSEPORT) are dealt connections by a hash, so that of two connections one process gets both as often
as not, and what waits at a dead process's socket waits for its successor. Clients keep few connections for long: there
either is felt. Here the processes share one socket, all are woken, and whose turn it is takes the connection. Nobody
waits long for a process that is stopped or busy: after `GRACE` whoever sees the connection takes it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, Protocol

import trio

if TYPE_CHECKING:
    import socket

GRACE: Final = 0.007  # seconds; a loop that is busier than that is no better served by another connection
LOOK: Final = 0.0005  # between the first two looks at whose turn it is; then twice as long each time

# Of a connection that failed before it was accepted: accept(2) says to treat them as if none had come.
_OF_THE_CONNECTION: Final = frozenset(
    getattr(errno, name)
    for name in (
        *("EAGAIN", "ECONNABORTED", "EPERM", "EPROTO", "ENETDOWN", "ENOPROTOOPT"),
        *("EHOSTDOWN", "ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH"),
    )
    if hasattr(errno, name)
)


class Turns(Protocol):
    """Who of the processes takes the next connection, as one of them sees it. Never waits."""

    def mine(self) -> bool:
        """Whether it is our turn."""
        ...

    def taken(self) -> None:
        """We have taken one."""
        ...


class SharedListener(trio.abc.Listener[trio.SocketStream]):
    """As `trio.SocketListener`, for a socket that listens in other processes as well."""

    def __init__(self, listening: socket.socket, turns: Turns) -> None:
        self.socket = trio.socket.from_stdlib_socket(listening)  # makes it non-blocking
        self._listening = listening
        self._turns = turns

    async def accept(self) -> trio.SocketStream:
        """Take a connection when it is our turn, or nobody else's in time. Raises OSError, trio.ClosedResourceError."""
        while True:
            await trio.lowlevel.wait_readable(self._listening)
            if await self._our_turn() and (stream := self._take()) is not None:
                return stream

    async def _our_turn(self) -> bool:
        """Whether we are to take what has come; False when somebody else did."""
        pause, waited = LOOK, 0.0
        while not self._turns.mine() and waited < GRACE:
            await trio.sleep(pause)
            if not self.socket.is_readable():
                return False
            pause, waited = 2 * pause, waited + pause
        return True

    def _take(self) -> trio.SocketStream | None:
        try:
            accepted, _ = self._listening.accept()
        except OSError as exc:
            if exc.errno in _OF_THE_CONNECTION:
                return None
            raise
        self._turns.taken()
        return trio.SocketStream(trio.socket.from_stdlib_socket(accepted))

    async def aclose(self) -> None:
        """Accept no more in this process."""
        self.socket.close()
        await trio.lowlevel.checkpoint()
