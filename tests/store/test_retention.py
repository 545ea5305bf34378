from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading  # noqa: TID251 - a writer beside the one under test
from collections import Counter

import pytest

from claudeproxy.errors import NotFoundError, StorageError, ValidationError
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.conversation import Conversation
from tests.store.exchanges import REQUEST_HEADERS, SECOND, START, exchange, in_flight, response
from tests.store.filling import answer, bytes_on_disk, counts, prompt, record, talk, unreferenced

SECRET = "heliotrope"  # not a word of any other text here
TEXTS = (f"hide the {SECRET} well", "hidden", "go on", "gone", "and on", "done")


def found(storage, q, **filters):
    return [request.id for request in storage.query_requests(RequestFilters(q=q, **filters)).rows]


def retention(storage):
    return Retention(storage, pause=lambda seconds: None)


def fill(storage, turns=30, *, first=0, seed=1):
    conversation = Conversation(seed=seed, tools=3, system_size=300, result_size=300)
    return [
        record(storage, exchange(first + n, body, response=response(said, number=first + n)))
        for n, (body, said) in enumerate(conversation.turns(turns))
    ]


def many(number):
    """Words that no other number has: some pages of the search index."""
    return " ".join(f"{number}w{word}" for word in range(6_000))


# --- what goes ---------------------------------------------------------------------------------------------------


def test_what_is_older_goes_and_what_is_left_is_whole(storage):
    ids = fill(storage)
    bodies = {request_id: storage.request_body(request_id) for request_id in ids[12:]}
    report = retention(storage).expire(before_ns=START + 12 * SECOND)
    assert (report.requests, report.responses, report.feedback, report.dry_run) == (12, 12, 0, False)
    assert [r.id for r in storage.query_requests(RequestFilters(limit=100)).rows] == ids[:11:-1]
    assert {request_id: storage.request_body(request_id) for request_id in bodies} == bodies
    assert storage.verify().problems == ()
    assert unreferenced(storage) == {}


def test_when_all_goes_nothing_is_left(storage):
    fill(storage)
    storage.record([exchange(40, b"not json", response=response(b"text", number=40))], {})
    retention(storage).expire(before_ns=START + 999 * SECOND)
    assert set(counts(storage).values()) == {0}
    assert storage.verify().problems == ()


def test_a_dry_run_tells_and_changes_nothing(storage):
    fill(storage, 10)
    before = counts(storage)
    report = retention(storage).expire(before_ns=START + 4 * SECOND, dry_run=True)
    assert (report.requests, report.dry_run) == (4, True)
    assert counts(storage) == before
    assert retention(storage).expire(max_bytes=0, dry_run=True).requests == 10


def test_what_is_in_flight_stays(storage):
    (open_one,) = storage.record([in_flight(0, prompt("wait"))], {})
    retention(storage).expire(before_ns=START + SECOND)
    assert storage.get_request(open_one).body == prompt("wait")
    with pytest.raises(NotFoundError, match="in flight"):
        retention(storage).delete_request(open_one)


def test_the_oldest_go_until_the_database_is_small_enough(storage, database):
    for number in range(6):
        fill(storage, 8, first=10 * number, seed=number)
    before = retention(storage).expire().bytes_after
    report = retention(storage).expire(max_bytes=before - 80_000)
    assert report.bytes_after <= before - 80_000
    assert database.stat().st_size == report.bytes_after
    left = storage.query_requests(RequestFilters(limit=100)).rows
    assert 8 <= len(left) == 48 - report.requests
    assert min(r.timestamp for r in left) > START + report.requests // 8 * 10 * SECOND - SECOND


def test_rows_of_relays_that_are_gone_go(storage):
    storage.record([], {"a": (1, 2), "b": (3, 4)})
    retention(storage).expire(owners={"b"})
    assert storage.cursors() == {"b": (3, 4)}


