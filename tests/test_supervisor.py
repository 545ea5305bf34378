"""Where the recorder lives: a thread or a process that is started again until it is told to finish."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy import supervisor
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.supervisor import RecorderProcess, RecorderThread
from tests.capture.support import make_tap, tell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from claudeproxy.supervisor import RecorderHost

PATIENCE = 60.0  # seconds; a bound for failures

HOSTS = pytest.mark.parametrize("kind", [RecorderThread, RecorderProcess])


@pytest.fixture
def settings(tmp_path: Path) -> RecordingSettings:
    (tmp_path / "journal").mkdir()
    return RecordingSettings(database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"))


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.01)


async def until(condition: Callable[[], object]) -> None:
    """Another thread or process changes it: there is nothing to be told by."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


@asynccontextmanager
async def hosted(host: RecorderHost) -> AsyncIterator[None]:
    """Run it; let it finish at the end, however the test ends: it is shielded against everything else."""
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)
        try:
            yield
        finally:
            host.finish()


def stored(settings: RecordingSettings) -> int:
    with CaptureStorage(settings.database, read_only=True) as storage:
        return storage.summary().requests


@HOSTS
async def test_what_the_journal_holds_at_the_end_is_recorded(
    settings: RecordingSettings, tmp_path: Path, kind: type[RecorderHost]
) -> None:
    """Also what was written, and the wake-up that was sent, before the recorder was up."""
    host = kind(settings)
    async with hosted(host):
        tap = make_tap(tmp_path / "journal", wake=host.wake)
        tell(tap, request=(b'{"n": 1}',))
        tap.writer.close()
    assert stored(settings) == 1
    assert host.restarts == 0
    assert host.healthy
    assert host.status["stored"] == 1
    host.wake()  # after the end it does nothing


@HOSTS
async def test_a_recorder_without_a_database_is_tried_again_and_says_that_it_is_unwell(
    settings: RecordingSettings, tmp_path: Path, kind: type[RecorderHost]
) -> None:
    (tmp_path / "captures.db").mkdir()  # nothing can be opened there
    host = kind(settings)
    async with hosted(host):
        tap = make_tap(tmp_path / "journal", wake=host.wake)
        tell(tap, request=(b'{"n": 1}',))
        await until(lambda: host.deaths >= 2)
        assert not host.healthy
        (tmp_path / "captures.db").rmdir()
        await until(lambda: host.healthy and host.status.get("stored") == 1)
        assert host.restarts >= 2
        tap.writer.close()
    assert stored(settings) == 1


@HOSTS
async def test_a_recorder_that_cannot_work_does_not_keep_the_end_waiting(
    settings: RecordingSettings, tmp_path: Path, kind: type[RecorderHost]
) -> None:
    (tmp_path / "captures.db").mkdir()
    host = kind(settings)
    with trio.fail_after(PATIENCE):
        async with hosted(host):
            await until(lambda: host.deaths)
    assert not host.healthy


async def test_a_process_that_is_killed_is_followed_by_another(settings: RecordingSettings, tmp_path: Path) -> None:
    host = RecorderProcess(settings)
    async with hosted(host):
        tap = make_tap(tmp_path / "journal", wake=host.wake)
        tell(tap, request=(b'{"n": 1}',))
        await until(lambda: host.status.get("stored") == 1)
        first = host.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        tell(tap, request=(b'{"n": 2}',))
        await until(lambda: stored(settings) == 2)
        assert host.restarts == 1
        assert host.pid not in {None, first}
        tap.writer.close()
    assert stored(settings) == 2


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="no niceness here")
async def test_the_process_yields_to_the_relay(settings: RecordingSettings) -> None:
    host = RecorderProcess(settings)

    def niceness(pid: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, pid)

    async with hosted(host):
        await until(lambda: host.pid is not None and niceness(host.pid) > niceness(os.getpid()))


async def test_a_process_that_does_not_end_in_time_is_killed_once(
    settings: RecordingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FINISH_SECONDS", 0.05)
    host = RecorderProcess(settings)
    async with hosted(host):
        await until(lambda: host.status)
        assert host.pid is not None
        os.kill(host.pid, signal.SIGSTOP)
    assert host.restarts == 0


async def test_python_that_cannot_be_started_is_tried_again(
    settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    host = RecorderProcess(settings)
    async with hosted(host):
        await until(lambda: host.deaths >= 2)
        monkeypatch.undo()
        await until(lambda: host.status)
        assert host.healthy


async def test_waking_never_blocks_even_when_nobody_reads(settings: RecordingSettings) -> None:
    host = RecorderThread(settings)  # not running
    for _ in range(100_000):
        host.wake()
    async with hosted(host):
        pass
