"""The feed alone: who is woken, who is let go, and that it asks nothing while nobody listens."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from claudeproxy.live import FeedFullError, LiveFeed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

QUICK = 0.005


class Numbers:
    """A database as the feed sees it: a number, and how often it was asked for."""

    def __init__(self) -> None:
        self.number = 0
        self.asked = 0
        self.answered = trio.Event()

    async def newest(self) -> int:
        await trio.lowlevel.checkpoint()
        self.asked += 1
        self.answered.set()
        self.answered = trio.Event()
        return self.number


@asynccontextmanager
async def running(feed: LiveFeed) -> AsyncIterator[trio.Event]:
    ending = trio.Event()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run, ending)
            yield ending
            ending.set()


def never() -> None:
    raise AssertionError("cut off")


async def test_a_change_wakes_everybody() -> None:
    numbers = Numbers()
    feed = LiveFeed(numbers.newest, interval=QUICK)
    async with running(feed):
        with feed.subscribe(never) as first, feed.subscribe(never) as second:
            for one in (first, second):
                one.take()
            await numbers.answered.wait()
            await numbers.answered.wait()
            marks = [first.mark(), second.mark()]
            numbers.number = 7
            for mark in marks:
                await mark.wait()
            assert not first.ended


async def test_no_change_wakes_nobody() -> None:
    numbers = Numbers()
    feed = LiveFeed(numbers.newest, interval=QUICK)
    async with running(feed):
        with feed.subscribe(never) as one:
            one.take()
            await numbers.answered.wait()
            mark = one.mark()
            for _ in range(3):
                await numbers.answered.wait()
            assert not mark.is_set()


async def test_nothing_is_asked_while_nobody_listens() -> None:
    numbers = Numbers()
    feed = LiveFeed(numbers.newest, interval=QUICK)
    async with running(feed):
        await trio.testing.wait_all_tasks_blocked()
        assert numbers.asked == 0
        with feed.subscribe(never):
            await numbers.answered.wait()
        asked = numbers.asked
        await trio.testing.wait_all_tasks_blocked(QUICK * 4)
        assert numbers.asked <= asked + 1
        with feed.subscribe(never):
            await numbers.answered.wait()


async def test_there_is_a_limit_and_places_are_given_back() -> None:
    feed = LiveFeed(Numbers().newest, limit=2)
    first, second = feed.subscribe(never), feed.subscribe(never)
    with pytest.raises(FeedFullError, match="2 live subscribers"):
        feed.subscribe(never)
    first.close()
    first.close()
    assert len(feed) == 1
    with feed.subscribe(never):
        assert len(feed) == 2
    second.close()
    assert len(feed) == 0


async def test_who_takes_nothing_is_cut_off_and_the_others_stay() -> None:
    feed = LiveFeed(Numbers().newest, interval=QUICK, patience=0.02)
    cut = trio.Event()
    async with running(feed):
        with feed.subscribe(cut.set) as slow, feed.subscribe(never) as quick, feed.subscribe(never) as idle:
            idle.take()
            slow.give()
            while not cut.is_set():
                with quick.giving():
                    await trio.lowlevel.checkpoint()
            assert len(feed) == 2
            assert feed.dropped == 1


async def test_a_place_that_is_never_taken_up_is_given_back() -> None:
    """A client may be gone before its answer begins; nobody is left then to close the subscription."""
    feed = LiveFeed(Numbers().newest, interval=QUICK, patience=0.02)
    cut = trio.Event()
    async with running(feed):
        feed.subscribe(cut.set)
        await cut.wait()
        assert len(feed) == 0


async def test_the_end_is_told_and_who_stays_is_cut_off() -> None:
    feed = LiveFeed(Numbers().newest, interval=QUICK)
    cut = trio.Event()
    polite, dead = feed.subscribe(never), feed.subscribe(cut.set)
    async with running(feed) as ending:
        mark = polite.mark()
        ending.set()
        await mark.wait()
        assert polite.ended
        polite.close()
    assert cut.is_set()
    assert dead.ended
    assert len(feed) == 0


async def test_the_end_does_not_wait_when_nobody_listens_or_everybody_leaves() -> None:
    feed = LiveFeed(Numbers().newest)
    began = trio.current_time()
    async with running(feed) as ending:
        ending.set()
    one = feed.subscribe(never)
    async with running(feed) as ending:
        ending.set()
        await trio.testing.wait_all_tasks_blocked()
        one.close()
    assert trio.current_time() - began < 0.4