def test_space_is_given_back(storage, database):
    fill(storage)
    report = retention(storage).expire(before_ns=START + 999 * SECOND)
    assert report.bytes_after < report.bytes_before / 2
    assert database.with_name("captures.db-wal").stat().st_size == 0
    assert storage._connection.execute("PRAGMA freelist_count").fetchone()[0] == 0


def test_the_sums_of_what_went_stay(storage):
    run = storage._connection.execute
    fill(storage, 10)
    metrics = [tuple(row) for row in run("SELECT * FROM context_source_metrics").fetchall()]
    retention(storage).expire(before_ns=START + 7 * SECOND)
    assert [tuple(row) for row in run("SELECT * FROM context_source_metrics").fetchall()] == metrics
    assert run("SELECT sum(requests) FROM request_days").fetchone()[0] == 7


# --- what a person wants gone ----------------------------------------------------------------------------------


def test_a_deleted_text_is_nowhere_in_the_files(storage):
    """Not in blocks, answers, header fields, the search index, freed pages or the log."""
    secret_header = ((b"x-note", SECRET.encode()), *REQUEST_HEADERS)
    ids = talk(storage, *TEXTS, headers=secret_header)
    talk(storage, "another", "one", first=20)
    backup = storage.path.with_name("captures.db.before-m0002_lineage")
    backup.write_text(SECRET)
    storage._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    assert SECRET.encode() in bytes_on_disk(storage)
    for request_id in ids:
        report = retention(storage).delete_request(request_id)
        assert report.requests == 1
    assert SECRET.encode() not in bytes_on_disk(storage)
    assert SECRET.encode()[3:] not in bytes_on_disk(storage)  # terms of the index share their beginnings
    assert not backup.exists()
    assert found(storage, SECRET, everywhere=True) == []
    assert storage.query_requests(RequestFilters()).total == 1
    assert storage.verify().problems == ()


def test_what_another_request_carried_stays_and_is_found_there(storage):
    ids = talk(storage, *TEXTS)
    retention(storage).delete_request(ids[0])
    assert found(storage, SECRET) == [ids[1]]
    assert found(storage, "hidden") == [ids[1]]
    assert found(storage, SECRET, everywhere=True) == [ids[2], ids[1]]
    assert storage.verify().problems == ()


def test_after_retention_the_index_is_as_if_made_anew(storage):
    fill(storage, 20)
    fill(storage, 10, first=50)  # the same conversation again, shorter
    retention(storage).expire(before_ns=START + 13 * SECOND)
    run = storage._connection.execute
    dump = "SELECT id, introduced FROM nodes"
    kept = [tuple(row) for row in run(dump).fetchall()]
    with storage.writing():
        storage._search.clear()
    for request_id in storage.unindexed(100):
        storage.index_texts(request_id)
    assert [tuple(row) for row in run(dump).fetchall()] == kept


@pytest.mark.parametrize(
    "filters", [{"session_id": "session-1"}, {"until": START + 2 * SECOND}, {"project": "project"}, {"q": SECRET}]
)
def test_it_deletes_by_any_filter(storage, filters):
    talk(storage, *TEXTS)
    wanted = storage.query_requests(RequestFilters(**filters, everywhere=True)).total
    assert wanted
    assert retention(storage).delete_requests(RequestFilters(**filters), dry_run=True).requests == wanted
    assert retention(storage).delete_requests(RequestFilters(**filters, limit=1)).requests == wanted
    assert storage.query_requests(RequestFilters(**filters)).total == 0
    assert storage.query_requests(RequestFilters()).total == 3 - wanted


@pytest.mark.parametrize("filters", [{}, {"q": " "}, {"limit": 1, "offset": 2, "as_of": 3, "everywhere": True}])
def test_without_a_filter_nothing_is_deleted(storage, filters):
    talk(storage, *TEXTS)
    with pytest.raises(ValidationError, match="filter is required"):
        retention(storage).delete_requests(RequestFilters(**filters))
    assert storage.query_requests(RequestFilters()).total == 3


