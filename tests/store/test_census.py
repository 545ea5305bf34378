"""Everything counted together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.store.census import take_census
from claudeproxy.store.retention import Retention
from tests.store.exchanges import exchange, in_flight, response

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage


def test_an_empty_database_counts_nothing(storage: CaptureStorage) -> None:
    census = take_census(storage)
    assert census.captures == {}
    assert set(census.totals.values()) == set(census.billed.values()) == {0}
    assert census.total_cost is None
    assert census.database_bytes > 0


def test_captures_are_counted_by_state_and_tokens_by_kind(storage: CaptureStorage) -> None:
    storage.record([exchange(1, response=response()), exchange(2, response=response()), in_flight(3)], {})
    census = take_census(storage)
    assert census.captures == {"complete": 2, "in_flight": 1}
    assert (census.totals["requests"], census.totals["latency_count"]) == (3, 2)
    row = storage._all("SELECT sum(output_tokens) AS output, sum(input_tokens) AS input FROM responses")[0]
    assert census.billed["output"] == census.totals["tokens_received"] == (row["output"] or 0)
    assert census.billed["input"] == (row["input"] or 0)


def test_what_was_deleted_stays_in_the_totals_and_leaves_the_captures(storage: CaptureStorage) -> None:
    storage.record([exchange(1, response=response()), exchange(2, response=response())], {})
    before = take_census(storage)
    request_id = storage._all("SELECT id FROM requests LIMIT 1")[0]["id"]
    Retention(storage, pause=lambda _: None).delete_request(request_id)
    after = take_census(storage)
    assert after.totals == before.totals
    assert after.captures == {"complete": 1}
