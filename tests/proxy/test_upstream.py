"""The pool: bounded, latest first, and never a connection that is known to be closed."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
import trustme

from claudeproxy.model import Origin
from claudeproxy.proxy.dial import Dialer
from claudeproxy.proxy.settings import ProxySettings
from claudeproxy.proxy.upstream import UpstreamPool
from tests.proxy.support import OK, request, running_proxy
from tests.support.raw_upstream import raw_upstream
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from claudeproxy.model import Buffer


@asynccontextmanager
async def pool_to(script: object = Wire.wait_gone, **values: object) -> AsyncIterator[tuple[UpstreamPool, Origin]]:
    settings = ProxySettings(**values)  # type: ignore[arg-type]
    async with raw_upstream(script) as upstream:  # type: ignore[arg-type]
        pool = UpstreamPool(settings, Dialer(settings, ssl.create_default_context))
        yield pool, Origin(scheme="http", host="127.0.0.1", port=upstream.port)
        await pool.aclose()
        assert pool.idle == 0


async def test_the_connection_used_last_is_used_next() -> None:
    async with pool_to() as (pool, origin):
        first, second = await pool.connect(origin), await pool.connect(origin)
        assert not second.reused
        await pool.release(first)
        await pool.release(second)
        assert pool.acquire_nowait(origin) is second
        assert second.reused
        assert pool.acquire_nowait(origin) is first
        assert pool.acquire_nowait(origin) is None
        assert (pool.opened, pool.reused) == (2, 2)
        await first.aclose()
        await second.aclose()


async def test_another_origin_gets_another_connection() -> None:
    async with pool_to() as (pool, origin):
        await pool.release(await pool.connect(origin))
        assert pool.acquire_nowait(Origin(scheme="http", host="127.0.0.2", port=origin.port)) is None


async def test_connections_over_the_bound_are_closed() -> None:
    async with pool_to(max_idle_per_origin=1) as (pool, origin):
        for connection in [await pool.connect(origin) for _ in range(3)]:
            await pool.release(connection)
        assert pool.idle == 1
    async with pool_to(max_idle_total=0) as (pool, origin):
        await pool.release(await pool.connect(origin))
        assert pool.idle == 0


async def test_a_connection_that_became_readable_while_idle_is_stale() -> None:
    """An end, or bytes that nobody asked for."""
    go = trio.Event()

    async def script(wire: Wire) -> None:
        await go.wait()
        await wire.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    async with pool_to(script) as (pool, origin):
        connection = await pool.connect(origin)
        assert not connection.is_stale()
        await pool.release(connection)
        go.set()
        while not connection.is_stale():
            await trio.lowlevel.checkpoint()
        assert pool.acquire_nowait(origin) is None


class Corked(trio.abc.Stream):
    """Holds back what is sent until `flush`, so that several TLS records arrive in one piece."""

    def __init__(self, transport: trio.abc.Stream) -> None:
        self._transport = transport
        self._held = b""

    async def send_all(self, data: Buffer) -> None:
        self._held += bytes(data)

    async def flush(self) -> None:
        await self._transport.send_all(self._held)

    async def wait_send_all_might_not_block(self) -> None:
        await self._transport.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._transport.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._transport.aclose()


async def test_unasked_for_bytes_that_came_with_an_answer_over_tls_are_nobodys_answer(tmp_path: Path) -> None:
    """A body after the head that answers HEAD, in a TLS record of its own: received by now, and not yet decrypted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)

    async def script(wire: Wire) -> None:
        head = await wire.read_head()
        if head.startswith(b"HEAD"):
            assert isinstance(wire.stream, trio.SSLStream)
            corked = Corked(wire.stream.transport_stream)
            wire.stream.transport_stream = corked
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n")
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
            await corked.flush()
        else:
            await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script, tls=context) as upstream:
        url = f"https://localhost:{upstream.port}"
        async with running_proxy(url, upstream_ca=tmp_path / "ca.pem") as proxy:
            client = await proxy.dial()
            await client.send(request("HEAD", "/v1/models", proxy.own_host))
            assert b"Content-Length: 40\r\n" in await client.read_head()
            await client.send(request("GET", "/v1/models", proxy.own_host))
            assert await client.read_exactly(len(OK)) == OK
        assert upstream.connections == 2


async def test_a_connection_that_was_idle_for_too_long_is_closed() -> None:
    async with pool_to(upstream_idle_timeout=-1) as (pool, origin):
        connection = await pool.connect(origin)
        await pool.release(connection)
        assert pool.idle == 1
        await pool.sweep()
        assert pool.idle == 0
        assert connection.is_stale()  # closed
        await pool.release(await pool.connect(origin))
        assert pool.acquire_nowait(origin) is None