def test_header_fields_that_are_still_named_stay(storage):
    ids = talk(storage, *TEXTS)
    headers = storage.get_request(ids[2]).headers
    retention(storage).delete_request(ids[0])
    assert storage.get_request(ids[2]).headers == headers
    assert counts(storage)["header_fields"] > 0


@pytest.mark.parametrize("share", [0, 1_000_000])
def test_a_step_merges_as_much_of_the_index_as_its_time_allows(storage, monkeypatch, share):
    """The words of a single capture leave the whole index, so all of it is merged: in few steps, if they are short."""
    monkeypatch.setattr("claudeproxy.store.retention._MERGED", share)
    ids = [record(storage, exchange(n, prompt(many(n)))) for n in range(8)]
    merges = [0]  # in each transaction

    def count(statement):
        if statement == "COMMIT":
            merges.append(0)
        merges[-1] += "VALUES ('merge'" in statement

    storage._connection.set_trace_callback(count)
    retention(storage).delete_request(ids[0])
    storage._connection.set_trace_callback(None)
    assert sum(merges) > 4
    assert max(merges) == (sum(merges) if share else 1)
    assert found(storage, "0w17") == []
    assert found(storage, "1w17") == [ids[1]]


# A statement of each: of a few requests' deletion, of a node's, and so on.
_PARTS = ("INTO request_days", "explanation FROM nodes", "'merge'", "UPDATE nodes SET introduced", "incremental_vacuum")


def test_no_step_goes_on_when_its_time_is_over(storage, monkeypatch):
    """Each part of the work takes 9 ms of an injected clock: after the third the 20 of a step are over."""
    clock, steps = 0.0, [Counter()]
    monkeypatch.setattr("claudeproxy.store.steps.time.monotonic", lambda: clock)
    monkeypatch.setattr("claudeproxy.store.steps.time.thread_time", lambda: 0.0)
    monkeypatch.setattr("claudeproxy.store.words._MERGE_PAGES", 1)
    fill(storage, 30)
    fill(storage, 20, first=50)  # the same conversation: its nodes stay, with another earliest request
    for number in range(8):
        record(storage, exchange(number, prompt(many(number))))

    def work(statement):
        nonlocal clock
        if statement == "COMMIT":
            steps.append(Counter())
        for part in _PARTS:
            if part in statement:
                clock += 0.009
                steps[-1][part] += 1

    storage._connection.set_trace_callback(work)
    Retention(storage, pause=lambda _: None).expire(before_ns=START + 40 * SECOND)
    storage._connection.set_trace_callback(None)
    assert [step for step in steps if sum(step.values()) > 3] == []
    total = sum(steps, Counter())
    assert all(total[part] > 3 for part in _PARTS), total


# --- beside a recorder -----------------------------------------------------------------------------------------


def test_a_recorder_that_remembers_deleted_ids_records_rightly(storage, database):
    """Blocks and nodes are protected by foreign keys; header fields by the count of deletions."""
    body = prompt("remember", "me", "again")
    storage.record([exchange(n, body) for n in range(3)], {})
    with CaptureStorage(database) as other:
        retention(other).expire(before_ns=START + 999 * SECOND)
        assert counts(other)["header_fields"] == 0
    request_id = record(storage, exchange(7, body))
    assert storage.get_request(request_id).headers[: len(REQUEST_HEADERS)] == tuple(
        (name.decode(), value.decode()) for name, value in REQUEST_HEADERS
    )
    assert storage.request_body(request_id) == body
    assert storage.verify().problems == ()


def test_a_node_taken_up_before_it_was_collected_stays(storage):
    body = prompt("come back")
    record(storage, exchange(0, body))
    steps = []

    def come_back(seconds):
        if not steps:  # after the request went, before its path is collected
            steps.append(record(storage, exchange(1, body)))

    Retention(storage, pause=come_back).expire(before_ns=START + SECOND)
    assert storage.request_body(steps[0]) == body
    assert found(storage, "back") == steps
    assert storage.verify().problems == ()


