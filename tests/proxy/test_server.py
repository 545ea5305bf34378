"""The life of a server: it starts, bounds its connections, survives them, and drains."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import structlog
import trio
import trio.testing

from claudeproxy.errors import UpstreamError
from claudeproxy.model import ExchangeStart, State
from claudeproxy.proxy.server import ProxyServer
from claudeproxy.proxy.settings import ProxySettings, parse_upstream
from claudeproxy.proxy.upstream import UpstreamPool
from tests.proxy.support import OK, MemoryTap, Proxy, request, running_proxy
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_it_binds_what_the_settings_say_and_tells_where() -> None:
    server = ProxyServer(ProxySettings(bind_port=0))
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(server.run)
        ((host, port),) = bound
        assert host == "127.0.0.1"
        assert port > 0
        nursery.cancel_scope.cancel()


async def test_a_port_in_use_is_an_os_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ProxyServer(ProxySettings(bind_port=taken.getsockname()[1]))
        with pytest.raises(OSError, match="in use"):
            await server.run()


class Listener:
    """Stands in for `trio.SocketListener`, which is final."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.inner = listener
        self.socket = listener.socket

    async def accept(self) -> trio.SocketStream:
        return await self.inner.accept()

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *exc: object) -> None:
        await self.inner.aclose()


async def test_a_listener_that_fails_ends_the_server_with_its_error() -> None:
    class BrokenListener(Listener):
        async def accept(self) -> trio.SocketStream:
            raise OSError("the network is gone")

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(OSError, match="the network is gone"):
        await ProxyServer(ProxySettings(drain_seconds=0)).run([BrokenListener(listener)])


async def test_a_shortage_of_descriptors_passes() -> None:
    class PoorListener(Listener):
        failures = 1

        async def accept(self) -> trio.SocketStream:
            if self.failures:
                self.failures = 0
                raise OSError(24, "Too many open files")
            return await super().accept()

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = ProxyServer(ProxySettings(drain_seconds=0))
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(server.run, [PoorListener(listener)])
        client = await Proxy(server, MemoryTap(), bound[0]).dial()
        await client.send(b"\x00")
        assert (await client.read_head()).startswith(b"HTTP/1.1 400 ")
        await client.close()
        nursery.cancel_scope.cancel()


async def test_a_bug_ends_its_connection_only_and_is_logged_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    secret = "sk-ant-api03-" + "dummy"
    real = UpstreamPool.acquire_nowait

    def broken(self: UpstreamPool, origin: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError(secret)
        return real(self, origin)  # type: ignore[arg-type]

    monkeypatch.setattr(UpstreamPool, "acquire_nowait", broken)
    with structlog.testing.capture_logs() as logs:
        async with raw_upstream(answering(OK)) as upstream, running_proxy(upstream.url) as proxy:
            client, target, host = await proxy.enter("reverse", "/v1/models")
            await client.send(request("GET", target, host))
            with pytest.raises(EOFError):
                await client.read_exactly(1)
            client, target, host = await proxy.enter("reverse", "/v1/models")
            await client.send(request("GET", target, host))
            assert await client.read_exactly(len(OK)) == OK
            states = [r.end_value.state for r in await proxy.tap.ended(2)]
            assert states == [State.INTERRUPTED, State.COMPLETE]
    (entry,) = [entry for entry in logs if entry["event"] == "connection failed"]
    assert entry["error"] == "RuntimeError"
    assert secret not in str(entry)


async def test_a_tap_that_raises_does_not_disturb_the_bytes() -> None:
    class BrokenTap(MemoryTap):
        def exchange(self, start: ExchangeStart) -> object:  # type: ignore[override]
            raise ValueError("no room")

    async with raw_upstream(answering(OK)) as upstream, running_proxy(upstream.url, tap=BrokenTap()) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        await client.send(request("GET", target, host))
        assert await client.read_exactly(len(OK)) == OK
        assert proxy.server.statistics().capture_failures == 1


# ---- draining


async def test_draining_closes_idle_connections_and_lets_streams_finish() -> None:
    goes_on = trio.Event()

    async def script(wire: Wire) -> None:
        while b"/stream" not in (await wire.read_message())[0]:
            await wire.send(OK)
        await wire.send(CHUNKED + b"1\r\na\r\n")
        await goes_on.wait()
        await wire.send(b"0\r\n\r\n")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url, drain_seconds=10) as proxy:
        idle, target, host = await proxy.enter("reverse", "/v1/models")
        await idle.send(request("GET", target, host))
        assert await idle.read_exactly(len(OK)) == OK
        silent = await proxy.dial()
        streaming, target, host = await proxy.enter("connect+tls", "/v1/stream")
        await streaming.send(request("POST", target, host, b"{}"))
        await streaming.read_until(b"a\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.server.drain)
            assert await idle.read_to_end() == b""
            with pytest.raises(OSError, match="failed"):
                await proxy.dial()
            assert proxy.server.statistics().draining
            assert await silent.read_to_end() == b""
            goes_on.set()
            assert await streaming.read_to_end() == b"0\r\n\r\n"
        assert [r.end_value.state for r in await proxy.tap.ended(2)] == [State.COMPLETE] * 2


@pytest.mark.parametrize("_", range(8))  # trio shuffles what is ready: each time may be the one
async def test_whoever_sees_the_end_of_a_connection_in_the_door_finds_the_door_shut(_: int) -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(CHUNKED + b"1\r\na\r\n")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url, max_connections=1) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_until(b"a\r\n")
        waiting = await proxy.dial()  # accepted by the system; no place is free
        await trio.testing.wait_all_tasks_blocked(0.01)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proxy.server.drain)
            with suppress(trio.BrokenResourceError):
                assert await waiting.read_to_end() == b""
            with socket.socket() as again:
                assert again.connect_ex((proxy.host, proxy.port)) == errno.ECONNREFUSED
            proxy.server.abort()


