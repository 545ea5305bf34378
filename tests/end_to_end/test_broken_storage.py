"""A storage that fails on every call, for real: clients get exactly their bytes, and what can be stored later is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from claudeproxy.testing import Replies, overloaded, says, text
from tests.support.service import (
    PATIENCE,
    ask,
    captured,
    command_serving,
    mocking,
    prompt,
    raw,
    serving,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claudeproxy.testing import MockUpstream, Script
    from tests.support.service import Running

ROUNDS = 6


def _script() -> Script:
    return Replies().on(says("busy"), overloaded()).on(lambda _: True, text("Exactly these words. " * 30))


def _bodies() -> list[bytes]:
    return [prompt(f"{'busy' if n % 3 == 2 else 'ask'} {n}", stream=bool(n % 2)) for n in range(ROUNDS)]


async def _exchange_all(running: Running, mock: MockUpstream) -> list[bytes]:
    """Every client gets what a client of the mock gets; returns the answers."""
    answers = []
    async with running.client("connect") as client:
        for body in _bodies():
            with trio.fail_after(PATIENCE):
                response = await ask(client, body)
            assert response.status_code == (529 if b"busy" in body else 200)
            assert b"overloaded_error" in raw(response) if b"busy" in body else b"Exactly" in raw(response)
            answers.append(raw(response))
    assert [request.body for request in mock.received] == _bodies()
    return answers


async def _failing(running: Running) -> None:
    """Wait until the recorder has really failed; health says so."""
    async with running.rest() as rest:
        with trio.fail_after(PATIENCE):
            while True:
                health = (await rest.get("/api/claude/health")).json()
                if health["status"] == "degraded":
                    assert health["recorder"]["deaths"] or health["recorder"]["failures"]
                    assert health["capture"]["dropped"] == health["capture"]["lost"] == 0
                    return
                await trio.sleep(0.05)


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("recorder", ["thread", "process"])
@pytest.mark.heavy
async def test_a_database_that_another_program_locks_delays_the_record_only(
    home: Path, recorder: Literal["thread", "process"]
) -> None:
    async with mocking(_script()) as mock, serving(home, mock.url, recorder=recorder) as running:
        with _locked(home / "captures.db"):
            answers = await _exchange_all(running, mock)
            await _failing(running)
        await wait_captured(home, ROUNDS)
    pairs = captured(home)
    assert [pair.body for pair in pairs] == _bodies()
    assert [pair.answer for pair in pairs] == answers


@pytest.mark.heavy
async def test_a_lock_that_outlives_the_service_costs_nothing_either(home: Path) -> None:
    """The journal waits for the next start."""
    async with mocking(_script()) as mock:
        with ExitStack() as lock:
            async with serving(home, mock.url) as running:
                lock.enter_context(_locked(home / "captures.db"))
                answers = await _exchange_all(running, mock)
        async with serving(home, mock.url):
            await wait_captured(home, ROUNDS)
    assert [pair.answer for pair in captured(home)] == answers


async def test_a_database_that_is_replaced_by_junk_and_then_taken_away_is_begun_anew(home: Path) -> None:
    async with mocking(_script()) as mock, serving(home, mock.url) as running:
        async with running.client() as client:
            await ask(client, prompt("before"))
        await wait_captured(home, 1)
        mock.received.clear()
        junk = home / "junk"
        junk.write_bytes(b"this is no database. " * 1000)
        junk.replace(home / "captures.db")
        answers = await _exchange_all(running, mock)
        await _failing(running)
        (home / "captures.db").unlink()
        await wait_captured(home, ROUNDS)
    assert [pair.answer for pair in captured(home)] == answers


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = (
        hasattr(os, "geteuid")
        and os.geteuid() == 0
        and shutil.which("mount")
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_on_a_full_disk_clients_are_served_and_drops_are_counted(small_disk: Path) -> None:
    home = small_disk / "home"
    async with mocking(_script()) as mock, command_serving(home, mock.url, log=small_disk.with_suffix(".log")) as run:
        with (small_disk / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            while True:
                ballast.write(bytes(4096))
        await _exchange_all(run, mock)
        async with run.rest() as rest:
            health = (await rest.get("/api/claude/health")).json()
        assert health["capture"]["dropped"] + health["capture"]["lost"] == ROUNDS
        assert health["status"] == "degraded"
        (small_disk / "ballast").unlink()
        await stop(run)
    # A disk this small is nearly full to begin with: bodies were left out from the first, and rows tell it.
    assert all(pair.request.body_kept in {"dropped", "whole"} for pair in captured(home))
