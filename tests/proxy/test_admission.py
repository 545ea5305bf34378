"""Who makes room for whom when there are as many connections as there may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.proxy.support import OK, Proxy, request, running_proxy
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire


async def ask(proxy: Proxy) -> tuple[Wire, bytes]:
    """A connection that has sent a request, and that request."""
    client, target, host = await proxy.enter("reverse", "/v1/models")
    head = request("GET", target, host)
    await client.send(head)
    return client, head


async def answered(proxy: Proxy) -> tuple[Wire, bytes]:
    """A connection between two requests."""
    client, head = await ask(proxy)
    assert await client.read_exactly(len(OK)) == OK
    return client, head


async def test_the_connection_that_lay_unused_longest_makes_room_for_a_new_one() -> None:
    async with (
        raw_upstream(answering(OK, OK, OK, OK)) as upstream,
        running_proxy(upstream.url, max_connections=2) as proxy,
    ):
        oldest, _ = await answered(proxy)
        other, head = await answered(proxy)
        with trio.fail_after(10):
            await answered(proxy)
            await oldest.wait_gone()
        await other.send(head)
        assert await other.read_exactly(len(OK)) == OK
        found = proxy.server.statistics()
        assert (found.connections, found.connections_displaced, found.connections_refused) == (2, 1, 0)


async def test_connections_that_never_said_a_word_make_room_too() -> None:
    """A thousand of them used to hold every place for as long as a head may take."""
    async with raw_upstream(answering(OK)) as upstream, running_proxy(upstream.url, max_connections=3) as proxy:
        silent = [await proxy.dial() for _ in range(3)]
        with trio.fail_after(10):
            await answered(proxy)
            await silent[0].wait_gone()
        assert proxy.server.statistics().connections == 3


async def test_a_connection_in_use_is_never_displaced_and_the_new_one_waits() -> None:
    came, go = trio.Event(), trio.Event()

    async def late(wire: Wire) -> None:
        while True:
            await wire.read_message()
            came.set()
            await go.wait()
            await wire.send(OK)

    async with raw_upstream(late) as upstream, running_proxy(upstream.url, max_connections=1) as proxy:
        first, _ = await ask(proxy)
        await came.wait()
        second, _ = await ask(proxy)
        with pytest.raises(trio.TooSlowError), trio.fail_after(0.3):
            await second.read_exactly(1)
        go.set()
        with trio.fail_after(10):
            assert await first.read_exactly(len(OK)) == OK
            assert await second.read_exactly(len(OK)) == OK  # the first lies unused now, and gives way


async def test_a_client_with_too_many_in_use_is_refused_and_others_are_not() -> None:
    send, came = trio.open_memory_channel[None](2)

    async def never(wire: Wire) -> None:
        await wire.read_message()
        await send.send(None)
        await wire.wait_gone()

    async with raw_upstream(never) as upstream, running_proxy(upstream.url, max_connections_per_client=2) as proxy:
        for _ in range(2):
            await ask(proxy)
            await came.receive()
        third = await proxy.dial()
        with trio.fail_after(10):
            await third.wait_gone()
        assert proxy.server.statistics().connections_refused == 1


async def test_a_client_with_its_number_displaces_its_own_connections() -> None:
    async with (
        raw_upstream(answering(OK, OK, OK)) as upstream,
        running_proxy(upstream.url, max_connections_per_client=2) as proxy,
    ):
        first, _ = await answered(proxy)
        await answered(proxy)
        with trio.fail_after(10):
            await answered(proxy)
            await first.wait_gone()
        assert proxy.server.statistics().connections_displaced == 1
