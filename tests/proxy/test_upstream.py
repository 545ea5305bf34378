"""The pool: bounded, latest first, and never a connection that is known to be closed."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from claudeproxy.model import Origin
from claudeproxy.proxy.dial import Dialer
from claudeproxy.proxy.settings import ProxySettings
from claudeproxy.proxy.upstream import UpstreamPool
from tests.support.raw_upstream import raw_upstream
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


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
