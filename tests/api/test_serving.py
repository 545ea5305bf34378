"""Hypercorn in our nursery: it starts, it answers, and above all it ends."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
from quart import Response
from quart_trio import QuartTrio

from claudeproxy.api.serving import open_listeners, serve_app
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE = b"x" * (32 << 20)  # far more than the socket buffers of both sides hold
LOOKS_LIKE_A_REFUSAL = b"HTTP/1.1 400 \r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def small_app() -> QuartTrio:
    app = QuartTrio("small")

    @app.get("/")
    async def index() -> str:
        return "hello"

    @app.get("/large")
    async def large() -> Response:
        return Response(LARGE)

    @app.get("/refusal")
    async def refusal() -> Response:
        return Response(LOOKS_LIKE_A_REFUSAL)

    @app.get("/slow")
    async def slow() -> str:
        await trio.sleep_forever()
        return ""

    return app


class Running:
    """A served application: its address, and the event that shuts it down."""

    def __init__(self, address: str, shutdown: trio.Event, ended: trio.Event) -> None:
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.url = f"http://{address}"
        self.shutdown = shutdown
        self.ended = ended

    async def stop(self, *, within: float) -> None:
        self.shutdown.set()
        with trio.fail_after(within):
            await self.ended.wait()


@asynccontextmanager
async def running(app: QuartTrio, grace: float = 2.0) -> AsyncIterator[Running]:
    shutdown, ended = trio.Event(), trio.Event()

    async def serve(task_status: trio.TaskStatus[list[str]]) -> None:
        await serve_app(app, bind="127.0.0.1:0", shutdown_trigger=shutdown.wait, grace=grace, task_status=task_status)
        ended.set()

    async with trio.open_nursery() as nursery:
        (address,) = await nursery.start(serve)
        yield Running(address, shutdown, ended)
        shutdown.set()


async def test_it_answers_on_the_address_it_started_with() -> None:
    async with running(small_app()) as server, httpx.AsyncClient() as client:
        assert (await client.get(server.url)).text == "hello"


async def test_one_connection_serves_several_requests() -> None:
    async with running(small_app()) as server:
        stream = await connect(server)
        for _ in range(3):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await read_answer(stream)).endswith(b"hello")
        await stream.aclose()


async def connect(server: Running) -> trio.SocketStream:
    return trio.SocketStream(await connected_socket(server))


async def connected_socket(server: Running) -> trio.socket.SocketType:
    sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    await sock.connect((server.host, server.port))
    return sock


async def read_answer(stream: trio.abc.ReceiveStream) -> bytes:
    """One answer with a Content-Length, head and body."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some() or pytest.fail(f"closed after {bytes(data)!r}")
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    while len(body) < length:
        body += await stream.receive_some()
    return head + b"\r\n\r\n" + body


async def test_an_idle_keep_alive_client_does_not_hold_up_the_shutdown() -> None:
    async with running(small_app(), grace=60) as server:
        stream = await connect(server)
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await read_answer(stream)
        await server.stop(within=5)
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_a_client_that_never_sent_a_byte_does_not_hold_up_the_shutdown() -> None:
    async with running(small_app(), grace=60) as server:
        stream = await connect(server)
        await server.stop(within=5)
        await stream.aclose()


async def test_a_client_that_stops_reading_delays_the_shutdown_by_the_grace_time_only() -> None:
    async with running(small_app(), grace=0.2) as server:
        stream = await connect(server)
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert await stream.receive_some(100)  # the answer has begun; nothing more is read
        await server.stop(within=5)
        await stream.aclose()


async def test_a_cancellation_ends_it_although_a_client_stopped_reading() -> None:
    app = small_app()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            (address,) = await nursery.start(
                lambda task_status: serve_app(app, bind="127.0.0.1:0", task_status=task_status)
            )
            stream = await connect(Running(address, trio.Event(), trio.Event()))
            await stream.send_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert await stream.receive_some(100)
            nursery.cancel_scope.cancel()
    await stream.aclose()


async def test_an_answer_that_never_comes_is_given_up_after_the_grace_time() -> None:
    async with running(small_app(), grace=0.2) as server:
        stream = await connect(server)
        await stream.send_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await server.stop(within=5)
        await stream.aclose()


async def test_an_answer_under_way_is_finished_within_the_grace_time() -> None:
    async with running(small_app(), grace=30) as server:
        stream = await connect(server)
        await stream.send_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        first = bytes(await stream.receive_some(4096))
        server.shutdown.set()
        received = len(first.partition(b"\r\n\r\n")[2])
        with trio.fail_after(20):
            while chunk := await stream.receive_some(1 << 20):
                received += len(chunk)
            await server.ended.wait()
        assert received == len(LARGE)
        await stream.aclose()


async def test_a_busy_port_is_one_clear_configuration_error() -> None:
    async with running(small_app()) as server:
        with pytest.raises(ConfigError, match=rf"cannot listen on {server.address}: another program"):
            await serve_app(small_app(), bind=server.address)


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000", ""])
async def test_an_address_that_is_none_is_a_configuration_error(bind: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        await open_listeners(bind)


async def test_an_address_of_another_machine_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await open_listeners("192.0.2.1:0")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"this is not HTTP\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000, 431),
    ],
)
async def test_bytes_that_are_no_request_get_a_json_error(sent: bytes, status: int) -> None:
    async with running(small_app()) as server:
        stream = await connect(server)
        await stream.send_all(sent)
        head, _, body = (await read_answer(stream)).partition(b"\r\n\r\n")
        await stream.aclose()
    assert int(head[9:12]) == status
    assert b"content-type: application/json" in head
    assert b"x-content-type-options: nosniff" in head
    assert json.loads(body).keys() == {"error", "details"}


async def test_an_answer_that_looks_like_a_refusal_arrives_as_it_is() -> None:
    """A captured body may hold any bytes, those of an HTTP error too."""
    async with running(small_app()) as server, httpx.AsyncClient() as client:
        for _ in range(2):
            assert (await client.get(f"{server.url}/refusal")).content == LOOKS_LIKE_A_REFUSAL


async def test_a_keyboard_interrupt_is_not_swallowed() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(BaseExceptionGroup) as caught:
        await serve_app(small_app(), bind="127.0.0.1:0", shutdown_trigger=interrupted)
    assert caught.group_contains(KeyboardInterrupt)


async def test_start_up_and_shut_down_hooks_of_the_application_run() -> None:
    app, seen = small_app(), []

    @app.before_serving
    async def before() -> None:
        seen.append("before")

    @app.after_serving
    async def after() -> None:
        seen.append("after")

    async with running(app) as server:
        assert seen == ["before"]
        await server.stop(within=5)
    assert seen == ["before", "after"]
