"""Clients of the live feeds, and another process that stores captures."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import h11
import httpx
import trio
from quart_trio import QuartTrio
from trio_websocket import WebSocketConnection, wrap_client_stream

from claudeproxy.api.errors import install_error_handlers
from claudeproxy.api.events import LiveEvent
from claudeproxy.api.live import change_number, live_routes, with_feed
from claudeproxy.api.openapi import install_openapi
from claudeproxy.api.serving import open_listeners, serve_app
from claudeproxy.api.storage import StoragePool
from claudeproxy.live import LiveFeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from hypercorn.typing import ASGIFramework

    from tests.api.conftest import Captures

_WRITER = """
import sys
from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from tests.api.captures import answered, exchange, whole
storage = CaptureStorage(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    number, state = line.split()
    ended = state != "in_flight"
    body = whole(b"")
    storage.record([exchange(int(number), state=State(state), body=body, response=answered() if ended else None)], {})
    print("stored", flush=True)
"""


UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)


class OtherProcess:
    """What the recorder is to the API: another process that stores."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def store(self, number: int, state: str = "complete") -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number} {state}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "stored\n"


@contextmanager
def other_process(path: Path) -> Iterator[OtherProcess]:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield OtherProcess(process)
        assert process.stdin is not None
        process.stdin.close()


class Sse:
    """A stream of events being read. By hand, because httpx leaves its generators open when a test has seen enough."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._connection = h11.Connection(h11.CLIENT)
        self._text = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def begin(self, path: str, headers: list[tuple[str, str]]) -> bytes:
        """Ask, and read the head; of an answer that is no stream, the body."""
        request = h11.Request(method="GET", target=path, headers=headers)
        data = self._connection.send(request)
        await self._stream.send_all((data or b"") + (self._connection.send(h11.EndOfMessage()) or b""))
        response = await self._next()
        assert isinstance(response, h11.Response)
        self.status = response.status_code
        self.headers = {name.decode(): value.decode() for name, value in response.headers}
        if self.headers["content-type"].startswith("text/event-stream"):
            assert await self._part() == b": claudeproxy"
            return b""
        body = b""
        while isinstance(event := await self._next(), h11.Data):
            body += event.data
        return body

    async def _next(self) -> object:
        with trio.fail_after(5):
            while (event := self._connection.next_event()) is h11.NEED_DATA:
                self._connection.receive_data(await self._stream.receive_some())
        return event

    async def _part(self) -> bytes:
        """What comes until the next empty line."""
        while b"\n\n" not in self._text:
            event = await self._next()
            assert isinstance(event, h11.Data), event
            self._text += event.data
        part, _, self._text = self._text.partition(b"\n\n")
        return part

    async def comment(self) -> None:
        """The next thing is a comment."""
        assert await self._part() == b":"

    async def fields(self) -> dict[str, str]:
        """The fields of the next event; comments are passed over."""
        while (part := await self._part()).startswith(b":"):
            pass
        lines = (line.partition(": ") for line in part.decode().split("\n"))
        return {name: value for name, _, value in lines}

    async def event(self) -> LiveEvent:
        """The next event, which is one of an exchange."""
        found = await self.fields()
        assert found.keys() == {"id", "data"}
        event = LiveEvent.model_validate_json(found["data"])
        assert event.event_id == int(found["id"])
        return event

    async def end(self) -> None:
        """The stream is whole, and over."""
        assert isinstance(await self._next(), h11.EndOfMessage)


@asynccontextmanager
async def asking(
    client: httpx.AsyncClient, headers: dict[str, str] | None = None, **query: object
) -> AsyncIterator[tuple[Sse, bytes]]:
    """A client that asks for a stream, and what it got when it got none."""
    address = client.base_url.netloc.decode()
    fields = [("Host", address), *(headers or {}).items()]
    if headers and "Host" in headers:
        fields = fields[1:]
    target = httpx.URL("/api/claude/live", params=query)  # type: ignore[arg-type]
    host, _, port = address.rpartition(":")
    socket = trio.socket.socket()
    await socket.connect((host, int(port)))
    async with trio.SocketStream(socket) as stream:
        sse = Sse(stream)
        yield sse, await sse.begin(str(target), fields)


@asynccontextmanager
async def listening(
    client: httpx.AsyncClient, *, headers: dict[str, str] | None = None, **query: object
) -> AsyncIterator[Sse]:
    """A client of the stream; entered when the server has begun it."""
    async with asking(client, headers=headers, **query) as (sse, refusal):
        assert sse.status == 200, refusal
        yield sse


class Socket:
    """A WebSocket client."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def event(self) -> LiveEvent:
        with trio.fail_after(5):
            return LiveEvent.model_validate_json(await self.connection.get_message())


@asynccontextmanager
async def socket_to(client: httpx.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[Socket]:
    """A connected WebSocket. Its stream is the test's, because trio-websocket leaves it open when the server closes."""
    address = client.base_url.netloc.decode()
    host, _, port = address.rpartition(":")
    socket = trio.socket.socket()
    await socket.connect((host, int(port)))
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with trio.SocketStream(socket) as stream, trio.open_nursery() as nursery:
        connection = await wrap_client_stream(nursery, stream, address, f"/api/claude/ws{query}", extra_headers=extra)
        yield Socket(connection)
        with trio.move_on_after(1):
            await connection.aclose()
        nursery.cancel_scope.cancel()


def feed_app(captures: Captures, *, heartbeat: float = 15.0, patience: float = 10.0, limit: int = 32) -> ASGIFramework:
    """The feeds alone, so that a test can wait for less."""
    storage = StoragePool(captures.reader, size=2)
    feed = LiveFeed(change_number(storage), interval=0.01, patience=patience, limit=limit)
    app = QuartTrio("feeds")
    install_error_handlers(app)
    install_openapi(app, version="test", token_required=False)  # which checks parameters, too
    app.register_blueprint(live_routes(storage, feed, heartbeat=heartbeat), url_prefix="/api/claude")
    return with_feed(app, feed)


class Server:
    """A served application that a test ends itself."""

    def __init__(self, client: httpx.AsyncClient, address: str, shutdown: trio.Event, ended: trio.Event) -> None:
        self.client = client
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self._shutdown = shutdown
        self._ended = ended

    def end(self) -> None:
        self._shutdown.set()

    async def stop(self, *, within: float) -> None:
        """End it; it has ended within so many seconds."""
        self.end()
        with trio.fail_after(within):
            await self._ended.wait()


@asynccontextmanager
async def serving(app: ASGIFramework, *, small_buffers: bool = False) -> AsyncIterator[Server]:
    """The application on a free port. With `small_buffers` a reader that takes nothing is noticed soon."""
    listeners = await open_listeners("127.0.0.1:0")
    if small_buffers:
        for listener in listeners:
            listener.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 4096)
    shutdown, ended = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve_app(app, listeners=listeners, shutdown_trigger=shutdown.wait, grace=5.0, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve)
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            yield Server(client, address, shutdown, ended)
        shutdown.set()


async def deaf_client(address: str, path: str, *more: str) -> trio.SocketStream:
    """A client that asks and then reads nothing, unless the test does."""
    host, _, port = address.rpartition(":")
    socket = trio.socket.socket()
    socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
    await socket.connect((host, int(port)))
    stream = trio.SocketStream(socket)
    fields = [f"GET {path} HTTP/1.1", *more]
    if not any(field.startswith("Host:") for field in more):
        fields.append(f"Host: {address}")
    await stream.send_all("\r\n".join([*fields, "", ""]).encode())
    return stream


async def upgrade(client: httpx.AsyncClient, query: str = "", **headers: str) -> tuple[int, bytes]:
    """Ask for the WebSocket by hand to read what a refusal says: status and body."""
    fields = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    address = client.base_url.netloc.decode()
    async with await deaf_client(address, f"/api/claude/ws{query}", *UPGRADE, *fields) as stream:
        answer = b""
        with trio.fail_after(5):
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some()
            status = int(answer.split()[1])
            head, _, body = answer.partition(b"\r\n\r\n")
            while status != 101 and b"content-length: %d\r\n" % len(body) not in head + b"\r\n":
                body += await stream.receive_some()
    return status, body


def data_of(fields: dict[str, str]) -> object:
    return json.loads(fields["data"])
