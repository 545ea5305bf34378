from __future__ import annotations

import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.capture.batch import BATCH_EXCHANGES
from claudeproxy.capture.journal_format import RecordType, segment_path, segments
from claudeproxy.capture.locks import owner_alive
from claudeproxy.capture.wake import WakePipe
from claudeproxy.errors import StorageError
from claudeproxy.model import BodyKept, State
from tests.capture.support import START, Store, drain, end, make_tap, response, start, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from claudeproxy.capture.tap import JournalTap


@pytest.fixture
def store() -> Store:
    return Store()


def test_without_a_journal_there_is_nothing_to_do(tmp_path: Path, store: Store) -> None:
    recorder = store.recorder(tmp_path / "none")
    assert recorder.step() == 0
    assert not recorder.statistics().standby
    assert store.calls == []


def test_a_finished_exchange_is_handed_on_once(tmp_path: Path, store: Store) -> None:
    one = tell(make_tap(tmp_path))
    recorder = store.recorder(tmp_path)
    assert (recorder.step(), recorder.step()) == (1, 0)
    assert [row.correlation_id for row in store.calls[0]] == [one]
    assert (recorder.statistics().recorded, recorder.statistics().announced) == (1, 0)


def test_a_request_has_its_row_before_its_response(tmp_path: Path, store: Store) -> None:
    """Announced once, as soon as the request is complete; then the end."""
    tap = make_tap(tmp_path)
    recorder = store.recorder(tmp_path)
    exchange = tap.exchange(begun := start(body_length=4))
    exchange.request_body(b"ha")
    assert recorder.step() == 0, "the request is not complete"
    exchange.request_body(b"lf")
    assert recorder.step() == 1
    row = store.rows[begun.correlation_id]
    assert (row.state, row.request_body.data, row.response) == (State.IN_FLIGHT, b"half", None)
    assert row.request_body.kept is BodyKept.WHOLE
    assert row.instants.proxy_received is not None
    exchange.response_start(response())
    exchange.response_body(b"x")
    assert recorder.step() == 0, "once per exchange, and not more often"
    exchange.end(end())
    assert recorder.step() == 1
    assert store.rows[begun.correlation_id].state is State.COMPLETE
    assert recorder.statistics().announced == 1


