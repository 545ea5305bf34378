"""Numbers of several workers, as if one had counted them."""

from __future__ import annotations

from claudeproxy.workers.adding import add, totals

FIRST = {
    "proxy": {"connections": 2, "connections_total": 5, "exchanges": 1, "exchanges_total": 9, "draining": False},
    "capture": {
        "exchanges": 9,
        "open": 1,
        "dropped": 1,
        "journal": {"bytes_held": 10, "last_error": "x"},
    },
    "not_captured_in_pauses": 3,
}
SECOND = {
    "proxy": {"connections": 1, "connections_total": 1, "exchanges": 0, "exchanges_total": 2, "draining": True},
    "capture": {
        "exchanges": 2,
        "open": 0,
        "dropped": 0,
        "journal": {"bytes_held": 5, "last_error": None},
    },
    "not_captured_in_pauses": 0,
}


def test_numbers_are_added_at_any_depth() -> None:
    assert add([FIRST, SECOND]) == {
        "proxy": {"connections": 3, "connections_total": 6, "exchanges": 1, "exchanges_total": 11, "draining": True},
        "capture": {
            "exchanges": 11,
            "open": 1,
            "dropped": 1,
            "journal": {"bytes_held": 15, "last_error": "x"},
        },
        "not_captured_in_pauses": 3,
    }
    assert add([]) == {}


def test_where_nothing_is_captured_there_is_nothing_to_add() -> None:
    assert add([{"capture": None}, {"capture": None}]) == {"capture": None}


def test_totals_outlive_their_worker_and_what_was_open_does_not() -> None:
    left = totals(FIRST)
    assert left == {
        "proxy": {"connections": 0, "connections_total": 5, "exchanges": 0, "exchanges_total": 9, "draining": False},
        "capture": {
            "exchanges": 9,
            "open": 0,
            "dropped": 1,
            "journal": {"bytes_held": 0, "last_error": None},
        },
        "not_captured_in_pauses": 3,
    }
    assert totals({"capture": None}) == {"capture": None}
    assert totals({}) == {}
