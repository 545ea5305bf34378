"""A client's end is noticed although nobody receives from it, and looked for only then."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from claudeproxy.model import State
from claudeproxy.proxy.hangup import HangupWatch, can_look, hung_up
from tests.proxy.support import request, running_proxy
from tests.support.raw_upstream import raw_upstream
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable


async def tcp_pair() -> tuple[Wire, trio.SocketStream]:
    """(the client's end, ours) of a TCP connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        theirs = await trio.testing.open_stream_to_socket_listener(listener)
        assert isinstance(theirs, trio.SocketStream)
        return Wire(theirs, theirs), await listener.accept()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():
            await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("farewell", ["close", "reset"])
async def test_an_end_behind_unread_bytes_is_seen_and_unread_bytes_alone_are_none(farewell: str) -> None:
    client, ours = await tcp_pair()
    async with ours:
        await client.send(b"unread")
        await trio.lowlevel.wait_readable(ours.socket)
        assert not hung_up(ours)
        await getattr(client, farewell)()
        await until(lambda: hung_up(ours))
    assert not hung_up(ours)  # closed by us: there is nothing to tell


@pytest.mark.parametrize("farewell", ["close", "reset"])
async def test_the_watch_tells_of_an_end_while_nobody_receives(farewell: str) -> None:
    client, ours = await tcp_pair()
    told = trio.Event()
    watch = HangupWatch(ours, told.set)
    async with ours, trio.open_nursery() as nursery:
        with watch.unread(nursery):
            await getattr(client, farewell)()
            with trio.fail_after(5):
                await told.wait()
    assert repr(watch) == "<HangupWatch off>"


async def test_the_watch_ends_when_somebody_receives_again_and_tells_nothing() -> None:
    client, ours = await tcp_pair()
    told: list[str] = []
    watch = HangupWatch(ours, lambda: told.append("gone"))
    async with ours, trio.open_nursery() as nursery:
        with watch.unread(nursery):
            assert repr(watch) == "<HangupWatch on>"
        await client.close()
    assert told == []


async def test_a_stream_that_is_no_socket_is_not_watched() -> None:
    stream, _ = trio.testing.memory_stream_pair()
    watch = HangupWatch(stream, lambda: None)
    async with trio.open_nursery() as nursery:
        with watch.unread(nursery):
            assert not nursery.child_tasks
    assert not can_look(stream)
    assert not hung_up(stream)


@pytest.mark.parametrize("mode", ["reverse", "connect+tls", "tls to proxy, connect+tls"])
async def test_a_client_that_resets_while_the_upstream_takes_no_more_closes_the_upstream(mode: str) -> None:
    head_read, go_on = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        wire.raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await wire.read_head()
        head_read.set()
        await go_on.wait()  # reads nothing more until the exchange is over

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter(mode, "/v1/messages")
        await client.send(request("POST", target, host, b"x" * 64_000_000)[:1000])
        await head_read.wait()
        with pytest.raises(trio.TooSlowError):
            while True:
                with trio.fail_after(0.3):  # an upstream that never reads lets nothing through in the end
                    await client.send(b"x" * 65536)
        await client.reset()
        recorded = await proxy.tap.only()
        assert recorded.end_value.state is State.ABORTED_BY_CLIENT
        assert recorded.end_value.error_kind == "client_closed"
        assert 0 < len(recorded.request) < 64_000_000
        go_on.set()
        assert proxy.server.statistics().exchanges == 0
