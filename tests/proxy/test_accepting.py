"""Two listeners of one socket, as two processes have them: each takes a connection in its turn."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from claudeproxy.proxy.accepting import SharedListener

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turn:
    """Of one listener: what it is told, and how often it asked."""

    def __init__(self, *, mine: bool) -> None:
        self.is_mine = mine
        self.asked = self.took = 0

    def mine(self) -> bool:
        self.asked += 1
        return self.is_mine

    def taken(self) -> None:
        self.took += 1


@asynccontextmanager
async def sharing(*turns: Turn) -> AsyncIterator[tuple[tuple[str, int], list[list[trio.SocketStream]]]]:
    """A listener for each, in accept loops: the address, and what each took."""
    with socket.create_server(("127.0.0.1", 0)) as original:
        taken: list[list[trio.SocketStream]] = [[] for _ in turns]

        async def accept(listener: SharedListener, mine: list[trio.SocketStream]) -> None:
            async with listener:
                while True:
                    mine.append(await listener.accept())

        async with trio.open_nursery() as nursery:
            for turn, mine in zip(turns, taken, strict=True):
                nursery.start_soon(accept, SharedListener(original.dup(), turn), mine)
            yield original.getsockname(), taken
            nursery.cancel_scope.cancel()
        for stream in (one for mine in taken for one in mine):
            await stream.aclose()


async def connected(address: tuple[str, int], taken: list[list[trio.SocketStream]]) -> None:
    """One connection more, once somebody took it."""
    before = sum(map(len, taken))
    with trio.socket.socket() as client:
        await client.connect(address)
        with trio.fail_after(10):
            while sum(map(len, taken)) == before:  # noqa: ASYNC110
                await trio.sleep(0.001)


async def test_whose_turn_it_is_takes_it() -> None:
    first, second = Turn(mine=True), Turn(mine=False)
    async with sharing(first, second) as (address, taken):
        for _ in range(5):
            await connected(address, taken)
        first.is_mine, second.is_mine = False, True
        for _ in range(3):
            await connected(address, taken)
    assert (first.took, second.took) == (5, 3)


async def test_who_is_not_there_is_not_waited_for_long() -> None:
    """The one whose turn it were does not take it: a process that is stopped, or a loop that is busy."""
    only = Turn(mine=False)
    async with sharing(only) as (address, taken):
        await connected(address, taken)
    assert only.took == 1
    assert only.asked > 1  # it did wait


async def test_a_listener_of_a_closed_socket_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as original:
        listener = SharedListener(original.dup(), Turn(mine=True))
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()
