"""The upstream of the soak: a TLS server that misbehaves by the number in the target of each request."""

from __future__ import annotations

import re
import socket
import struct
from typing import TYPE_CHECKING

import trio
from soak_peers import Compared, Reader, Sightings
from soak_traffic import answer_body, kind_of, request_body, status_of

if TYPE_CHECKING:
    import ssl

_NUMBER = re.compile(rb"soak=(\d+)")


class Upstream:
    """Serves connections; everything about an answer follows from the number in the target."""

    def __init__(self, sightings: Sightings, tls: ssl.SSLContext) -> None:
        self._sightings = sightings
        self._tls = tls

    async def serve(self, raw: trio.SocketStream) -> None:
        """Serve one connection to its end."""
        stream = trio.SSLStream(raw, self._tls, server_side=True, https_compatible=True)
        reader = Reader(stream)
        try:
            while head := await reader.head():
                if not await self._exchange(int(_NUMBER.search(head)[1]), head, reader, stream, raw):  # type: ignore[index]
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(raw)

    async def _exchange(
        self, number: int, head: bytes, reader: Reader, stream: trio.abc.Stream, raw: trio.SocketStream
    ) -> bool:
        sighting, kind = self._sightings[number], kind_of(number)
        sighting.reached = True
        if kind.answer == "early":
            await stream.send_all(_framed(number))  # and closes, while the client still sends
            return False
        comparing = Compared(request_body(number))
        try:
            whole = await reader.body(head, comparing.take)
        finally:
            sighting.received = comparing.seen
            if comparing.wrong:
                sighting.wrong = "the upstream received what was not sent"
        if not whole:
            return False
        return await self._answer(number, stream, raw)

    async def _answer(self, number: int, stream: trio.abc.Stream, raw: trio.SocketStream) -> bool:
        kind, wire = kind_of(number), _framed(number)
        half = wire[: len(wire) * 2 // 3]
        match kind.upstream:
            case "cut":
                await stream.send_all(half)
                return False
            case "reset":
                await stream.send_all(half)
                await trio.sleep(0.2)  # a reset at once would overtake the bytes
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            case "garbage":
                await stream.send_all(b"\x00\xff this is no HTTP \r\n\r\n" * 3)
                return False
            case "silent":
                return False
            case "paced":
                for start in range(0, len(wire), max(1, len(wire) // 40)):
                    await stream.send_all(wire[start : start + max(1, len(wire) // 40)])
                    await trio.sleep(0.05)
            case _:
                await stream.send_all(wire)
        return kind.answer != "early"


def _framed(number: int) -> bytes:
    """The answer on the wire: streams are chunked by event, the rest has a length."""
    kind, body = kind_of(number), answer_body(number)
    streamed = kind.answer in {"stream", "event-error"}
    media = "text/event-stream; charset=utf-8" if streamed else "application/json"
    head = f"HTTP/1.1 {status_of(number)} Soak\r\nContent-Type: {media}\r\nrequest-id: req_{number}\r\n"
    if kind.answer == "gzip":
        head += "Content-Encoding: gzip\r\n"
    if streamed:
        events = [event + b"\n\n" for event in body.split(b"\n\n")[:-1]]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events)
        return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
