"""A byte stream with the few reads that hand-written HTTP needs; for scripted peers on both ends of the proxy."""

from __future__ import annotations

import trio


class Wire:
    """Reads and writes exact bytes. `raw` is the socket below, for resets."""

    def __init__(self, stream: trio.abc.Stream, raw: trio.SocketStream) -> None:
        self.stream = stream
        self.raw = raw
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def _more(self) -> bool:
        data = await self.stream.receive_some(65536)
        self._buffer += data
        return bool(data)

    async def read_until(self, end: bytes) -> bytes:
        """Everything up to and with `end`; an EOF before it is an error."""
        while end not in self._buffer:
            if not await self._more():
                raise EOFError(f"end of stream in {self._buffer[:200]!r}")
        head, _, self._buffer = self._buffer.partition(end)
        return head + end

    async def read_head(self) -> bytes:
        return await self.read_until(b"\r\n\r\n")

    async def read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise EOFError(f"end of stream after {len(self._buffer)} of {count} bytes")
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    async def read_some(self, most: int) -> bytes:
        """What has come, at least a byte and `most` at most; an EOF is an error."""
        if not self._buffer and not await self._more():
            raise EOFError("end of stream")
        data, self._buffer = self._buffer[:most], self._buffer[most:]
        return data

    async def read_to_end(self) -> bytes:
        """Everything up to a clean EOF."""
        while await self._more():
            pass
        data, self._buffer = self._buffer, b""
        return data

    async def read_message(self) -> tuple[bytes, bytes]:
        """(head, body) of a message with Content-Length or without a body."""
        head = await self.read_head()
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head, await self.read_exactly(int(line.partition(b":")[2]))
        return head, b""

    async def wait_gone(self) -> None:
        """Wait until the peer closed or reset."""
        try:
            while await self._more():
                pass
        except trio.BrokenResourceError:
            pass

    async def reset(self) -> None:
        """Close with a TCP reset."""
        import socket
        import struct

        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self.raw)

    async def close(self) -> None:
        """Close the socket without ceremony: FIN, no close_notify."""
        await trio.aclose_forcefully(self.raw)

    async def aclose(self) -> None:
        """Close properly."""
        await self.stream.aclose()