def test_others_write_and_read_while_much_is_deleted(storage, database):
    """A deletion is many short transactions, between which others get theirs: how long they wait is a benchmark's."""
    fill(storage, 60)
    written, stop = [], threading.Event()

    def write():
        with CaptureStorage(database) as other:
            number = 1000
            while not stop.is_set():
                number += 1
                other.record([exchange(number, prompt("meanwhile"))], {})
                written.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = Retention(storage).expire(before_ns=START + 60 * SECOND)
    finally:
        stop.set()
        writer.join()
    assert report.requests == 60
    assert len(written) > 5
    assert storage.verify().problems == ()


_KILLED = """
import sys, os
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
steps = int(sys.argv[2])
def pause(seconds):
    global steps
    steps -= 1
    if steps == 0:
        os.kill(os.getpid(), {signal})
Retention(CaptureStorage(sys.argv[1]), pause=pause).delete_requests(RequestFilters(session_id="session-1"))
"""


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 7])
def test_a_crash_in_the_middle_leaves_a_consistent_database_and_the_next_run_finishes(storage, database, steps):
    fill(storage, 20)
    others = talk(storage, "stay", "here", first=100)
    with storage.writing() as connection:
        connection.execute("UPDATE requests SET session_id = 'another' WHERE id = ?", (others[0],))
    storage.close()
    code = _KILLED.format(signal=int(getattr(signal, "SIGKILL", signal.SIGTERM)))
    ended = subprocess.run([sys.executable, "-c", code, str(database), str(steps)], cwd=os.getcwd(), check=False)
    assert ended.returncode != 0
    with CaptureStorage(database) as after:
        assert after.verify().problems == ()
        assert found(after, "stay") == others
        before = counts(after)
        retention(after).delete_requests(RequestFilters(session_id="session-1"))
        retention(after).expire()
        assert unreferenced(after) == {}
        assert counts(after)["requests"] == 1
        assert counts(after)["abandoned_nodes"] == 0
        assert before["requests"] >= 1
        assert after.verify().problems == ()


def test_words_whose_merging_was_stopped_leave_the_index_with_the_next_run(storage, monkeypatch):
    """Nothing is left to delete then: that they are still there must have been noted."""
    monkeypatch.setattr("claudeproxy.store.words._MERGE_PAGES", 1)
    monkeypatch.setattr("claudeproxy.store.retention._MERGED", 0)
    gone, _ = (record(storage, exchange(n, prompt(f"{SECRET if not n else ''} {many(n)}"))) for n in range(2))
    in_index = "SELECT count(*) FROM search_words_data WHERE instr(block, CAST(? AS BLOB))"

    def stop(_):
        if any("'merge', -" in one for one in statements):
            raise KeyboardInterrupt

    statements = []
    storage._connection.set_trace_callback(statements.append)
    with pytest.raises(KeyboardInterrupt):
        Retention(storage, pause=stop).delete_request(gone)
    storage._connection.set_trace_callback(None)
    assert found(storage, SECRET) == []
    assert storage._connection.execute(in_index, (SECRET[3:],)).fetchone()[0] > 0
    retention(storage).expire()
    assert storage._connection.execute(in_index, (SECRET[3:],)).fetchone()[0] == 0
    assert storage._search.words.torn() == []


def test_a_storage_that_cannot_be_written_says_so(storage, database):
    talk(storage, *TEXTS)
    with CaptureStorage(database, read_only=True) as reader, pytest.raises(StorageError):
        retention(reader).expire(before_ns=START + SECOND)


def test_expiring_with_an_answer_of_its_own_takes_its_words_out(storage):
    """The last answer of a conversation is in no block: its words are read from the response once more."""
    talk(storage, "question", f"the {SECRET} answer")
    retention(storage).expire(before_ns=START + 10 * SECOND)
    run = storage._connection.execute
    assert run("SELECT rowid FROM search_words WHERE search_words MATCH ?", (SECRET,)).fetchall() == []
    storage.record([exchange(5, prompt("x"), response=response(answer("y"), number=5))], {})
