"""`DirectStream`: what `trio.SocketStream` promises, but for the two points in which it departs from it."""

from __future__ import annotations

import socket
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from claudeproxy.proxy.sockets import DirectStream, direct
from claudeproxy.proxy.streams import reset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a socket is no file there")

MORE_THAN_BUFFERS_HOLD = bytes(range(256)) * 65536  # 16 MB


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[DirectStream, trio.SocketStream]]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        peer = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])  # noqa: TID251
        raw = await listener.accept()
    async with peer, raw:
        stream = direct(raw)
        assert isinstance(stream, DirectStream)
        yield stream, peer


async def everything(stream: trio.abc.Stream) -> bytes:
    received = bytearray()
    while data := await stream.receive_some(100_000):
        received += data
    return bytes(received)


async def test_bytes_and_ends_pass_in_both_directions() -> None:
    async with connected() as (stream, peer):
        await peer.send_all(b"question")
        assert await stream.receive_some() == b"question"
        await stream.send_all(memoryview(b"answer"))
        assert await peer.receive_some() == b"answer"
        await stream.send_eof()
        assert await peer.receive_some() == b""
        await peer.send_eof()
        assert await stream.receive_some() == b""
        assert await stream.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"more")


async def test_no_more_is_received_than_was_asked_for_and_the_rest_comes_next() -> None:
    async with connected() as (stream, peer):
        await peer.send_all(b"abcde")
        assert await stream.receive_some(2) == b"ab"
        with trio.testing.assert_checkpoints():
            assert await stream.receive_some(2) == b"cd"
        assert await stream.receive_some(1) == b"e"
        with trio.move_on_after(0.01) as limit:  # the last one was full, so it tries, and then it waits
            await stream.receive_some(1)
        assert limit.cancelled_caught
        with pytest.raises(ValueError, match="max_bytes"):
            await stream.receive_some(0)


async def test_receiving_is_a_checkpoint_and_a_cancelled_task_sends_nothing() -> None:
    async with connected() as (stream, peer):
        await peer.send_all(b"x")
        with trio.testing.assert_checkpoints():
            await stream.receive_some()
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await stream.send_all(b"never sent")
        await stream.send_all(b"sent")
        assert await peer.receive_some() == b"sent"


async def test_a_send_turns_to_nobody_else_when_all_of_it_is_taken() -> None:
    async with connected() as (stream, _):
        turns: list[int] = []

        async def somebody() -> None:
            turns.append(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(somebody)
            await stream.send_all(b"event")
            assert not turns


async def test_a_send_waits_for_a_peer_that_reads_slowly_and_is_whole() -> None:
    async with connected() as (stream, peer):

        async def send() -> None:
            await stream.send_all(MORE_THAN_BUFFERS_HOLD)
            await stream.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await stream.send_all(b"in between")
            assert await everything(peer) == MORE_THAN_BUFFERS_HOLD
        assert "DirectStream" in repr(stream)


async def test_much_is_received_as_it_was_sent() -> None:
    async with connected() as (stream, peer), trio.open_nursery() as nursery:

        async def send() -> None:
            await peer.send_all(MORE_THAN_BUFFERS_HOLD)
            await peer.send_eof()

        nursery.start_soon(send)
        assert await everything(stream) == MORE_THAN_BUFFERS_HOLD


async def test_waiting_until_it_takes_bytes_is_trios() -> None:
    async with connected() as (stream, _):
        await stream.wait_send_all_might_not_block()


async def test_a_peer_that_resets_breaks_both_directions() -> None:
    async with connected() as (stream, peer):
        await reset(peer, peer)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x")


async def test_closing_wakes_whoever_waits_and_ends_all_use() -> None:
    async with connected() as (stream, _):

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.send_all(MORE_THAN_BUFFERS_HOLD)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await stream.send_all(b"x")


async def test_a_reader_never_gets_the_bytes_of_who_has_its_descriptor_next() -> None:
    """Both tasks become runnable at once, in an order that Trio leaves to chance; the descriptor is taken again."""
    for _ in range(20):
        async with connected() as (stream, peer), connected() as (signal, sender):
            got: list[bytes] = []
            others: list[socket.socket] = []

            async def read(stream: DirectStream, got: list[bytes]) -> None:
                with suppress(trio.ClosedResourceError):
                    got.append(await stream.receive_some())

            async def close(signal: DirectStream, stream: DirectStream, others: list[socket.socket]) -> None:
                await signal.receive_some()
                stream.raw.socket.close()
                others.extend(socket.socketpair())
                for other in others:
                    other.send(b"somebody else's")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, stream, got)
                nursery.start_soon(close, signal, stream, others)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_all(b"ours")
                await sender.send_all(b"go")
            for other in others:
                other.close()
            assert got in ([], [b"ours"])


async def test_what_is_no_socket_of_the_system_stays_as_it_is() -> None:
    left, _ = trio.testing.memory_stream_pair()
    assert direct(left) is left
    async with connected() as (stream, _):
        await stream.raw.aclose()
        assert direct(stream.raw) is stream.raw
