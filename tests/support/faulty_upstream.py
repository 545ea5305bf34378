"""An upstream that does what it should not: at a port that stays, each test brings what stands behind it.

Real sockets, plain or TLS. A `Behaviour` is told of a `Meeting`, through which both ends of one exchange wait for each
other and keep what they saw, and makes the script of one connection.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Literal

import trio

from tests.support.wire import Wire

if TYPE_CHECKING:
    import ssl
    from collections.abc import Sequence

Script = Callable[[Wire], Awaitable[None]]
Then = Literal["stays", "closes", "resets", "closes when seen", "resets when seen"]


class Meeting:
    """What the two ends of one exchange tell each other, and what each of them saw."""

    def __init__(self, body: bytes) -> None:
        self.body = body  # what the client has to send
        self.reached = trio.Event()  # the upstream is where the client waits for it to be
        self.seen = trio.Event()  # the client is where the upstream waits for it to be
        self.gone = trio.Event()  # the upstream's connection ended
        self.left_at = self.gone_at = 0.0
        self.got = bytearray()  # payload that came to the upstream
        self.answer = b""  # payload that the upstream sent

    @property
    def seconds_to_gone(self) -> float:
        """From the client's leaving to the end of the upstream's connection."""
        return self.gone_at - self.left_at


Behaviour = Callable[[Meeting], Script]


async def take(meeting: Meeting, wire: Wire) -> bytes:
    """Read a request, chunked or with Content-Length, and note its payload as it comes; return its head."""
    head = await wire.read_head()
    if b"\r\ntransfer-encoding: chunked\r\n" in head.lower():
        while size := int(await wire.read_until(b"\r\n"), 16):
            meeting.got += (await wire.read_exactly(size + 2))[:-2]
        await wire.read_until(b"\r\n")
        return head
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(meeting.got) < length:
        meeting.got += await wire.read_some(length - len(meeting.got))
    return head


async def see_gone(meeting: Meeting, wire: Wire, *, payload: bool = True) -> None:
    """Wait for the end of the connection; what still comes before it is `payload`, or not."""
    with suppress(trio.BrokenResourceError, EOFError):
        while True:
            data = await wire.read_some(65536)
            meeting.got += data if payload else b""
    meeting.gone_at = time.monotonic()
    meeting.gone.set()


def says(
    data: bytes | Sequence[bytes] = b"",
    payload: bytes = b"",
    *,
    after: Literal["request", "head", "nothing"] = "request",
    then: Then = "stays",
) -> Behaviour:
    """Send `data`, of which `payload` is to reach the record. Several pieces are sent each by itself."""

    def behaviour(meeting: Meeting) -> Script:
        async def script(wire: Wire) -> None:
            if after == "request":
                await take(meeting, wire)
            elif after == "head":
                await wire.read_head()
            meeting.answer = payload
            for piece in [data] if isinstance(data, bytes) else data:
                await wire.send(piece)
            meeting.reached.set()
            if then.endswith("when seen"):
                await meeting.seen.wait()
            if then.startswith("closes"):
                await wire.aclose()
            elif then.startswith("resets"):
                await wire.reset()
            else:
                await see_gone(meeting, wire, payload=False)

        return script

    return behaviour


def reads_and_waits(*, count: int | None = None) -> Behaviour:
    """Read the head, then `count` bytes of the body (None: all of it), and never answer."""

    def behaviour(meeting: Meeting) -> Script:
        async def script(wire: Wire) -> None:
            if count is None:
                await take(meeting, wire)
            else:
                await wire.read_head()
                while len(meeting.got) < count:
                    meeting.got += await wire.read_some(count - len(meeting.got))
            meeting.reached.set()
            await see_gone(meeting, wire)

        return script

    return behaviour


def reads_no_further(meeting: Meeting) -> Script:
    """Read the head, then nothing until the client is `seen` to have done its worst."""

    async def script(wire: Wire) -> None:
        wire.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await wire.read_head()
        meeting.reached.set()
        await meeting.seen.wait()
        await see_gone(meeting, wire)

    return script


def message(text: str, *, tokens: int = 25) -> list[bytes]:
    """The events of a streamed answer: usage of the prompt in the first, the bill in the last but one."""
    usage = {"input_tokens": tokens, "output_tokens": 1}
    start = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": []}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [{"index": 0, "delta": {"type": "text_delta", "text": word + " "}} for word in text.split()]
    return [
        event("message_start", {"message": {**start, "stop_reason": None, "usage": usage}}),
        event("content_block_start", block),
        *(event("content_block_delta", delta) for delta in deltas),
        event("content_block_stop", {"index": 0}),
        event(
            "message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {**usage, "output_tokens": len(deltas)}}
        ),
        event("message_stop", {}),
    ]


def event(name: str, data: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


def head(status: str = "200 OK", *fields: str, stream: bool = False) -> bytes:
    kind = "text/event-stream" if stream else "application/json"
    framing = ["Transfer-Encoding: chunked"] if stream else []
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *framing, *fields, "", ""]).encode()


def whole(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    """An answer with Content-Length."""
    return head(status, f"Content-Length: {len(body)}", *fields) + body


class FaultyUpstream:
    """A port that is bound once and served by one behaviour at a time. Connections end with their test."""

    def __init__(self, scheme: Literal["http", "https"] = "http", *, listening: bool = True) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        if listening:
            self._socket.listen(100)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._socket.close()

    @asynccontextmanager
    async def behaving(self, script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[list[int]]:
        """Serve each connection by `script` (the handshake first, with `tls`). Gives the list of connections so far.

        What a script raises, but for the connection's end, fails the test. At the end all connections are closed, and
        whoever keeps one in a pool learns of it.
        """
        connections: list[int] = []
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket.dup()))
        open_ones: set[trio.SocketStream] = set()

        async def serve(raw: trio.SocketStream) -> None:
            connections.append(len(connections))
            open_ones.add(raw)
            stream: trio.abc.Stream = raw
            try:
                if tls is not None:
                    stream = trio.SSLStream(raw, tls, server_side=True, https_compatible=True)
                    await stream.do_handshake()
                await script(Wire(stream, raw))
            except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
                pass
            finally:
                await trio.aclose_forcefully(raw)
                open_ones.discard(raw)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            try:
                yield connections
            finally:
                for raw in list(open_ones):
                    await trio.aclose_forcefully(raw)
                nursery.cancel_scope.cancel()