def test_a_chunked_request_is_announced_when_its_answer_begins(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    exchange = tap.exchange(begun := start(body_length=None))
    exchange.request_body(b"some")
    assert recorder.step() == 0
    exchange.response_start(response())
    assert recorder.step() == 1
    assert store.rows[begun.correlation_id].request_body.kept is BodyKept.PARTIAL


def test_a_body_that_is_not_kept_is_announced_at_once_with_its_announced_length(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    tap.exchange(begun := start(body_length=70, url="https://claude.ai/api/flags"))
    assert recorder.step() == 1
    body = store.rows[begun.correlation_id].request_body
    assert (body.kept, body.length) == (BodyKept.POLICY, 70)


def test_the_cursor_stays_at_the_lowest_open_start_and_segments_go_behind_it(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path, segment_bytes=2000)
    directory = tmp_path / tap.writer.owner
    recorder = store.recorder(tmp_path)
    tell(tap, request=[bytes(5000)])
    pinned = tap.exchange(start(body_length=1))
    for _ in range(5):
        tell(tap, request=[bytes(3000)])
    drain(recorder)
    first = segments(directory)[0]
    assert first > 0, "what is behind the cursor is gone"
    assert store.cursors[tap.writer.owner][0] == first
    assert len(segments(directory)) > 4, "what an open stream pins stays"
    pinned.end(end(State.ABORTED_BY_CLIENT, proxy_received=None))
    drain(recorder)
    assert len(segments(directory)) <= 2


def test_consumed_segments_go_even_when_there_is_nothing_to_hand_on(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path, segment_bytes=1000)
    recorder = store.recorder(tmp_path)
    for _ in range(3):
        tap.writer.append(RecordType.REQUEST_BODY, 99, bytes(1000))  # of an exchange whose OPEN was damaged
    assert recorder.step() == 0
    assert segments(tmp_path / tap.writer.owner) == [2]
    assert store.calls == [[]]


def test_a_restarted_recorder_goes_on_at_its_cursor(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    one = tell(tap)
    pinned = tap.exchange(begun := start(body_length=3))
    pinned.request_body(b"abc")
    two = tell(tap)
    first = store.recorder(tmp_path)
    drain(first)
    first.close()
    store.calls.clear()
    second = store.recorder(tmp_path)
    drain(second)
    handed = {row.correlation_id: row.state for call in store.calls for row in call}
    assert handed == {two: State.COMPLETE, begun.correlation_id: State.IN_FLIGHT}, "only what the open one pinned"
    pinned.end(end())
    drain(second)
    assert {one: State.COMPLETE}.items() <= {name: row.state for name, row in store.rows.items()}.items()
    assert store.rows[begun.correlation_id].state is State.COMPLETE


def test_a_dead_owners_open_exchanges_are_interrupted_and_its_directory_goes(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    done = tell(tap)
    exchange = tap.exchange(begun := start(body_length=3))
    exchange.request_body(b"abc")
    exchange.response_start(response())
    exchange.response_body(b"part of")
    owner = tap.writer.owner
    tap.writer.close()
    recorder = store.recorder(tmp_path)
    drain(recorder)
    row = store.rows[begun.correlation_id]
    assert (row.state, store.rows[done].state) == (State.INTERRUPTED, State.COMPLETE)
    assert row.request_body.data == b"abc"
    assert row.response is not None
    assert (row.response.body.data, row.response.body.kept) == (b"part of", BodyKept.PARTIAL)
    assert row.instants.response_received == START + 3_000
    assert row.instants.delivered is None
    assert not (tmp_path / owner).exists()
    assert recorder.statistics().owners == 0


def test_a_dead_owner_is_kept_until_the_sink_has_taken_everything(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    tell(tap)
    tap.writer.close()
    recorder = store.recorder(tmp_path)
    store.failures = [StorageError("database is locked")]
    assert recorder.step() == 0
    assert (tmp_path / tap.writer.owner).exists()
    assert recorder.step() == 1
    assert not (tmp_path / tap.writer.owner).exists()


def test_nobody_comes_to_life_in_a_directory_that_is_being_cleaned(tmp_path: Path, store: Store) -> None:
    """A directory without a lock file is one that is just being made, or whose maker died: ours from then on."""
    (tmp_path / "newborn").mkdir()
    recorder = store.recorder(tmp_path)
    store.failures = [OSError("not now")]
    tell(make_tap(tmp_path))
    recorder.step()
    assert owner_alive(tmp_path, "newborn"), "the recorder holds its lock until it is removed"
    drain(recorder)
    assert not (tmp_path / "newborn").exists()


def test_two_owners_at_once_are_kept_apart(tmp_path: Path, store: Store) -> None:
    taps = [make_tap(tmp_path), make_tap(tmp_path)]
    ids = [tell(taps[number % 2], request=[str(number).encode()]) for number in range(20)]
    open_ones = [tap.exchange(start(body_length=9)) for tap in taps]
    taps[0].writer.close()
    recorder = store.recorder(tmp_path)
    drain(recorder)
    assert [store.rows[one].request_body.data for one in ids] == [str(number).encode() for number in range(20)]
    states = [row.state for row in store.rows.values()]
    assert states.count(State.INTERRUPTED) == 1, "the living owner's exchange is left alone"
    assert set(store.cursors) == {tap.writer.owner for tap in taps}
    open_ones[1].end(end())
    drain(recorder)
    assert len(store.rows) == 22


def test_a_failing_sink_gets_the_same_batch_again(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    one = tell(tap)
    store.failures = [StorageError("disk is full"), OSError("no such directory")]
    assert recorder.step() == 0
    two = tell(tap)
    assert recorder.step() == 0
    statistics = recorder.statistics()
    assert (statistics.failures, statistics.sink_failures) == (2, 2)
    assert statistics.last_error == "StorageError: disk is full"
    assert drain(recorder) == 2
    assert [[row.correlation_id for row in call] for call in store.calls] == [[one], [two]]
    assert (recorder.statistics().failures, recorder.statistics().sink_failures) == (0, 2)


def test_cursors_that_cannot_be_loaded_are_tried_again(tmp_path: Path, store: Store) -> None:
    tell(make_tap(tmp_path))
    recorder = store.recorder(tmp_path)
    failing = [sqlite3.OperationalError("locked")]

    def load() -> Mapping[str, tuple[int, int]]:
        if failing:
            raise failing.pop()
        return {}

    recorder._load_cursors = load
    assert (recorder.step(), recorder.step()) == (0, 1)


def test_errors_are_told_and_a_failing_log_is_no_matter(tmp_path: Path, store: Store) -> None:
    told: list[Exception] = []

    def log(exc: Exception) -> None:
        told.append(exc)
        raise exc

    tell(make_tap(tmp_path))
    recorder = store.recorder(tmp_path)
    recorder._on_error = log
    store.failures = [error := StorageError("x")]
    assert (recorder.step(), recorder.step()) == (0, 1)
    assert told == [error]


def test_batches_are_bounded(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    for _ in range(BATCH_EXCHANGES + 1):
        tell(tap)
    recorder = store.recorder(tmp_path)
    assert (recorder.step(), recorder.step(), recorder.step()) == (BATCH_EXCHANGES, 1, 0)


def test_interrupted_and_announced_ones_are_batched_too(tmp_path: Path, store: Store) -> None:
    for alive in (True, False):
        tap = make_tap(tmp_path)
        for _ in range(BATCH_EXCHANGES + 1):
            tap.exchange(start(body_length=0))
        if not alive:
            tap.writer.close()
        recorder = store.recorder(tmp_path)
        assert drain(recorder) >= BATCH_EXCHANGES + 1
        recorder.close()
    assert max(map(len, store.calls)) == BATCH_EXCHANGES
    assert len(store.rows) == 2 * (BATCH_EXCHANGES + 1)


def test_a_busy_owner_starves_nobody(tmp_path: Path, store: Store) -> None:
    busy, quiet = make_tap(tmp_path), make_tap(tmp_path)
    for _ in range(4 * BATCH_EXCHANGES):
        tell(busy)
    one = tell(quiet)
    recorder = store.recorder(tmp_path)
    for _ in range(3):
        recorder.step()
    assert one in store.rows


def test_only_one_recorder_works_on_a_journal(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    first, second = store.recorder(tmp_path), store.recorder(tmp_path)
    tell(tap)
    assert first.step() == 1
    tell(tap)
    assert second.step() == 0
    assert second.statistics().standby
    first.close()
    assert drain(second) == 1, "it takes over"
    assert not second.statistics().standby


def test_damaged_records_are_counted_and_cost_one_exchange(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    one = tell(tap, request=[b"first"])
    two = tell(tap, request=[b"second"])
    path = segment_path(tmp_path / tap.writer.owner, 0)
    data = bytearray(path.read_bytes())
    data[data.index(b"first")] ^= 1
    path.write_bytes(data)
    tap.writer.close()
    recorder = store.recorder(tmp_path)
    drain(recorder)
    damaged = store.rows[one].request_body
    assert (damaged.kept, damaged.length, damaged.data) == (BodyKept.DROPPED, 5, None), "a body with a hole is none"
    assert store.rows[two].request_body.data == b"second"
    assert recorder.statistics().damaged_records == 1


def test_records_of_another_version_are_counted_and_passed_over(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    tap.writer.append(RecordType.OPEN, 7, msgspec.json.encode({"from": "the future"}))
    one = tell(tap)
    drain(recorder)
    assert list(store.rows) == [one]
    assert recorder.statistics().damaged_records == 1


def test_a_bug_in_reading_an_answer_costs_what_it_says_and_no_byte_of_it(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*args: object, **options: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("claudeproxy.capture.assemble.read_answer", explode)
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    one, two = tell(tap), tell(tap, answer=[])
    drain(recorder)
    answered = store.rows[one].response
    assert answered is not None
    assert (answered.body.kept, answered.body.data, answered.answer.message) == (BodyKept.WHOLE, b"{}", None)
    assert store.rows[one].unread == {"answer": "ZeroDivisionError"}
    assert store.rows[two].unread == {}


def test_a_deleted_segment_costs_its_bodies_only(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path, segment_bytes=1000), store.recorder(tmp_path)
    exchange = tap.exchange(begun := start(body_length=None))
    exchange.request_body(bytes(1000))
    exchange.request_body(bytes(1000))
    drain(recorder)
    segment_path(tmp_path / tap.writer.owner, 0).unlink()
    exchange.end(end())
    drain(recorder)
    body = store.rows[begun.correlation_id].request_body
    assert (body.kept, body.length) == (BodyKept.DROPPED, 2000)


def test_an_owner_whose_files_cannot_be_read_does_not_stop_the_others(tmp_path: Path, store: Store) -> None:
    bad = tmp_path / "00000000-bad"
    segment_path(bad, 0).mkdir(parents=True)  # a directory in the place of a file
    one = tell(make_tap(tmp_path))
    recorder = store.recorder(tmp_path)
    drain(recorder)
    assert list(store.rows) == [one]
    assert "IsADirectoryError" in str(recorder.statistics().last_error)


def test_an_owner_deleted_by_somebody_else_is_forgotten(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path), store.recorder(tmp_path)
    tell(tap)
    drain(recorder)
    directory = tmp_path / tap.writer.owner
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    assert recorder.step() == 0
    assert recorder.statistics().owners == 0


def test_memory_of_open_streams_is_their_places_not_their_bytes(tmp_path: Path, store: Store) -> None:
    tap, recorder = make_tap(tmp_path, max_body_bytes=64 << 20), store.recorder(tmp_path)
    exchange = tap.exchange(start(body_length=None))
    drain(recorder)
    tracemalloc.start()
    for _ in range(64):
        exchange.request_body(bytes(1 << 20))
        recorder.step()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20


class Stop:
    """Says stop after so many questions."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_run_records_what_is_there_and_what_is_left_when_told_to_stop(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    ids = [tell(tap) for _ in range(BATCH_EXCHANGES * 2 + 3)]
    tap.writer.close()
    left: list[int] = []
    store.recorder(tmp_path).run(Stop(0), ending=lambda: left.append(len(ids) - len(store.rows)), poll=0)
    assert set(store.rows) == set(ids)
    assert left == [len(ids)]
    assert {path.name for path in tmp_path.iterdir()} == {"recorder.lock", "recorder.at"}


def test_run_is_woken_by_the_end_of_an_exchange(tmp_path: Path, store: Store) -> None:
    """With a poll interval beyond any patience only the wake-up can end the wait."""
    pipe = WakePipe()
    tap = make_tap(tmp_path, wake=pipe.notify)
    one = tell(tap)
    store.recorder(tmp_path).run(Stop(1), wake_fd=pipe.read_end, linger=0, poll=600)
    assert list(store.rows) == [one]
    pipe.close()


def test_run_ends_with_whoever_would_wake_it_although_nothing_can_be_stored(tmp_path: Path, store: Store) -> None:
    """The journal keeps what is there; a process that tries for ever would be nobody's."""
    one = tell(make_tap(tmp_path))
    pipe = WakePipe()
    os.close(pipe.write_end)
    store.failures = [OSError("no room") for _ in range(100)]
    recorder = store.recorder(tmp_path)
    recorder.run(lambda: False, wake_fd=pipe.read_end, linger=0, poll=0.001)
    os.close(pipe.read_end)
    assert store.calls == []
    store.failures.clear()
    recorder.step()
    assert [row.correlation_id for row in store.calls[0]] == [one]


def test_run_backs_off_from_a_failing_sink_and_loses_nothing(tmp_path: Path, store: Store) -> None:
    tap = make_tap(tmp_path)
    one = tell(tap)
    store.failures = [StorageError("x") for _ in range(3)]
    recorder = store.recorder(tmp_path)
    recorder.run(Stop(30), linger=0, poll=0.001)
    assert list(store.rows) == [one]
    assert recorder.statistics().sink_failures == 3


# --- any interleaving, any kill point ---------------------------------------------------------------------------

steps = st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=40)), max_size=25)


class Script:
    """Exchanges told to a tap in an interleaving, and what a reader must then be able to say."""

    def __init__(self, tap: JournalTap, moves: Sequence[tuple[int, bytes]]) -> None:
        self.tap = tap
        self.sent: dict[str, tuple[bytes, bytes]] = {}
        self.ended: dict[str, int] = {}  # id -> bytes in the journal when its END was written
        self.opened: dict[str, int] = {}
        live: dict[int, list[object]] = {}
        for lane, data in moves:
            if lane not in live:
                begun = start(body_length=None)
                live[lane] = [tap.exchange(begun), begun.correlation_id, 0]
                self.sent[begun.correlation_id] = (b"", b"")
                self.opened[begun.correlation_id] = tap.writer.statistics().bytes_written
                continue
            exchange, name, stage = live[lane]
            assert isinstance(name, str)
            request, answer = self.sent[name]
            if stage == 0 and data:
                exchange.request_body(data)  # type: ignore[attr-defined]
                self.sent[name] = (request + data, answer)
            elif stage == 0:
                exchange.response_start(response())  # type: ignore[attr-defined]
                live[lane][2] = 1
            elif data:
                exchange.response_body(data)  # type: ignore[attr-defined]
                self.sent[name] = (request, answer + data)
            else:
                exchange.end(end())  # type: ignore[attr-defined]
                self.ended[name] = tap.writer.statistics().bytes_written
                del live[lane]


def truncate(directory: Path, size: int) -> None:
    """As a kill would leave it: everything written after `size` bytes is not there."""
    for segment in segments(directory):
        path = segment_path(directory, segment)
        length = path.stat().st_size
        if size <= 0:
            path.unlink()
        elif length > size:
            os.truncate(path, size)
        size -= length


@settings(max_examples=60)
@given(moves=steps, cut=st.integers(0, 10_000), segment_bytes=st.sampled_from([200, 1000, 1 << 20]))
def test_any_interleaving_killed_at_any_byte_gives_what_was_written_up_to_there(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, bytes]], cut: int, segment_bytes: int
) -> None:
    root = tmp_path_factory.mktemp("kill")
    tap = make_tap(root, segment_bytes=segment_bytes)
    script = Script(tap, moves)
    tap.writer.close()
    size = cut % (tap.writer.statistics().bytes_written + 1)
    truncate(root / tap.writer.owner, size)
    store = Store()
    drain(recorder := store.recorder(root))
    recorder.close()
    complete = {name for name, row in store.rows.items() if row.state is State.COMPLETE}
    assert complete == {name for name, written in script.ended.items() if written <= size}
    assert set(store.rows) == {name for name, written in script.opened.items() if written <= size}
    for name, row in store.rows.items():
        request, answer = script.sent[name]
        seen = (row.request_body.data or b"", (row.response.body.data or b"") if row.response else b"")
        assert row.state is State.INTERRUPTED or seen == (request, answer)
        assert request.startswith(seen[0])
        assert answer.startswith(seen[1])


@settings(max_examples=40)
@given(moves=steps, data=st.data())
def test_a_recorder_killed_between_any_two_steps_records_everything_once(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    """The sink's rows and cursors are what survives; every restart begins with them."""
    root = tmp_path_factory.mktemp("restart")
    tap = make_tap(root, segment_bytes=300)
    store = Store()
    split = data.draw(st.integers(0, len(moves)))
    script = Script(tap, moves[:split])
    first = store.recorder(root)
    for _ in range(data.draw(st.integers(0, 2))):
        first.step()
    first.close()
    later = Script(tap, moves[split:])
    tap.writer.close()
    second = store.recorder(root)
    if data.draw(st.booleans()):
        store.failures = [RuntimeError("killed inside the transaction")]
        second.step()
        second.close()
        second = store.recorder(root)
    drain(second)
    second.close()
    sent = script.sent | later.sent
    assert set(store.rows) == set(sent)
    for name, row in store.rows.items():
        done = name in script.ended or name in later.ended
        assert row.state is (State.COMPLETE if done else State.INTERRUPTED)
        assert (row.request_body.data or b"") == sent[name][0]
    assert not (root / tap.writer.owner).exists()


# --- real processes ---------------------------------------------------------------------------------------------

RELAY = """
import hashlib, os, random, sys
from pathlib import Path
from tests.capture.support import *
tap = make_tap(Path(sys.argv[1]), segment_bytes=200_000)
pick = random.Random(int(sys.argv[2]))
live = {}
print("ready", flush=True)
while True:
    lane = pick.randrange(8)
    if lane not in live:
        begun = start(body_length=None)
        live[lane] = (tap.exchange(begun), begun.correlation_id, hashlib.sha256(), hashlib.sha256())
        os.write(1, f"open {begun.correlation_id}\\n".encode())
        continue
    exchange, name, request, answer = live[lane]
    if pick.random() < 0.7:
        data = pick.randbytes(pick.choice([5, 500, 20_000]))
        exchange.request_body(data)
        request.update(data)
        continue
    exchange.response_start(response())
    for _ in range(pick.randrange(20)):
        data = pick.randbytes(200)
        exchange.response_body(data)
        answer.update(data)
    exchange.end(end())
    del live[lane]
    os.write(1, f"end {name} {request.hexdigest()} {answer.hexdigest()}\\n".encode())
"""


def killed_relay(root: Path, seed: int, lines: int) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """A relay that told its exchanges until it was killed: what it had acknowledged as ended, and as opened."""
    child = subprocess.Popen([sys.executable, "-c", RELAY, str(root), str(seed)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child, child.stdout:
        told = [child.stdout.readline() for _ in range(lines)]
        child.send_signal(signal.SIGKILL)
        told += child.stdout.readlines()
    fields = [line.split() for line in told if line.endswith("\n")]
    ended = {line[1]: (line[2], line[3]) for line in fields if line[0] == "end"}
    return ended, {line[1] for line in fields if line[0] == "open"}


def digest(data: bytes | None) -> str:
    return hashlib.sha256(data or b"").hexdigest()


@pytest.mark.parametrize("seed", range(5))
def test_everything_a_killed_relay_had_acknowledged_is_recorded(tmp_path: Path, store: Store, seed: int) -> None:
    lines = random.Random(seed).randrange(5, 400)
    ended, opened = killed_relay(tmp_path, seed, lines)
    assert ended
    drain(store.recorder(tmp_path))
    assert opened <= set(store.rows)
    for name, hashes in ended.items():
        row = store.rows[name]
        assert row.state is State.COMPLETE
        assert row.response is not None
        assert (digest(row.request_body.data), digest(row.response.body.data)) == hashes
    open_ones = [row for name, row in store.rows.items() if name not in ended]
    # The last one may have ended without having said so.
    assert sum(row.state is State.COMPLETE for row in open_ones) <= 1
    assert {path.name for path in tmp_path.iterdir()} == {"recorder.lock", "recorder.at"}


def test_one_of_two_relays_is_killed(tmp_path: Path, store: Store) -> None:
    living = make_tap(tmp_path)
    mine = living.exchange(begun := start(body_length=0))
    ended, _ = killed_relay(tmp_path, 7, 50)
    recorder = store.recorder(tmp_path)
    drain(recorder)
    assert store.rows[begun.correlation_id].state is State.IN_FLIGHT
    assert all(store.rows[name].state is State.COMPLETE for name in ended)
    mine.end(end())
    drain(recorder)
    assert store.rows[begun.correlation_id].state is State.COMPLETE


RECORDER = """
import sqlite3, sys
from pathlib import Path
from claudeproxy.capture.recorder import Recorder
database = sqlite3.connect(sys.argv[2], isolation_level=None)
def sink(exchanges, cursors):
    database.execute("BEGIN IMMEDIATE")
    for row in exchanges:
        database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?)", (row.correlation_id, row.state))
    for owner, (segment, offset) in cursors.items():
        database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (owner, segment, offset))
    database.execute("COMMIT")
    print(len(exchanges), flush=True)
load = lambda: {o: (s, f) for o, s, f in database.execute("SELECT owner, segment, byte FROM cursors")}
Recorder(Path(sys.argv[1]), sink, load_cursors=load).run(lambda: False, poll=0.005)
"""


def test_a_killed_recorder_goes_on_where_it_was(tmp_path: Path) -> None:
    """Killed again and again, with a real transaction for rows and cursors: nothing is lost, nothing goes back."""
    database = sqlite3.connect(tmp_path / "db")
    database.executescript(
        "CREATE TABLE rows (id PRIMARY KEY, state);CREATE TABLE cursors (owner PRIMARY KEY, segment, byte);"
    )
    root = tmp_path / "journal"
    tap = make_tap(root, segment_bytes=50_000)
    ids = []
    for _ in range(6):
        pinned = tap.exchange(begun := start(body_length=0))
        ids += [tell(tap, request=[os.urandom(2000)]) for _ in range(150)] + [begun.correlation_id]
        command = [sys.executable, "-c", RECORDER, str(root), str(tmp_path / "db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.send_signal(signal.SIGKILL)
        pinned.end(end())
    tap.writer.close()
    store = Store()
    store.cursors = {o: (s, b) for o, s, b in database.execute("SELECT owner, segment, byte FROM cursors")}
    drain(store.recorder(root))
    states = dict(database.execute("SELECT id, state FROM rows")) | {
        name: str(row.state) for name, row in store.rows.items()
    }
    assert states == dict.fromkeys(ids, "complete")
    database.close()
