"""A process that waits for its order: taken, replaced, and gone at the end. Real processes."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from claudeproxy.workers import spare as module
from claudeproxy.workers.spare import Spare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

PATIENCE = 60.0  # seconds; a bound for failures


@asynccontextmanager
async def kept() -> AsyncIterator[Spare]:
    spare = Spare(())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spare.run)
        try:
            yield spare
        finally:
            spare.finish()


async def waiting(spare: Spare, *, beside: trio.Process | None = None) -> trio.Process:
    """The process that waits, once there is one other than this."""
    with trio.fail_after(PATIENCE):
        while spare._process in (None, beside):  # noqa: ASYNC110
            await trio.sleep(0.01)
    assert spare._process is not None
    return spare._process


async def ended(process: trio.Process) -> int:
    """Do as an owner does that has no order for it: its exit code."""
    assert process.stdin is not None
    assert process.stdout is not None
    with trio.fail_after(PATIENCE):
        async with process.stdin, process.stdout:
            await process.stdin.aclose()
            return await process.wait()


async def test_the_one_that_waits_is_taken_and_followed_by_another() -> None:
    async with kept() as spare:
        first = await waiting(spare)
        taken = await spare.take()
        assert taken is first
        second = await waiting(spare, beside=first)
        assert second.pid != first.pid
        assert await ended(taken) == 0  # without an order there is nothing to do
    assert second.returncode is not None


async def test_where_none_waits_a_new_one_is_started() -> None:
    spare = Spare(())
    process = await spare.take()
    assert await ended(process) == 0


async def test_one_that_died_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.0)
    async with kept() as spare:
        dead = await waiting(spare)
        dead.send_signal(signal.SIGKILL)
        taken = await waiting(spare, beside=dead)
        assert await spare.take() is taken
        assert await ended(taken) == 0
