"""Looking ahead, splicing, lingering: bytes are neither lost nor held."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from claudeproxy.proxy.streams import Ending, PrefixedStream, can_half_close, has_unread, linger_close, reset, splice


async def test_a_prefixed_stream_keeps_trios_promises() -> None:
    async def make() -> tuple[PrefixedStream, PrefixedStream]:
        left, right = trio.testing.memory_stream_pair()
        return PrefixedStream(left), PrefixedStream(right)

    await trio.testing.check_half_closeable_stream(make, None)


async def test_what_was_looked_at_is_received_first_and_in_pieces_if_asked() -> None:
    left, right = trio.testing.memory_stream_pair()
    stream = PrefixedStream(right, b"ab")
    await left.send_all(b"cd")
    assert await stream.look_further()
    assert stream.prefix == b"abcd"
    assert await stream.receive_some(3) == b"abc"
    assert await stream.receive_some() == b"d"
    await left.send_all(b"e")
    assert await stream.receive_some() == b"e"
    await left.send_eof()
    assert not await stream.look_further()
    with pytest.raises(ValueError, match="max_bytes"):
        await stream.receive_some(0)
    assert "PrefixedStream 0 bytes" in repr(stream)


async def test_what_was_looked_at_is_unread() -> None:
    _, right = trio.testing.memory_stream_pair()
    assert not has_unread(PrefixedStream(right))
    assert has_unread(PrefixedStream(PrefixedStream(right, b"ab")))


async def test_layers_come_off_with_what_stood_before_them() -> None:
    left, right = trio.testing.memory_stream_pair()
    stream = PrefixedStream(PrefixedStream(right, b"cd"), b"ab")
    assert stream.split() == (right, b"abcd")
    assert stream.prefix == b""
    await left.send_all(b"e")
    assert await stream.receive_some() == b"e"


async def test_nothing_is_received_from_a_closed_stream() -> None:
    _, right = trio.testing.memory_stream_pair()
    stream = PrefixedStream(right, b"ab")
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()


def test_half_closing_depends_on_the_stream_below() -> None:
    left, _ = trio.testing.memory_stream_pair()
    send_only, _ = trio.testing.memory_stream_one_way_pair()
    assert can_half_close(PrefixedStream(PrefixedStream(left)))
    assert not can_half_close(send_only)  # type: ignore[arg-type]


async def sockets() -> tuple[trio.SocketStream, trio.SocketStream]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])  # noqa: TID251
        return client, await listener.accept()


async def test_a_splice_carries_both_ways_until_both_ended() -> None:
    a, left = trio.testing.memory_stream_pair()
    right, b = trio.testing.memory_stream_pair()
    endings: list[Ending] = []

    async def run() -> None:
        endings.append(await splice(left, right))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await a.send_all(b"ping")
        assert await b.receive_some() == b"ping"
        await a.send_eof()
        assert await b.receive_some() == b""
        await b.send_all(b"still here")
        assert await a.receive_some() == b"still here"
        await b.send_eof()
        assert await a.receive_some() == b""
    assert endings == [Ending.CLEAN]


@pytest.mark.parametrize("ending", [Ending.LEFT_BROKE, Ending.RIGHT_BROKE])
async def test_a_splice_says_which_side_broke(ending: Ending) -> None:
    a, left = await sockets()
    b, right = await sockets()
    async with trio.open_nursery() as nursery:
        victim = a if ending is Ending.LEFT_BROKE else b
        nursery.start_soon(reset, victim, victim)
        assert await splice(left, right) is ending
    for stream in (a, b, left, right):
        await trio.aclose_forcefully(stream)


async def test_a_side_without_half_close_ends_the_splice() -> None:
    a, left = trio.testing.memory_stream_pair()
    send, receive = trio.testing.memory_stream_pair()
    stapled = trio.StapledStream(send.send_stream, receive.receive_stream)

    class NoHalfClose(trio.abc.Stream):
        send_all = stapled.send_all
        receive_some = stapled.receive_some
        wait_send_all_might_not_block = stapled.wait_send_all_might_not_block
        aclose = stapled.aclose

    await a.send_eof()
    assert await splice(left, NoHalfClose()) is Ending.CLEAN  # type: ignore[abstract]


async def test_lingering_reads_on_so_that_the_answer_is_not_reset_away() -> None:
    client, server = await sockets()
    await client.send_all(b"x" * 100_000)
    await server.send_all(b"answer")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(linger_close, server, 5)
        received = b""
        while data := await client.receive_some():
            received += data
        assert received == b"answer"
        await client.aclose()


async def test_lingering_has_an_end() -> None:
    client, server = await sockets()
    await linger_close(server, 0.01)
    assert server.socket.fileno() == -1
    await client.aclose()


async def test_lingering_on_a_reset_stream_just_closes() -> None:
    client, server = await sockets()
    await reset(client, client)
    await linger_close(server, 5)
    assert server.socket.fileno() == -1


async def test_a_reset_of_what_is_no_socket_is_a_close() -> None:
    left, right = trio.testing.memory_stream_pair()
    await reset(left, left)
    assert await right.receive_some() == b""
