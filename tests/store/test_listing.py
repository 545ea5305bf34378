from __future__ import annotations

import pytest

from claudeproxy.model import Instants
from claudeproxy.store import listing
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import SECOND, START, correlation, exchange
from tests.store.five import PLAIN

NUMBERS = {correlation(number): number for number in range(5)}


@pytest.fixture
def ask(filled):
    def ask(**filters):
        page = filled.query_requests(RequestFilters(**filters))
        if "limit" not in filters and "offset" not in filters:
            assert page.total == len(page.rows)
        return [NUMBERS[row.correlation_id] for row in page.rows]

    return ask


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"since": START + SECOND}, [4, 3, 2, 1]),
        ({"until": START + SECOND}, [0]),
        ({"since": START + SECOND, "until": START + 3 * SECOND}, [2, 1]),
        ({"source": "MCP: context7"}, [2, 0]),
        ({"source": "context7"}, [2, 0]),
        ({"source": "nobody"}, []),
        ({"source_type": "User"}, [2, 1, 0]),
        ({"source_type": "McpServer", "source": "system prompt"}, []),
        ({"request_class": "main"}, [2, 0]),
        ({"method": "GET"}, [3]),
        ({"path": "/v1/messages"}, [4, 3, 1, 0]),
        ({"path": "/v1/messages*"}, [4, 3, 2, 1, 0]),
        ({"path": "/v1/messages/*"}, [2]),
        ({"model": "haiku"}, [1]),
        ({"status": 529}, [3]),
        ({"status": 200}, [2, 1, 0]),
        ({"state": "in_flight"}, [4]),
        ({"session_id": "s1"}, [1, 0]),
        ({"agent_id": "a2"}, [1]),
        ({"project": "/home/ann/alpha"}, [0]),
        ({"project": "alpha"}, [2, 0]),
        ({"project": "ann/beta"}, [1]),
        ({"project": "pha"}, []),
        ({"session_id": "s1", "model": "opus", "source": "context7", "status": 200}, [0]),
    ],
)
def test_every_filter_alone_and_combined(ask, filters, expected):
    assert ask(**filters) == expected


def test_what_cost_more_than_an_amount_is_found(filled, ask):
    """More, not as much; and never what has no price."""
    with filled.writing() as connection:
        for number, cost in ((0, 500_000_000_000), (1, 500_000_000_001), (2, 2**62), (3, None)):
            connection.execute("UPDATE requests SET cost = ? WHERE correlation_id = ?", (cost, correlation(number)))
    assert ask(over=500_000_000_000) == [2, 1]
    assert ask(over=0, session_id="s1") == [1, 0]


def test_pages_are_stable_while_captures_arrive(filled):
    """as_of of the first page leaves newer arrivals out of the next ones, also when they are older by their instant."""
    first = filled.query_requests(RequestFilters(limit=2))
    assert (len(first.rows), first.total) == (2, 5)
    late = Instants(request_initiated=START - SECOND)
    filled.record([exchange(10, PLAIN), exchange(11, PLAIN, instants=late)], {})
    second = filled.query_requests(RequestFilters(limit=2, offset=2, as_of=first.as_of))
    third = filled.query_requests(RequestFilters(limit=2, offset=4, as_of=first.as_of))
    assert [NUMBERS[row.correlation_id] for page in (first, second, third) for row in page.rows] == [4, 3, 2, 1, 0]
    assert second.total == third.total == 5
    assert filled.query_requests(RequestFilters()).total == 7


def test_equal_instants_are_in_order_of_arrival(storage):
    same = Instants(request_initiated=START)
    ids = storage.record([exchange(n, PLAIN, instants=same) for n in range(6)], {})
    assert [row.id for row in storage.query_requests(RequestFilters()).rows] == ids[::-1]


def plan(storage, statement, parameters):
    rows = storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [row["detail"] for row in rows]


def test_the_list_walks_an_index_and_sorts_nothing(filled):
    """Newest first comes from requests_time; a page of twenty reads twenty rows."""
    query = listing.list_query(RequestFilters(since=START), as_of=10)
    steps = plan(filled, query.rows, query.parameters)
    assert any("requests_time" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)
    assert any("SEARCH p USING INTEGER PRIMARY KEY" in step for step in steps)


def test_a_session_is_read_from_its_own_index(filled):
    query = listing.list_query(RequestFilters(session_id="s1"), as_of=10)
    steps = plan(filled, query.rows, query.parameters)
    assert any("requests_session" in step for step in steps), steps
    assert not any("TEMP B-TREE" in step and "ORDER" in step for step in steps), steps


def test_what_a_set_found_is_counted_on_any_page(filled):
    """A page beyond the last one is empty, and still tells how many match."""
    for offset, rows in ((0, 2), (2, 1), (3, 0), (50, 0)):
        page = filled.query_requests(RequestFilters(source_type="User", limit=2, offset=offset))
        assert (len(page.rows), page.total) == (rows, 3)
