from __future__ import annotations

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.store import words
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import SECOND, START, exchange
from tests.store.filling import prompt, record

PART = 4  # documents
SHARED = "help"  # the system prompt of all says so


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(words, "DOCUMENTS", PART)


def retention(storage):
    return Retention(storage, pause=lambda _: None)


def parts(storage):
    return [row[0] for row in storage._connection.execute("SELECT first FROM search_parts ORDER BY first")]


def tables(storage):
    found = storage._connection.execute("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL%fts5%'")
    return {row[0] for row in found}


def found(storage, q):
    return [request.id for request in storage.query_requests(RequestFilters(q=q)).rows]


def fill(storage, count=10):
    return [record(storage, exchange(n, prompt(f"common word{n}"))) for n in range(count)]


def test_a_part_takes_so_many_documents_and_all_are_searched(storage):
    ids = fill(storage)
    assert parts(storage) == [0, 4, 8]
    assert tables(storage) == {"search_words", "search_words_4", "search_words_8"}
    assert found(storage, "common") == ids[::-1]
    assert [found(storage, f"word{n}") for n in range(10)] == [[one] for one in ids]


def test_a_connection_that_is_open_searches_parts_that_came_later(storage, database):
    with CaptureStorage(database, read_only=True) as reader:
        assert found(reader, "common") == []
        ids = fill(storage)
        assert found(reader, "common") == ids[::-1]
        retention(storage).expire(before_ns=START + 8 * SECOND)
        assert found(reader, "common") == ids[:7:-1]


def test_a_part_without_documents_is_dropped_and_what_comes_then_is_found(storage):
    ids = fill(storage)
    retention(storage).expire(before_ns=START + 7 * SECOND)
    left = parts(storage)
    assert left[-1] == 8
    assert len(left) < 3
    assert len(tables(storage)) == len(left)
    ids.append(record(storage, exchange(20, prompt("common again"))))
    assert found(storage, "common") == ids[:6:-1]
    assert [found(storage, f"word{n}") for n in range(8)] == [[]] * 7 + [[ids[7]]]


def test_when_all_goes_an_empty_part_is_left(storage):
    fill(storage)
    retention(storage).expire(before_ns=START + 99 * SECOND)
    assert parts(storage) == [12]
    assert tables(storage) == {"search_words_12"}
    assert found(storage, "common") == []
    assert found(storage, "word3") == []
    ids = fill(storage)
    assert found(storage, "common") == ids[::-1]


def test_what_is_left_in_a_part_that_lost_nearly_all_is_moved_to_the_last_and_found(storage, monkeypatch):
    """FTS5 merges without an end in sight where all words are of deleted documents: such a part is not merged."""
    monkeypatch.setattr(words, "_WORN", 2)
    ids = fill(storage)
    statements = []
    storage._connection.set_trace_callback(statements.append)
    retention(storage).expire(before_ns=START + 9 * SECOND)
    storage._connection.set_trace_callback(None)
    assert parts(storage) == [12]
    assert tables(storage) == {"search_words_12"}
    assert [one for one in statements if "VALUES ('merge', -" in one] == []
    assert found(storage, "common") == found(storage, "word9") == found(storage, SHARED) == ids[9:]
    assert storage._connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert storage.verify().problems == ()


def test_a_retired_table_is_dropped_bit_by_bit_and_by_the_next_run_if_need_be(storage):
    record(storage, exchange(0, prompt(*(" ".join(f"{n}x{k}" for k in range(3_000)) for n in range(3)))))
    with storage.writing():
        storage._search.clear()
        storage._connection.execute(words._CREATE.format(name="search_words_77"))
        storage._search.words._begin(88)
        storage._search.words.add(88, " ".join(f"again{k}" for k in range(100_000)))
    with storage.writing():
        storage._search.words.retire(88)
    with storage.writing():
        assert storage._search.words.retired() == ["search_words_77", "search_words_88"]
        assert storage._search.words.drop("search_words_88", lambda: True)
    assert "search_words_88" in tables(storage)
    retention(storage).expire()
    assert storage._search.words.retired() == []
    assert len(tables(storage)) == 1


def test_only_the_parts_that_lost_words_are_merged(storage):
    """What a purge costs does not grow with what there is beside."""
    ids = fill(storage)
    statements = []
    storage._connection.set_trace_callback(statements.append)
    retention(storage).delete_request(ids[-1])
    storage._connection.set_trace_callback(None)
    assert {one.split()[2] for one in statements if "VALUES ('merge'" in one} == {"search_words_8"}
    assert found(storage, "common") == ids[-2::-1]


def test_the_index_is_emptied_and_made_again(storage):
    ids = fill(storage)
    for _ in range(2):  # emptying what is empty changes nothing
        with storage.writing():
            storage._search.clear()
        assert (parts(storage), tables(storage)) == ([12], {"search_words_12"})
    assert found(storage, "common") == []
    for request_id in storage.unindexed(100):
        storage.index_texts(request_id)
    assert found(storage, "common") == ids[::-1]


def test_beyond_the_most_parts_the_last_one_grows(storage, monkeypatch):
    monkeypatch.setattr(words, "_MOST_PARTS", 2)
    ids = fill(storage)
    assert parts(storage) == [0, 4]
    assert found(storage, "common") == ids[::-1]
    retention(storage).expire(before_ns=START + 9 * SECOND)
    assert found(storage, "common") == ids[9:]


def test_a_part_that_was_begun_in_vain_is_not_there(storage):
    fill(storage, 3)
    before = parts(storage)
    with pytest.raises(StorageError), storage.writing() as connection:
        storage._search.words.add(100, "in vain")
        connection.execute("INSERT INTO no_such_table VALUES (1)")
    assert parts(storage) == before
    assert len(tables(storage)) == len(before)
    record(storage, exchange(50, prompt("common still")))
    assert len(found(storage, "common")) == 4


def test_what_an_earlier_version_indexed_is_the_first_part(storage, database):
    ids = fill(storage, 1)
    run = storage._connection.execute
    run("DROP TABLE search_parts")
    run("DROP VIEW search_found")
    run("INSERT INTO abandoned_nodes VALUES (0)")  # words of deleted texts were in it
    run("DELETE FROM _sqlite_migrations WHERE name = 'm0031_parts'")
    storage.close()
    with CaptureStorage(database) as after:
        assert after._search.words.torn() == [0]
        assert after._connection.execute("SELECT count(*) FROM abandoned_nodes").fetchone()[0] == 0
        assert found(after, "common") == ids
        retention(after).expire()
        assert after._search.words.torn() == []
