"""When retention runs, with real runs and a clock of the test's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.daily import AGAIN, EVERY, DailyRetention
from claudeproxy.retaining import RetentionSettings
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import exchange

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Seconds since the epoch; near the real time, because files carry that."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def settings(tmp_path: Path) -> RetentionSettings:
    """A database with a capture in it, which is more than there may be."""
    with CaptureStorage(tmp_path / "captures.db") as storage:
        storage.record([exchange(0)], {})
    return RetentionSettings(
        database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"), days=None, max_bytes=1
    )


def ran(settings: RetentionSettings, at: float) -> None:
    """As if a run had ended then."""
    settings.lock.write_text("{}")
    os.utime(settings.lock, (at, at))


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


def test_the_first_run_is_some_minutes_after_the_start(settings, clock):
    daily = DailyRetention(settings, first=300, clock=clock)
    assert not daily.due()
    clock.now += 300
    assert daily.due()


def test_the_next_run_is_a_day_after_the_last_of_whatever_service(settings, clock):
    daily = DailyRetention(settings, first=0, clock=clock)
    ran(settings, clock.now - 10)
    assert not daily.due()
    clock.now += EVERY - 10
    assert daily.due()


def test_a_machine_that_slept_runs_it_after_waking(settings, clock):
    daily = DailyRetention(settings, first=300, clock=clock)
    ran(settings, clock.now)
    clock.now += 9 * EVERY
    assert daily.due()


def test_a_last_run_in_the_future_does_not_count(settings, clock):
    daily = DailyRetention(settings, first=0, clock=clock)
    ran(settings, clock.now + 100 * EVERY)
    assert daily.due()


async def test_a_run_is_a_process_whose_report_is_kept(settings, clock):
    daily = DailyRetention(settings, first=0, look=0.01, clock=clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daily.run)
        await until(lambda: daily.runs == 1)
        nursery.cancel_scope.cancel()
    assert daily.statistics()["last"]["requests"] == 1
    with CaptureStorage(settings.database, read_only=True) as storage:
        assert storage.summary().requests == 0


async def test_a_failed_run_is_tried_again_later(settings, clock):
    Path(settings.database).write_bytes(b"no database at all" * 100)
    daily = DailyRetention(settings, first=0, look=0.01, clock=clock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(daily.run)
        await until(lambda: daily.failures == 1)
        assert not daily.due()
        clock.now += AGAIN
        await until(lambda: daily.failures == 2)
        nursery.cancel_scope.cancel()
    assert daily.runs == 0


async def test_two_services_on_one_database_take_turns(settings):
    services = [DailyRetention(settings, first=0, look=0.01) for _ in range(2)]
    async with trio.open_nursery() as nursery:
        for service in services:
            nursery.start_soon(service.run)
        await until(lambda: any(service.runs for service in services))
        nursery.cancel_scope.cancel()
    assert sum(service.failures for service in services) == 0
    assert not any(service.due() for service in services)
