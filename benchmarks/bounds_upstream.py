"""The upstream of `bounds`: reads or does not, answers once or without end, as the query says."""

from __future__ import annotations

import trio

CHUNK = 65536
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Upstream:
    """Answers by the query: ``kind=json``, ``kind=flood`` (bytes without end), ``kind=stuck`` (never reads a body)."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection."""
        try:
            while data := await self._head(stream):
                if b"kind=stuck" in data:
                    await trio.sleep_forever()
                await self._body(stream, data)
                if b"kind=flood" in data:
                    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                    while True:
                        await stream.send_all(b"data: " + b"x" * CHUNK + b"\n\n")
                await stream.send_all(JSON)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _head(self, stream: trio.SocketStream) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some(CHUNK)
            if not more:
                return b""
            data += more
        return data

    async def _body(self, stream: trio.SocketStream, data: bytes) -> None:
        top, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        missing = length - len(body)
        while missing > 0:
            more = await stream.receive_some(CHUNK)
            if not more:
                raise trio.BrokenResourceError
            missing -= len(more)
