"""Bugs of ours, and deaths: what is captured is stored whatever happens to those who store and explain it."""

from __future__ import annotations

import json
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing import Gate, Pace, always, says, text
from claudeproxy.testing.scripts import Replies
from tests.integrity.rewriters import make_older
from tests.integrity.victims import journals_read
from tests.support.poison import poison
from tests.support.service import (
    HEADERS,
    PATIENCE,
    ask,
    captured,
    command_serving,
    kill_group,
    mocking,
    prompt,
    raw,
    stop,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integrity.conftest import SayRow
    from tests.support.service import Pair, Running

BOTH = "reverse and connect"


@pytest.fixture
def both(row: SayRow) -> SayRow:
    """`row`, for tests whose clients come in both of these ways."""

    def say(section: str, fault: str, mode: str, *, client: str, record: str, proxy: str = "goes on") -> None:
        for one in mode.split(" and "):
            row(section, fault, one, client=client, record=record, proxy=proxy)

    return say


ANSWER = "Exactly these words. " * 20
POISON = prompt("poison")


async def health(running: Running) -> dict[str, object]:
    async with running.rest() as rest:
        found: dict[str, object] = (await rest.get("/api/claude/health")).json()
        return found


async def command(*words: str, home: Path) -> tuple[int, str, str]:
    """Run one of our commands to its end: exit code, standard output and error."""
    whole = [sys.executable, "-m", "claudeproxy_cli", *words, "--home", str(home)]
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(whole, capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def doctor(home: Path) -> dict[str, str]:
    """What `doctor` says of the record."""
    _, out, _ = await command("doctor", "--json", home=home)
    return next(row for row in json.loads(out) if row["name"] == "record")


async def recorder_says(running: Running, **wanted: object) -> dict[str, object]:
    """Wait until the recorder reports all of that."""
    with trio.fail_after(PATIENCE):
        while True:
            said = await health(running)
            recorder = said["recorder"]
            if isinstance(recorder, dict) and all(recorder.get(name) == value for name, value in wanted.items()):
                return said
            await trio.sleep(0.05)


async def noted_as_unfinished(home: Path) -> None:
    """Wait until the record knows of a capture of which something could not be derived."""

    def noted() -> bool:
        with CaptureStorage(home / "captures.db", read_only=True) as storage:
            return storage.unfinished() != {}

    with trio.fail_after(PATIENCE):
        while not await trio.to_thread.run_sync(noted):  # noqa: ASYNC110
            await trio.sleep(0.05)


async def asked(running: Running, bodies: list[bytes]) -> str:
    """Ask them all; what the client saw, in words."""
    answers = set()
    for mode in ("connect", "reverse"):
        async with running.client(mode) as client:  # type: ignore[arg-type]
            for body in bodies[mode == "reverse" :: 2]:
                response = await ask(client, body)
                answers.add(response.status_code == 200 and b"Exactly these words." in raw(response))
    return "the whole answer" if answers == {True} else str(answers)


def several(about: str) -> list[bytes]:
    return [prompt(f"{about} {number}") for number in range(4)]


def words(pair: Pair) -> str:
    return f"`{pair.request.state}`; request {pair.request.body_kept}; response {pair.whole.body_kept}"


CUT = "claudeproxy.store.writer:cut_body"
EXPLAIN = "claudeproxy.attribution.engine:AttributionEngine.analyze_request"
BODIES = [prompt("before"), POISON, *(prompt(f"after {number}") for number in range(4))]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("fault", "function", "act"),
    [
        ("a bug of ours in cutting a request", CUT, "raise"),
        ("a bug of ours in explaining one", EXPLAIN, "raise"),
        ("a body that kills the recorder when it is cut", CUT, "die"),
        ("a body that kills it when it is explained", EXPLAIN, "die"),
    ],
)
async def test_what_a_body_does_to_the_recorder_costs_its_explanation(
    home: Path,
    tmp_path: Path,
    both: SayRow,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    function: str,
    act: str,
) -> None:
    log = tmp_path / "log"
    async with mocking(always(text(ANSWER))) as mock:
        with monkeypatch.context() as patch:
            poison(patch, tmp_path / "site", function, act)
            async with command_serving(home, mock.url, log=log) as running:
                client = await asked(running, BODIES)
                await journals_read(home, explained=len(BODIES) - 1)
                await noted_as_unfinished(home)  # what came after it may be explained before it is given up
                said = await recorder_says(running, restarts=3 if act == "die" else 0, deaths=0)
                found = await doctor(home)
                await stop(running)
    recorder = said["recorder"]
    assert isinstance(recorder, dict)
    pairs = {pair.body: pair for pair in captured(home)}
    assert pairs.keys() == set(BODIES)
    assert all(b"Exactly" in pair.answer for pair in pairs.values())
    assert all(pair.request.total_tokens for body, pair in pairs.items() if body != POISON)
    assert pairs[POISON].sources == {} or "cut" in function
    assert found["status"] == "warn"
    assert "failed" in found["detail"]
    assert recorder["restarts"] == (3 if act == "die" else 0)
    assert ("Traceback" in log.read_text()) == (act == "raise")
    assert "died at it" in log.read_text() or act == "raise"

    _, _, rebuilt = await command("metrics", "rebuild", home=home)
    assert "nothing is missing now" in rebuilt
    assert (await doctor(home))["status"] == "ok"
    assert all(pair.request.total_tokens for pair in captured(home))
    how = "not started again" if not recorder["restarts"] else f"is started {recorder['restarts']} times"
    both(
        "Process",
        fault,
        BOTH,
        client=client,
        record=f"{words(pairs[POISON])}; explained by `metrics rebuild` once the fault is gone",
        proxy=f"goes on; its recorder {how}, `doctor` says what is missing",
    )


@pytest.mark.heavy
async def test_an_exchange_that_cannot_be_stored_is_set_aside_until_another_version_can(
    home: Path, tmp_path: Path, both: SayRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mocking(always(text(ANSWER))) as mock:
        with monkeypatch.context() as patch:
            poison(patch, tmp_path / "site", "claudeproxy.store.writer:request_columns", "raise")
            async with command_serving(home, mock.url) as running:
                client = await asked(running, BODIES)
                said = await recorder_says(running, set_aside=1, recorded=len(BODIES))
                found = await doctor(home)
                await stop(running)
        assert said["status"] == "degraded"
        assert "1 exchange that cannot be recorded set aside" in found["detail"]
        assert {pair.body for pair in captured(home)} == set(BODIES) - {POISON}
        (directory,) = (home / "quarantine").iterdir()
        directory.rename(directory.with_name("0.0.1"))  # as if it had been an older version that failed
        async with command_serving(home, mock.url) as running:
            await recorder_says(running, quarantined=0, recorded=1)
            await stop(running)
    pairs = {pair.body: pair for pair in captured(home)}
    assert pairs.keys() == set(BODIES)
    assert (await doctor(home))["status"] == "ok"
    both(
        "Process",
        "an exchange that our code cannot store",
        BOTH,
        client=client,
        record=f"set aside in `quarantine`, said by `health` and `doctor`; {words(pairs[POISON])} by a newer version",
    )


@pytest.mark.heavy
async def test_at_sigterm_streams_end_within_the_drain_time_and_everything_is_flushed(home: Path, row: SayRow) -> None:
    gate = Gate()
    async with mocking(always(text(ANSWER, pace=Pace(gate=gate)))) as mock:
        async with command_serving(home, mock.url) as running:
            answer = await _stream_over_sigterm(running, gate)
            assert running.process is not None
            with trio.fail_after(PATIENCE):
                assert await running.process.wait() == 0
    (pair,) = captured(home)
    assert pair.request.total_tokens
    whole = pair.answer == answer and b"message_stop" in answer
    row(
        "Process",
        "SIGTERM while a stream is open that ends within `drain_seconds`",
        "connect",
        client="the whole answer" if whole else "a part",
        record=words(pair),
        proxy="takes no new connection, ends when the stream has",
    )


async def _stream_over_sigterm(running: Running, gate: Gate | None) -> bytes:
    """Begin a stream, tell the service to end, let the stream go on; what came of it."""
    received = bytearray()
    with suppress(httpx.TransportError):
        async with (
            running.client("connect") as client,
            client.stream("POST", "/v1/messages", content=prompt("x", stream=True), headers=HEADERS) as response,
        ):
            assert running.process is not None
            running.process.send_signal(signal.SIGTERM)
            await _refused(running)
            if gate is not None:
                gate.open()
            async for piece in response.aiter_raw():
                received += piece
    return bytes(received)


async def _refused(running: Running) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream(*running.proxy)  # noqa: TID251 - a client
            except OSError:
                return
            await stream.aclose()


@pytest.mark.heavy
async def test_beyond_the_drain_time_what_is_known_is_kept(
    home: Path, row: SayRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDEPROXY_DRAIN_SECONDS", "0.3")
    gate = Gate()
    gate.release(3)
    async with mocking(always(text(ANSWER, pace=Pace(gate=gate)))) as mock:
        async with command_serving(home, mock.url) as running:
            answer = await _stream_over_sigterm(running, None)
            assert running.process is not None
            with trio.fail_after(PATIENCE):
                assert await running.process.wait() == 0
    (pair,) = captured(home)
    assert answer
    assert pair.answer == answer
    row(
        "Process",
        "SIGTERM while a stream is open beyond `drain_seconds`",
        "connect",
        client="the answer cut off when the time is over",
        record=f"{words(pair)}; every byte that the client got",
        proxy="ends",
    )


@pytest.mark.heavy
async def test_of_two_proxies_on_one_home_one_may_be_killed(home: Path, both: SayRow) -> None:
    gate = Gate()
    script = Replies().on(says("hold"), text("held", pace=Pace(gate=gate))).on(lambda _: True, text(ANSWER))
    held = prompt("hold", stream=True)
    async with mocking(script) as mock:
        async with command_serving(home, mock.url) as first, command_serving(home, mock.url) as second:
            async with trio.open_nursery() as nursery:

                async def hold() -> None:
                    with suppress(httpx.TransportError):
                        async with first.client() as client:
                            await ask(client, held)

                nursery.start_soon(hold)
                await mock.wait_message(1)
                clients = {
                    await asked(one, [prompt(f"{n} of {one.proxy}") for n in range(4)]) for one in (first, second)
                }
                assert first.process is not None
                kill_group(first.process.pid)
            clients.add(await asked(second, several("after")))
            await journals_read(home)
            await stop(second)
    pairs = {pair.body: pair for pair in captured(home)}
    assert len(pairs) == 13
    assert clients == {"the whole answer"}
    assert {pair.request.state for body, pair in pairs.items() if body != held} == {State.COMPLETE}
    both(
        "Process",
        "SIGKILL to one of two proxies on one home",
        BOTH,
        client="those of the other one notice nothing",
        record=f"its open exchange `{pairs[held].request.state}` by the other one's recorder; all others once",
        proxy="the other one goes on",
    )


@pytest.mark.heavy
async def test_an_upgrade_migrates_after_a_copy_and_a_downgrade_is_refused(home: Path, both: SayRow) -> None:
    async with mocking(always(text(ANSWER))) as mock:
        async with command_serving(home, mock.url) as running:
            await asked(running, BODIES)
            await stop(running)
        before = [pair.answer for pair in captured(home)]
        make_older(home / "captures.db")
        async with command_serving(home, mock.url) as running:
            client = await asked(running, [prompt("newer")])
            await stop(running)
        assert [pair.answer for pair in captured(home)][:-1] == before
        copies = [path.name for path in home.glob("captures.db.before-*")]
        assert len(copies) == 1
        both(
            "Process",
            "a newer version over the database of an older one",
            BOTH,
            client=client,
            record="all there; a copy of the database beside it from before the migration",
        )

        with closing(sqlite3.connect(home / "captures.db", isolation_level=None)) as database:
            database.execute("UPDATE _sqlite_migrations SET name = 'm9999_later' WHERE name = 'm0028_unfinished'")
        code, _, error = await command("serve", "--bind", "127.0.0.1:0", home=home)
        assert code
        assert "was written by a newer claudeproxy" in error
        lines = [line for line in error.splitlines() if line.strip()]
        both(
            "Process",
            "an older version over the database of a newer one",
            BOTH,
            client="no proxy",
            record="untouched",
            proxy="refuses in one sentence" if len(lines) == 1 else f"says {len(lines)} lines",
        )
