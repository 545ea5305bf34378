from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.store.steps import Steps
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import exchange
from tests.store.filling import prompt

LOG = ("wal_autocheckpoint", "page_size")


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
    assert steps.last == pytest.approx(0.04)


def test_a_step_leaves_time_for_its_commit_as_long_as_the_last_ones_took(storage, monkeypatch):
    clock = 0.0
    monkeypatch.setattr("claudeproxy.store.steps.time.monotonic", lambda: clock)
    monkeypatch.setattr("claudeproxy.store.steps.time.thread_time", lambda: 0.0)
    steps, commits = Steps(storage, lambda _: None), [0.004, 0.5, 0.0, 0.0]

    def commit(statement):
        nonlocal clock
        if statement == "COMMIT":
            clock += commits.pop(0)

    storage._connection.set_trace_callback(commit)
    had = []
    while commits:
        with steps.step():
            had.append(steps.share())
    assert had == pytest.approx([0, 0.2, 0.5, 0.45])  # never more than half: something must get done


def test_a_step_that_fails_is_undone(storage):
    with pytest.raises(StorageError), Steps(storage, lambda _: None).step() as connection:
        connection.execute("INSERT INTO cursors VALUES ('a', 1, 2)")
        connection.execute("INSERT INTO abandoned_nodes VALUES (77)")
    assert storage.cursors() == {}


def test_where_the_log_is_long_what_a_step_has_written_is_in_the_file_before_others_write(storage, database):
    """Else the recorder's next commit would take it there, and wait for the disk."""
    found = []

    def look(_):
        with closing(sqlite3.connect(f"file:{database}?immutable=1", uri=True)) as file:  # without the log
            found.append(file.execute("SELECT count FROM deletions").fetchone()[0])

    def write():
        with steps.step() as connection:
            connection.execute("UPDATE deletions SET count = count + 1")

    steps = Steps(storage, look)
    storage._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    write()
    assert found == [0]  # too little for that
    storage.record([exchange(0, random.Random(0).randbytes(1_000_000))], {})
    for _ in range(3):
        write()
    assert found == [0, 2, 3, 4]


def test_a_log_that_has_become_long_is_made_to_begin_anew(storage, database):
    """By itself it does only when nobody wrote while it was moved, and then others' commits would have to move it."""
    length, page = (storage._connection.execute(f"PRAGMA {one}").fetchone()[0] for one in LOG)
    statements, restarts = [], []
    steps = Steps(storage, lambda _: restarts.append(statements.count("PRAGMA wal_checkpoint(RESTART)")))
    storage._connection.set_trace_callback(statements.append)
    with CaptureStorage(database) as recorder:
        for part in (0.1, 0.8, 0.1):
            body = random.Random(0).randbytes(int(length * page * part))
            recorder.record([exchange(len(restarts), body)], {})
            with steps.step() as connection:
                connection.execute("UPDATE deletions SET count = count + 1")
    assert restarts == [0, 1, 1]


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


def test_pages_are_given_back_for_as_long_as_there_is_time(storage, monkeypatch):
    clock = 0.0
    monkeypatch.setattr("claudeproxy.store.steps.time.monotonic", lambda: clock)
    monkeypatch.setattr("claudeproxy.store.steps.time.thread_time", lambda: 0.0)
    storage.record([exchange(n, prompt(f"{n}" * 20_000)) for n in range(50)], {})
    with storage.writing() as connection:
        connection.execute("CREATE TABLE filler (data BLOB)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(100000))")
        connection.execute("DROP TABLE filler")

    def vacuum(statement):
        nonlocal clock
        clock += 0.01 if "incremental_vacuum" in statement else 0

    def free():
        return storage._connection.execute("PRAGMA freelist_count").fetchone()[0]

    steps, before = Steps(storage, lambda _: None), free()
    storage._connection.set_trace_callback(vacuum)
    assert not steps.give_back(0.05)
    assert before - free() == 6  # two a step of 20 ms
    assert steps.give_back()
    assert free() == 0


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
