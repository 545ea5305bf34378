"""The clients of the soak, which misbehave by the number in the target, and what both ends need.

Both ends note what they saw in a `Sighting`, one for each number, which `soak_check` compares with the record. All is
hand-written on real sockets: what a library would forbid is what is wanted here.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import trio
from soak_traffic import TARGET, answer_body, kind_of, request_body

if TYPE_CHECKING:
    from load import Route

CHUNK = 65536
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")


@dataclass(slots=True, kw_only=True)
class Sighting:
    """What both ends saw of one exchange; lengths in bytes of bodies, chunked framing taken off."""

    reached: bool = False  # the upstream read its head
    received: int = 0  # of the request, by the upstream
    answered: int = 0  # of the answer, by the client
    status: int = 0
    over: bool = False
    wrong: str = ""  # an end saw bytes that nobody sent


Sightings: TypeAlias = dict[int, Sighting]
Take: TypeAlias = Callable[[bytes], Awaitable[None]]


class Reader:
    """Reads one message after another from a stream: the head, then the body as it comes."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = b""

    async def more(self) -> bool:
        """Read once; whether there was something."""
        data = await self._stream.receive_some(CHUNK)
        self._buffer += data
        return bool(data)

    async def head(self) -> bytes:
        """Read a head; b"" when the peer closed, or was never HTTP."""
        while b"\r\n\r\n" not in self._buffer:
            if not await self.more():
                return b""
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    async def body(self, head: bytes, take: Take) -> bool:
        """Hand a message's body to `take`, piece by piece; whether it came to its end. Without framing: none."""
        if _CHUNKED.search(head):
            while line := await self._line():
                size = int(line, 16)
                if not await self._exactly(size, take) or await self._line() is None:
                    return False
                if size == 0:
                    return True
            return False
        length = _LENGTH.search(head)
        return await self._exactly(int(length[1]), take) if length else True

    async def _exactly(self, count: int, take: Take) -> bool:
        while count:
            if not self._buffer and not await self.more():
                return False
            data, self._buffer = self._buffer[:count], self._buffer[count:]
            count -= len(data)
            await take(data)
        return True

    async def _line(self) -> bytes | None:
        while b"\r\n" not in self._buffer:
            if not await self.more():
                return None
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


class Compared:
    """Takes a body as it comes and compares it with the one that was sent; `slowly` waits between two pieces."""

    def __init__(self, whole: bytes, *, slowly: float = 0.0, enough: int | None = None) -> None:
        self._whole = whole
        self._slowly = slowly
        self._enough = enough
        self.seen = 0
        self.wrong = False

    async def take(self, data: bytes) -> None:
        """Take one piece. Raises EnoughError once `enough` bytes are there."""
        self.wrong |= self._whole[self.seen : self.seen + len(data)] != data
        self.seen += len(data)
        if self._enough is not None and self.seen >= self._enough:
            raise EnoughError
        if self._slowly:
            await trio.sleep(self._slowly)


class EnoughError(Exception):
    """The client has seen what it wanted to see."""


# ---- the clients


class Client:
    """One client of the proxy; keeps its connection from exchange to exchange while that goes well."""

    def __init__(self, route: Route, host: str, sightings: Sightings) -> None:
        self._route = route
        self._host = host
        self._sightings = sightings
        self._stream: trio.abc.Stream | None = None
        self._reader: Reader | None = None

    async def exchange(self, number: int) -> None:
        """Do one exchange as its kind says. What a peer does wrong is noted, not raised."""
        sighting = self._sightings[number] = Sighting()
        keep = False
        try:
            if self._stream is None:
                self._stream = await self._route.open()
                self._reader = Reader(self._stream)
            keep = await self._do(number, sighting, self._stream)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, RuntimeError, EnoughError):
            pass
        finally:
            if not keep:
                await self.close()
            sighting.over = True

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
        self._stream = self._reader = None

    async def _do(self, number: int, sighting: Sighting, stream: trio.abc.Stream) -> bool:
        kind = kind_of(number)
        if kind.client == "early":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._quietly, self._send, number, stream)
                await self._quietly(self._receive, number, sighting)
                nursery.cancel_scope.cancel()
            return False
        await self._send(number, stream)
        if kind.client == "half":
            await trio.sleep(0.1)
            return False
        return await self._receive(number, sighting)

    async def _quietly(self, do: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """One end of an early answer: the proxy may stop listening, which is its right."""
        try:
            await do(*arguments)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _send(self, number: int, stream: trio.abc.Stream) -> None:
        kind, body = kind_of(number), request_body(number)
        head = f"POST {TARGET}{number} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
        head += "User-Agent: claude-cli/2.1.330 (external, cli)\r\nx-api-key: sk-ant-api03-dummy\r\n"
        if kind.client == "chunked":
            await stream.send_all(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(body), 1000):
                piece = body[start : start + 1000]
                await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))
            await stream.send_all(b"0\r\n\r\n")
            return
        await stream.send_all(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body))
        if kind.client == "slow-write":
            for start in range(0, len(body), 2000):
                await stream.send_all(body[start : start + 2000])
                await trio.sleep(0.1)
        else:
            await stream.send_all(body[: len(body) // 2] if kind.client == "half" else body)

    async def _receive(self, number: int, sighting: Sighting) -> bool:
        assert self._reader is not None
        kind = kind_of(number)
        head = await self._reader.head()
        if not head:
            return False
        sighting.status = int(head[9:12])
        if sighting.status == 502:  # the proxy's own words
            return False
        whole = answer_body(number)
        slowly = 0.05 if kind.client == "slow-read" else 0.0
        enough = len(whole) // 3 if kind.client in {"esc", "reset"} else None
        comparing = Compared(whole, slowly=slowly, enough=enough)
        try:
            ended = await self._reader.body(head, comparing.take)
        except EnoughError:
            if kind.client == "reset":
                self._reset()
            raise
        finally:
            sighting.answered = comparing.seen
            if comparing.wrong:
                sighting.wrong = "the client received what was not sent"
        return ended and b"connection: close" not in head.lower()

    def _reset(self) -> None:
        stream = self._stream
        while isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        if isinstance(stream, trio.SocketStream):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