async def test_what_does_not_end_in_time_is_interrupted_and_recorded() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(CHUNKED + b"1\r\na\r\n")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url, drain_seconds=0.05) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/messages")
        await client.send(request("POST", target, host, b"{}"))
        await client.read_until(b"a\r\n")
        await proxy.server.drain()
        assert await client.read_to_end() == b""
        recorded = await proxy.tap.only()
        assert (recorded.end_value.state, recorded.end_value.error_kind) == (State.INTERRUPTED, "shutdown")
        assert recorded.response == b"a"


async def test_cancelling_run_drains_too_and_abort_cuts_it_short() -> None:
    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(CHUNKED + b"1\r\na\r\n")
        await wire.wait_gone()

    async with raw_upstream(script) as upstream:
        tap = MemoryTap()
        server = ProxyServer(ProxySettings(bind_port=0, upstream=parse_upstream(upstream.url)), tap=tap)
        async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
            bound = await nursery.start(server.run)
            proxy = Proxy(server, tap, bound[0])
            client, target, host = await proxy.enter("reverse", "/v1/messages")
            await client.send(request("POST", target, host, b"{}"))
            await client.read_until(b"a\r\n")
            outer.start_soon(_abort_when_draining, server)
            nursery.cancel_scope.cancel()
        assert (await tap.only()).end_value.state is State.INTERRUPTED
        await client.close()


async def _abort_when_draining(server: ProxyServer) -> None:
    while not server.statistics().draining:
        await trio.lowlevel.checkpoint()
    assert server.statistics().exchanges == 1
    server.abort()


# ---- used as a library


async def test_handle_connection_serves_any_stream() -> None:
    """In memory there are no addresses: reverse mode by Host still works."""
    async with raw_upstream(answering(OK)) as upstream:
        server = ProxyServer(ProxySettings(upstream=parse_upstream(upstream.url)))
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.handle_connection, theirs)
            await ours.send_all(request("GET", "/v1/models", "localhost"))
            answer = b""
            while len(answer) < len(OK):
                answer += await ours.receive_some()
            assert answer == OK
            await ours.aclose()
        await server._context.pool.aclose()


async def test_proxy_request_answers_one_request_and_closes() -> None:
    async with raw_upstream(answering(OK)) as upstream:
        server = ProxyServer(ProxySettings(upstream=parse_upstream(upstream.url)))
        ours, theirs = trio.testing.memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.proxy_request, theirs)
            await ours.send_all(request("GET", "/v1/models", "localhost"))
            answer = b""
            while data := await ours.receive_some():
                answer += data
        assert answer == OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert server.statistics().exchanges_total == 1
        await server._context.pool.aclose()


def test_should_intercept_names_on_label_boundaries() -> None:
    server = ProxyServer()
    assert server.should_intercept("api.anthropic.com")
    assert server.should_intercept("claude.ai")
    assert not server.should_intercept("evilanthropic.com")
    assert not ProxyServer(ProxySettings(decrypt=False)).should_intercept("api.anthropic.com")
    assert issubclass(UpstreamError, Exception)
