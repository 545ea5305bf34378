from __future__ import annotations

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.store.steps import Steps
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import exchange
from tests.store.filling import prompt


def test_after_each_step_comes_a_pause_in_which_others_get_the_lock(storage):
    pauses = []
    steps = Steps(storage, pauses.append)
    for _ in range(3):
        with steps.step() as connection:
            connection.execute("UPDATE deletions SET count = count + 1")
    assert len(pauses) == 3
    assert min(pauses) >= 0.003
    assert pauses[-1] >= steps.last / 2
    assert 0 < steps.last <= steps.longest


def test_a_step_has_had_its_time_by_the_processor_or_by_the_clock(storage, monkeypatch):
    clock = processor = 0.0
    monkeypatch.setattr("claudeproxy.store.steps.time.monotonic", lambda: clock)
    monkeypatch.setattr("claudeproxy.store.steps.time.thread_time", lambda: processor)
    steps = Steps(storage, lambda _: None)
    with steps.step():
        assert steps.share() == 0
        clock, processor = 0.01, 0.002
        assert steps.share() == pytest.approx(0.5)
        processor = 0.008
        assert steps.share() == pytest.approx(1)
        clock = 0.04
    assert (steps.last, steps.used) == (pytest.approx(0.04), pytest.approx(2))


def test_a_step_that_fails_is_undone(storage):
    with pytest.raises(StorageError), Steps(storage, lambda _: None).step() as connection:
        connection.execute("INSERT INTO cursors VALUES ('a', 1, 2)")
        connection.execute("INSERT INTO abandoned_nodes VALUES (77)")
    assert storage.cursors() == {}


def test_free_pages_and_the_log_are_given_back(storage, database):
    storage.record([exchange(n, prompt(f"{n}" * 20_000)) for n in range(200)], {})
    storage.record([exchange(999, b"x" + bytes(n % 251 for n in range(3_000_000)))], {})
    steps = Steps(storage, lambda _: None)
    full = steps.used_bytes()
    with storage.writing() as connection:
        connection.execute("DELETE FROM requests")
    assert steps.used_bytes() < full
    steps.give_back()
    assert steps.file_bytes() == steps.used_bytes() == database.stat().st_size


def test_a_reader_that_holds_a_snapshot_keeps_the_log_but_not_the_work(storage, database):
    storage.record([exchange(0, prompt("x"))], {})
    with CaptureStorage(database, read_only=True) as reader, reader.reading() as snapshot:
        snapshot.execute("BEGIN")
        snapshot.execute("SELECT * FROM requests").fetchall()
        storage.record([exchange(1, prompt("y"))], {})
        pauses = []
        Steps(storage, pauses.append).give_back()
        assert pauses.count(0.1) == 10
        snapshot.execute("ROLLBACK")
    assert storage._connection.execute("PRAGMA busy_timeout").fetchone()[0] == 5000
