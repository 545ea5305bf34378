from __future__ import annotations

import pytest

from claudeproxy.store import queries
from tests.store.exchanges import correlation, exchange
from tests.store.explaining import count, explain
from tests.store.five import BODY


def plan(storage, statement, parameters):
    rows = storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
    return [row["detail"] for row in rows]


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        (f"{queries.REQUESTS} WHERE c.n = ?", (1,)),
        (f"{queries.RESPONSES} WHERE n = ?", (1,)),
        (queries.SOURCES, ("x",)),
        (queries.ATTRIBUTIONS, ("x",)),
        (queries.UNDERIVED, {"rules": 1, "tried": "", "limit": 1}),
        ("SELECT * FROM captured_requests WHERE correlation_id = ?", ("x",)),
        ("SELECT * FROM captured_responses WHERE correlation_id = ?", ("x",)),
        ("SELECT n, id FROM requests WHERE id >= ? AND id < ?", ("a", "b")),
    ],
)
def test_a_detail_scans_no_table(filled, statement, parameters):
    """Every step of a detail query is a search; only JSON lists are walked."""
    for step in plan(filled, statement, parameters):
        if step.startswith("SCAN"):
            made = {"SCAN CONSTANT ROW", "SCAN path", "SCAN p", "SCAN parts", "SCAN step", "SCAN size", "SCAN own"}
            assert "VIRTUAL TABLE" in step or step in made, step


def test_what_attributions_read_is_one_path(filled):
    """The view walks the path of the one request: at 200 requests it reads no more than at three."""

    def rows_read():
        seen = 0

        def step():
            nonlocal seen
            seen += 1

        request_id = filled.get_request(correlation(0)).id
        filled._connection.set_progress_handler(step, 1)
        try:
            assert filled.attributions(request_id)
        finally:
            filled._connection.set_progress_handler(None, 0)
        return seen

    before = rows_read()
    for number in range(20, 120):
        (request_id,) = filled.record([exchange(number, BODY)], {})
        result = explain(BODY)
        filled.save_attribution(request_id, result, count(result), rules_version="1")
    assert rows_read() < 1.5 * before
