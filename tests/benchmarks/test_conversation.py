"""Turns of a conversation: which are looked at together, and what a turn may take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from conversation import Cost, around, cheapest, picture, record, summary

from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from pathlib import Path


def costs(turns: int, *, scan: float = 100e6) -> list[Cost]:
    """Turns of 6 KB each that take 1 ms for each new KB and scan at so many bytes a second."""
    found = []
    for number in range(1, turns + 1):
        body = 50_000 + 6_000 * number
        cpu = 0.006 + body / scan
        found.append(Cost(number=number, body=body, new=4_000, answer=2_000, in_flight=cpu / 2, ended=cpu / 2))
    return [*found, Cost(number=0, body=40_000, new=40_000, answer=100, in_flight=5.0, ended=5.0)]


def test_the_first_turn_and_subagents_are_not_among_the_turns_that_are_looked_at():
    assert [cost.number for cost in around(costs(200), 2)] == [2, 3, 4, 5, 6, 7, 8]
    assert [cost.number for cost in around(costs(200), 50)] == [47, 48, 49, 50, 51, 52, 53]
    assert [cost.number for cost in around(costs(200), 200)] == [194, 195, 196, 197, 198, 199, 200]


def test_of_each_exchange_the_round_that_was_disturbed_least_counts():
    first = costs(5)
    second = [replace(cost, in_flight=cost.in_flight * (2 if cost.number % 2 else 0.5)) for cost in first]
    assert [cost.in_flight for cost in cheapest([first, second])] == [
        cost.in_flight * (1 if cost.number % 2 else 0.5) for cost in first
    ]


def test_cpu_is_divided_into_the_scan_of_the_body_and_what_is_new():
    found = summary(costs(200))
    assert found["scan_mb_per_second"] == pytest.approx(100)
    turn = found["turns"][-1]
    assert turn["turn"] == 200
    assert turn["new_ms"] == pytest.approx(6)
    assert turn["scan_ms"] == pytest.approx(turn["body_kb"] / 100)


def test_a_turn_may_take_twice_the_second_turns_time_for_new_bytes_and_a_scan_at_200_mb_a_second():
    turn = summary(costs(200))["turns"][-1]
    second = 0.006 + 68_000 / 100e6  # the median of turns 2 to 8: turn 5 has 80 KB
    allowed = 2 * (0.006 + 80_000 / 100e6) + turn["body_kb"] * 1000 / 200e6
    assert second < allowed / 2
    assert turn["allowed_ms"] == pytest.approx(1000 * allowed)
    assert turn["of_allowed"] == pytest.approx(turn["cpu_ms"] / turn["allowed_ms"])


def test_the_conversation_goes_through_journal_and_recorder_whole(tmp_path: Path):
    found = record(3, tmp_path)
    with CaptureStorage(tmp_path / "captures.db", read_only=True) as storage:
        rows = storage.query_requests(RequestFilters()).rows
    assert [row.body_length for row in reversed(rows)] == [cost.body for cost in found]
    assert all(row.response_tokens and row.total_tokens for row in rows)
    assert all(cost.in_flight > 0 and cost.ended > 0 for cost in found)
    assert found[0].new > 40_000 > found[1].new > 1_000
    assert picture(found).startswith("<svg")
