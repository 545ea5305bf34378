"""ISO 8601 outside, nanoseconds inside."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.api.times import iso, iso_or_none, parse_time, within_reach

NEW_YEAR = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


def test_a_time_is_written_in_utc_with_a_z_and_microseconds() -> None:
    assert iso(NEW_YEAR) == "2026-01-01T00:00:00.000000Z"
    assert iso(NEW_YEAR + 123_456_789) == "2026-01-01T00:00:00.123456Z"
    assert iso_or_none(None) is None
    assert iso_or_none(0) == "1970-01-01T00:00:00.000000Z"


@given(st.integers(0, (1 << 62)))
@settings(max_examples=100)
def test_a_time_is_read_back_to_the_microsecond(nanoseconds: int) -> None:
    assert parse_time(iso(nanoseconds)) == nanoseconds // 1000 * 1000


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01",
        "2026-01-01 00:00:00",
        " 2026-01-01T00:00:00.000Z ",
        "20260101T000000Z",
        "2026-01-01T02:00:00+02:00",
        "2026-01-01T02:00:00 02:00",  # a plus sign that a query string made a space
        "2025-12-31T19:00:00-05:00",
    ],
)
def test_one_moment_may_be_spelled_in_many_ways(text: str) -> None:
    assert parse_time(text) == NEW_YEAR


@pytest.mark.parametrize("text", ["", "yesterday", "1767225600", "2026-13-01", "2026-01-01T25:00Z", "1h"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="2026-01-31T09:30:00Z"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("1969-12-31T23:59:59Z", 0),
        ("0001-01-01", 0),
        ("0000-01-01T00:00:00Z", 0),  # RFC 3339 has a year 0
        ("2500-01-01", (1 << 63) - 1),
        ("9999-12-31t23:59:59z", (1 << 63) - 1),
        ("2026-01-01", NEW_YEAR),
    ],
)
def test_times_that_no_capture_can_have_become_the_nearest_that_the_database_holds(text: str, nearest: int) -> None:
    assert within_reach(parse_time(text)) == nearest


def test_no_time_stays_none() -> None:
    assert within_reach(None) is None
