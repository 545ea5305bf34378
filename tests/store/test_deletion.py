from __future__ import annotations

from claudeproxy.store.deletion import Deleter
from tests.store.exchanges import exchange
from tests.store.filling import counts, prompt, record, talk, unreferenced


def deleter(storage, connection):
    return Deleter(connection, storage._search, lambda number: None)


def numbers(storage):
    return [row[0] for row in storage._connection.execute("SELECT n FROM requests ORDER BY n")]


def test_a_request_goes_at_once_and_its_path_when_it_is_collected(storage):
    record(storage, exchange(0, prompt("a", "b", "c")))
    nodes = counts(storage)["nodes"]
    with storage.writing() as connection:
        deleter(storage, connection).delete(numbers(storage))
    assert (counts(storage)["requests"], counts(storage)["nodes"], counts(storage)["abandoned_nodes"]) == (0, nodes, 1)
    with storage.writing() as connection:
        work = deleter(storage, connection)
        assert not work.collect(lambda: False)
        assert work.counts["nodes"] == nodes
    assert counts(storage)["nodes"] == 0
    assert counts(storage)["abandoned_nodes"] == 0
    assert storage._search.words.torn() == [0]  # its words are in the search index until that is merged


def test_deleting_stops_for_time_and_looks_at_the_clock_after_a_few(storage):
    for number in range(11):
        record(storage, exchange(number, prompt(f"{number}")))
    wanted, looks = numbers(storage), []
    with storage.writing() as connection:
        work = deleter(storage, connection)
        assert work.delete(wanted, lambda: looks.append(1) or len(looks) == 2) == 8
        assert (work.counts["requests"], work.counts["responses"]) == (8, 8)
    assert numbers(storage) == wanted[8:]
    with storage.writing() as connection:
        assert deleter(storage, connection).delete(wanted[8:], lambda: True) == 3
    assert numbers(storage) == []


def test_collecting_stops_when_much_text_leaves_the_index(storage, monkeypatch):
    monkeypatch.setattr("claudeproxy.store.deletion._MOST_TEXT", 10)
    record(storage, exchange(0, prompt(*("much text " + one for one in "abcdefgh"))))
    with storage.writing() as connection:
        deleter(storage, connection).delete(numbers(storage))
    times, more = 0, True
    while more:
        with storage.writing() as connection:
            work = deleter(storage, connection)
            more = work.collect(lambda: False)
            assert work.counts["nodes"] <= 2  # a text, and perhaps a block without any above it
        times += 1
    assert times >= 8
    assert unreferenced(storage) == {}


def test_collecting_stops_for_time_and_goes_on_later(storage):
    """A long path is a thousand nodes: each call does at least one, and notes where it stopped."""
    record(storage, exchange(0, prompt(*"abcdefgh")))
    nodes = counts(storage)["nodes"]
    with storage.writing() as connection:
        deleter(storage, connection).delete(numbers(storage))
    for left in range(nodes - 1, -1, -1):
        with storage.writing() as connection:
            more = deleter(storage, connection).collect(lambda: True)
        assert counts(storage)["nodes"] == left
        assert more or left == 0
    with storage.writing() as connection:
        assert not deleter(storage, connection).collect(lambda: True)
    assert unreferenced(storage) == {}
    assert counts(storage)["blocks"] == 0


def test_a_path_is_collected_up_to_where_another_branches_off(storage):
    talk(storage, "shared", "yes", "only here")
    kept = talk(storage, "shared", "yes", "only there", first=10)
    with storage.writing() as connection:
        work = deleter(storage, connection)
        work.delete(numbers(storage)[:2])
        work.collect(lambda: False)
        assert work.counts["nodes"] == 1
    assert storage.request_body(kept[1]) == prompt("shared", "yes", "only there")
    assert unreferenced(storage) == {}


def test_every_table_that_refers_to_content_is_respected(storage):
    """A table that a later migration adds keeps its blocks without a change here."""
    record(storage, exchange(0, prompt("kept by another table")))
    with storage.writing() as connection:
        connection.execute("CREATE TABLE pinned (block INTEGER REFERENCES blocks(id))")
        connection.execute("INSERT INTO pinned SELECT block FROM nodes WHERE depth = 2")
    with storage.writing() as connection:
        work = deleter(storage, connection)
        work.delete(numbers(storage))
        work.collect(lambda: False)
    assert counts(storage)["blocks"] == 1


def test_no_row_is_looked_for_without_an_index(storage):
    """Each condition under which something goes, and each foreign key's own check, is a search."""
    with storage.writing() as connection:
        conditions = deleter(storage, connection)._unused
        for table, condition in conditions.items():
            assert condition
            steps = connection.execute(f"EXPLAIN QUERY PLAN SELECT {condition}", {"key": 1}).fetchall()
            assert not [
                step["detail"]
                for step in steps
                if step["detail"].startswith("SCAN ") and "CONSTANT" not in step["detail"]
            ], table
