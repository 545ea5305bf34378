"""Pieces of context across requests: counted without being expanded, and paged through."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.contexts import COUNTS_OF_ALL, TOTAL, ContextFilters, query_attributions
from claudeproxy.store.schema.contexts import count_segments
from tests.accounting.billing import MODEL, Conversation
from tests.store.accounting import Recorder
from tests.store.exchanges import exchange
from tests.store.explaining import count, explain
from tests.store.filling import prompt
from tests.store.older import before_runs

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage


@pytest.fixture
def filled(storage: CaptureStorage) -> CaptureStorage:
    """Three requests that share beginnings, one of another kind, one that nobody explained."""
    bodies = [prompt("one"), prompt("one", "two"), prompt("one", "two", "three"), b'{"model":"m","messages":[]}']
    for number, body in enumerate(bodies):
        request_id = storage.capture_request(exchange(number, body))
        result = explain(body)
        storage.save_attribution(request_id, result, count(result), rules_version="1")
    storage.capture_request(exchange(9, prompt("nobody")))
    return storage


def newest_first(storage: CaptureStorage) -> list[str]:
    """Ids of all pieces as each request's own list has them."""
    rows = storage._all("SELECT id FROM requests ORDER BY request_initiated DESC, n DESC")
    return [piece.id for row in rows for piece in storage.attributions(row["id"])]


def test_without_filters_it_is_every_piece_newest_request_first(filled: CaptureStorage) -> None:
    page = query_attributions(filled, ContextFilters())
    assert [one.id for one in page.rows] == newest_first(filled)
    assert page.total == len(page.rows) > 10


def test_pages_of_any_size_put_together_are_the_whole(filled: CaptureStorage) -> None:
    whole = newest_first(filled)
    for size in (1, 2, 3, 7, len(whole), len(whole) + 1):
        pages = [
            query_attributions(filled, ContextFilters(limit=size, offset=offset))
            for offset in range(0, len(whole) + size, size)
        ]
        assert [one.id for page in pages for one in page.rows] == whole
        assert {page.total for page in pages} == {len(whole)}


def test_the_total_of_every_source_is_the_number_of_its_pieces(filled: CaptureStorage) -> None:
    every = query_attributions(filled, ContextFilters()).rows
    sources = {(one.source.type, one.source.name) for one in every}
    for kind, name in sources:
        wanted = [one.id for one in every if one.source.type == kind and (name is None or one.source.name == name)]
        page = query_attributions(filled, ContextFilters(source_type=kind, source_name=name))
        assert ([one.id for one in page.rows], page.total) == (wanted, len(wanted))


def test_pages_of_what_was_billed_beside_the_prompt_are_its_rows_of_the_whole(storage: CaptureStorage) -> None:
    """They are found without expanding a prompt, and are the same pieces."""
    recorder, conversation = Recorder(storage), Conversation(model=MODEL)
    for _ in range(3):
        body = conversation.say()
        recorder.send(body, *conversation.answer(body))
    every = query_attributions(storage, ContextFilters()).rows
    outputs = [one for one in every if one.kind == "output"]
    assert len(outputs) >= 3
    name = outputs[0].source.name
    page = query_attributions(storage, ContextFilters(source_name=name, limit=2, offset=1))
    assert list(page.rows) == [one for one in outputs if one.source.name == name][1:3]


def test_a_request_goes_by_either_of_its_ids_and_an_unknown_one_has_none(filled: CaptureStorage) -> None:
    row = filled._all("SELECT id, correlation_id FROM requests WHERE n = 2")[0]
    pieces = filled.attributions(row["id"])
    for name in (row["id"], row["correlation_id"]):
        assert list(query_attributions(filled, ContextFilters(request_id=name)).rows) == pieces
    assert query_attributions(filled, ContextFilters(request_id="nobody")).total == 0


def test_times_bound_the_requests(filled: CaptureStorage) -> None:
    first, second = (row[0] for row in filled._all("SELECT request_initiated FROM requests ORDER BY 1 LIMIT 2"))
    only = query_attributions(filled, ContextFilters(since=first, until=second))
    assert len({one.request_id for one in only.rows}) == 1
    assert query_attributions(filled, ContextFilters(since=second)).total + only.total == len(newest_first(filled))
    assert query_attributions(filled, ContextFilters(until=first)).total == 0


def test_a_limit_of_nothing_still_counts(filled: CaptureStorage) -> None:
    page = query_attributions(filled, ContextFilters(limit=0))
    assert (page.rows, page.total) == ([], len(newest_first(filled)))


def test_counts_of_an_older_database_are_made_from_what_it_holds(filled: CaptureStorage) -> None:
    kept = filled._all("SELECT request, source, segments FROM request_sources ORDER BY 1, 2")
    with filled.writing() as connection:
        before_runs(filled)
        connection.execute("UPDATE request_sources SET segments = 0")
        count_segments(connection)
    made = filled._all("SELECT request, source, segments FROM request_sources ORDER BY 1, 2")
    assert [tuple(row) for row in made] == [tuple(row) for row in kept]
    assert all(row["segments"] > 0 for row in made)


def test_requests_are_read_in_order_of_time_without_sorting(filled: CaptureStorage) -> None:
    with filled.reading() as connection:
        statement = COUNTS_OF_ALL.format(request="q.request_initiated >= 0")
        plan = [str(row["detail"]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()]
        total = TOTAL.format(request="true", source="s.source = 1")
        counted = [str(row["detail"]) for row in connection.execute(f"EXPLAIN QUERY PLAN {total}").fetchall()]
    assert any("requests_time" in step for step in plan)
    assert not any("TEMP B-TREE" in step for step in plan)
    assert any("source_runs_source" in step for step in counted)


def test_a_snapshot_is_not_held_afterwards(filled: CaptureStorage) -> None:
    query_attributions(filled, ContextFilters(limit=1))
    with filled.reading() as connection:
        assert isinstance(connection, sqlite3.Connection)
        assert not connection.in_transaction
