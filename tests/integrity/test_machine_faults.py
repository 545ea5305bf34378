"""The disk, the database and the clock: clients notice nothing, and what can be recorded later is."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from claudeproxy.model import State
from claudeproxy.store import session
from claudeproxy.supervisor import RecorderProcess
from claudeproxy.testing import always, text
from tests.integrity.test_process_faults import ANSWER, BOTH, asked, both, doctor, health, words
from tests.support.service import (
    PATIENCE,
    captured,
    command_serving,
    mocking,
    prompt,
    serving,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.integrity.conftest import SayRow
    from tests.support.service import Pair, Running

    Break = Callable[[Path, Running], AbstractContextManager[object]]


def _noise(number: int) -> str:
    """20 KB that do not get smaller."""
    return " ".join(sha256(f"{number} {part}".encode()).hexdigest() for part in range(300))


__all__ = ["both"]  # the fixture

MANY = [prompt(f"during {number} {_noise(number)}") for number in range(6)]


async def until_degraded(running: Running) -> None:
    """The recorder has really failed, and `health` says so."""
    with trio.fail_after(PATIENCE):
        while (await health(running))["status"] != "degraded":  # noqa: ASYNC110
            await trio.sleep(0.05)


def all_words(pairs: list[Pair]) -> str:
    (said,) = {words(pair) for pair in pairs}
    return said


# --- the database ------------------------------------------------------------------------------------------------


@contextmanager
def locked(home: Path, _running: Running) -> Iterator[None]:
    """By another process, for as long as this lasts."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN EXCLUSIVE');"
        " print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(home / "captures.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield


@contextmanager
def file_limit(home: Path, running: Running) -> Iterator[None]:
    """No file of the recorder may grow: what a full disk or a quota under the database is to it."""
    host = running.service._recorder if running.service else None
    assert isinstance(host, RecorderProcess)
    assert host.pid is not None
    before = resource.prlimit(host.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(host.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(home: Path, _running: Running) -> Iterator[None]:
    """A copy of it on a read-only file system stands in its place."""
    database, copy = home / "captures.db", home / "copy.db"
    shutil.copy(database, copy)
    if not _mounted("--bind", str(copy), str(database)):
        pytest.skip("needs the right to mount")
    try:
        if not _mounted("-o", "remount,ro,bind", str(database)):
            pytest.skip("needs the right to mount")
        yield
    finally:
        _unmount(database)


def _mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def no_database(home: Path, _running: Running) -> Iterator[None]:
    """A directory stands in its place."""
    database, aside = home / "captures.db", home / "aside.db"
    database.rename(aside)
    database.mkdir()
    yield
    database.rmdir()
    aside.rename(database)


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("fault", "breaking"),
    [
        ("the database locked by another program", locked),
        ("no room for the database: a full disk (RLIMIT_FSIZE of the recorder)", file_limit),
        ("the database read-only (a read-only mount)", read_only),
        ("the database moved away, another file in its place", no_database),
    ],
)
async def test_a_database_that_cannot_be_written_delays_the_record_only(
    home: Path, both: SayRow, fault: str, breaking: Break
) -> None:
    async with mocking(always(text(ANSWER))) as mock, serving(home, mock.url, recorder="process") as running:
        await asked(running, [prompt("before")])
        await wait_captured(home, 1)
        with breaking(home, running):
            client = await asked(running, MANY)
            await until_degraded(running)
            found = await doctor(home)
            capture = (await health(running))["capture"]
            assert isinstance(capture, dict)
            assert (capture["dropped"], capture["lost"]) == (0, 0)
        await wait_captured(home, 1 + len(MANY))
        with trio.fail_after(PATIENCE):
            while (await health(running))["status"] != "ok":  # noqa: ASYNC110
                await trio.sleep(0.05)
    pairs = captured(home)
    assert {pair.body for pair in pairs} == {prompt("before"), *MANY}
    said = "`health` and `doctor` say so" if found["status"] in {"fail", "warn"} else "nobody says so"
    both(
        "Machine",
        fault,
        BOTH,
        client=client,
        record=f"waits in the journal, then {all_words(pairs)}",
        proxy=f"goes on; {said}",
    )


@pytest.mark.heavy
async def test_a_database_at_its_page_limit_delays_the_record_only(
    home: Path, both: SayRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    real = session.open_database

    def remember(*args: object, **more: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = real(*args, **more)  # type: ignore[arg-type]
        if not more["read_only"]:
            opened.append(connection)
        return connection

    monkeypatch.setattr(session, "open_database", remember)

    def limit(pages: int | None) -> None:
        writer = opened[-1]  # the recorder's thread waits between two batches, or is refused a page in one
        writer.execute(f"PRAGMA max_page_count = {pages or writer.execute('PRAGMA page_count').fetchone()[0]}")

    async with mocking(always(text(ANSWER))) as mock, serving(home, mock.url, recorder="thread") as running:
        await asked(running, [prompt("before")])
        await wait_captured(home, 1)
        limit(None)
        client = await asked(running, MANY)
        await until_degraded(running)
        limit(1 << 20)
        await wait_captured(home, 1 + len(MANY))
    pairs = captured(home)
    assert {pair.body for pair in pairs} == {prompt("before"), *MANY}
    both(
        "Machine",
        "the database at its page limit (`PRAGMA max_page_count`)",
        BOTH,
        client=client,
        record=f"waits in the journal, then {all_words(pairs)}",
        proxy="goes on; `health` says so",
    )


@pytest.mark.heavy
@pytest.mark.parametrize("what", ["deleted", "replaced by an older copy of it"])
async def test_a_database_that_goes_under_us_is_begun_anew_or_gone_on_with(home: Path, both: SayRow, what: str) -> None:
    database, copy = home / "captures.db", home / "copy.db"
    async with mocking(always(text(ANSWER))) as mock, serving(home, mock.url, recorder="process") as running:
        await asked(running, [prompt("first")])
        await wait_captured(home, 1)
        with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        await asked(running, [prompt("second")])
        await wait_captured(home, 2)
        if what == "deleted":
            database.unlink()
        else:
            copy.replace(database)
            for suffix in ("-wal", "-shm"):  # of the other file: SQLite would mix the two
                database.with_name(database.name + suffix).unlink(missing_ok=True)
        client = await asked(running, MANY)
        there = 0 if what == "deleted" else 1
        await wait_captured(home, there + len(MANY))
    pairs = captured(home)
    both(
        "Machine",
        f"the database {what} under us",
        BOTH,
        client=client,
        record=f"what went with the file is gone; everything after it {all_words(pairs)}",
        proxy="goes on with the file that is there, a new one if need be",
    )


# --- the journal -------------------------------------------------------------------------------------------------


@pytest.mark.heavy
async def test_a_journal_at_its_bound_drops_bodies_and_says_so(home: Path, both: SayRow, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = home / "config.yaml"
    home.mkdir(mode=0o700)
    config.write_text("journal_max_bytes: 64MiB\n")
    large = [prompt(f"{number} " + "x" * 16_000_000) for number in range(6)]
    async with mocking(always(text(ANSWER))) as mock, command_serving(home, mock.url, log=log) as running:
        with locked(home, running):
            client = await asked(running, large)
            said = await health(running)
            found = await doctor(home)
        await wait_captured(home, len(large), lambda one: one.state is State.COMPLETE)
        await stop(running)
    capture = said["capture"]
    assert isinstance(capture, dict)
    assert capture["lost"] == 0
    assert 2 <= capture["dropped"] <= 4
    assert said["drops"] == capture["dropped"]
    assert said["status"] == "degraded"
    assert found["status"] == "fail"
    assert f"{capture['dropped']} exchanges since the start were recorded without bodies" in found["detail"]
    assert log.read_text().count("capture incomplete") == capture["dropped"]
    pairs = captured(home)
    kept = [pair for pair in pairs if pair.request.body_kept == "whole"]
    assert len(pairs) - len(kept) == capture["dropped"]
    assert {pair.body for pair in kept} < set(large)
    both(
        "Machine",
        "the journal at `journal_max_bytes`, the database locked meanwhile",
        BOTH,
        client=client,
        record="one for each; those beyond the bound without bodies",
        proxy="goes on; drops are counted in `health`, `doctor` and the log",
    )


@pytest.mark.heavy
async def test_a_full_disk_under_the_journal_drops_and_says_so(home: Path, both: SayRow, tmp_path: Path) -> None:
    log, journal = tmp_path / "log", home / "journal"
    journal.mkdir(parents=True, mode=0o700)
    home.chmod(0o700)
    if not _mounted("-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(journal)):
        pytest.skip("needs the right to mount")
    try:
        async with mocking(always(text(ANSWER))) as mock, command_serving(home, mock.url, log=log) as running:
            with (journal / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
                while True:
                    ballast.write(bytes(4096))
            client = await asked(running, MANY)
            said, found = await health(running), await doctor(home)
            (journal / "ballast").unlink()
            after = await asked(running, [prompt("after")])
            await stop(running)
    finally:
        _unmount(journal)
    capture = said["capture"]
    assert isinstance(capture, dict)
    assert capture["dropped"] + capture["lost"] == len(MANY)
    assert found["status"] == "fail"
    assert "No space left" in found["detail"]
    assert log.read_text().count("capture incomplete") >= len(MANY)
    recorded = captured(home)
    assert after == client
    assert any(pair.request.body_length == len(prompt("after")) for pair in recorded)
    both(
        "Machine",
        "the disk of the journal full (a tmpfs of 1 MiB)",
        BOTH,
        client=client,
        record="heads at the most while it is full; afterwards what there is room for",
        proxy="goes on; drops are counted in `health`, `doctor` and the log",
    )


@pytest.mark.heavy
@pytest.mark.parametrize("recorder", ["thread", "process"])
async def test_a_journal_that_is_removed_is_begun_anew(
    home: Path, both: SayRow, recorder: Literal["thread", "process"]
) -> None:
    async with mocking(always(text(ANSWER))) as mock, serving(home, mock.url, recorder=recorder) as running:
        await asked(running, [prompt("before")])
        await wait_captured(home, 1)
        shutil.rmtree(home / "journal")
        client = await asked(running, MANY)
        said = await health(running)
        capture = said["capture"]
        assert isinstance(capture, dict)
        await wait_captured(home, 1 + len(MANY) - capture["lost"])
    assert capture["lost"] <= 1, "it is noticed by the first exchange that ends"
    assert said["status"] == "degraded" or not capture["lost"]
    if recorder == "process":
        both(
            "Machine",
            "the journal's directory removed",
            BOTH,
            client=client,
            record="at the most the first one after it is lost, and counted; all others whole",
            proxy="goes on with a new one",
        )


# --- the clock ---------------------------------------------------------------------------------------------------

_CLOCK = """
import os, time
real = {name: getattr(time, name) for name in ("time", "time_ns")}
def shift():
    try:
        return int(open(os.environ["SHIFT_FILE"]).read())
    except (OSError, ValueError):
        return 0
time.time = lambda: real["time"]() + shift()
time.time_ns = lambda: real["time_ns"]() + shift() * 10**9
"""


@pytest.mark.heavy
async def test_a_clock_that_jumps_back_costs_nothing(
    home: Path, both: SayRow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of our processes, not of the machine: `time` is another one there from their start."""
    site, shift = tmp_path / "site", tmp_path / "shift"
    site.mkdir()
    (site / "sitecustomize.py").write_text(_CLOCK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")])))
    monkeypatch.setenv("SHIFT_FILE", str(shift))
    async with mocking(always(text(ANSWER))) as mock, command_serving(home, mock.url) as running:
        await asked(running, MANY[:3])
        shift.write_text("-3600")
        client = await asked(running, MANY[3:])
        await wait_captured(home, len(MANY))
        await stop(running)
    pairs = captured(home)
    assert {pair.body for pair in pairs} == set(MANY)
    back = [pair for pair in pairs if pair.request.timestamp < time.time_ns() - 1800 * 10**9]
    assert len(back) == 3
    for pair in pairs:
        instants = pair.request.instants
        known = [instants.request_initiated, instants.forwarded, instants.response_received, instants.delivered]
        assert known == sorted(one for one in known if one is not None)
    both(
        "Machine",
        "the clock set back by an hour",
        BOTH,
        client=client,
        record=f"{all_words(pairs)}; the instants within each never go back",
    )
