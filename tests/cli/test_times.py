from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy_cli.times import NANO, TimeSyntaxError, duration, iso, milliseconds, parse_time, short, to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1.5W", timedelta(days=10.5)),
        ("now", timedelta()),
    ],
)
def test_a_span_is_so_long_ago(text: str, ago: timedelta) -> None:
    assert parse_time(text, now=NOW) == to_ns(NOW - ago)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-11-20T10:00:00Z", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20T10:00:00-08:00", "2026-11-20T10:00:00-08:00"),
        ("2026-11-20 10:00", "2026-11-20T10:00:00+05:30"),
        ("2026-11-20", "2026-11-20T00:00:00+05:30"),
        ("20261120", "2026-11-20T00:00:00+05:30"),
        ("today", "2026-11-22T00:00:00+05:30"),
        ("Yesterday", "2026-11-21T00:00:00+05:30"),
    ],
)
def test_times_without_a_zone_are_the_persons(text: str, meant: str) -> None:
    assert parse_time(text, now=NOW) == to_ns(datetime.fromisoformat(meant))


@pytest.mark.parametrize(("text", "last"), [("yesterday", "2026-11-21"), ("2026-11-20", "2026-11-20")])
def test_a_day_as_an_end_is_taken_whole(text: str, last: str) -> None:
    midnight = to_ns(datetime.fromisoformat(f"{last}T00:00:00+05:30"))
    assert parse_time(text, now=NOW, end=True) == midnight + 86_400 * NANO - 1
    assert parse_time("2026-11-20T10:00Z", now=NOW, end=True) == parse_time("2026-11-20T10:00Z", now=NOW)


@pytest.mark.usefixtures("berlin")
def test_a_day_of_a_clock_change_has_its_own_length() -> None:
    now = datetime(2026, 10, 25, 20, tzinfo=UTC).astimezone()
    span = parse_time("today", now=now, end=True) + 1 - parse_time("today", now=now)
    assert span == 25 * 3600 * NANO


@pytest.mark.parametrize(
    "text", ["", "1", "1y", "h", "-1h", "tomorrow", "2026-13-01", "14:30", "1h 30m", "99999999999w"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(TimeSyntaxError, match=r"is not a time: write|longer ago"):
        parse_time(text, now=NOW)


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1)))
def test_what_is_written_is_read_back(moment: datetime) -> None:
    ns = to_ns(moment)
    text = iso(ns)
    assert text is not None
    assert parse_time(text, now=NOW) == ns


def test_nothing_is_written_for_an_instant_that_never_came() -> None:
    assert iso(None) is None
    assert milliseconds(None) == "-"


@pytest.mark.usefixtures("berlin")
def test_tables_show_local_time_and_no_more_of_the_date_than_is_needed() -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert short(to_ns(datetime(2026, 11, 22, 9, 5, 3, tzinfo=UTC)), now=now) == "10:05:03"
    assert short(to_ns(datetime(2026, 11, 21, 9, 5, tzinfo=UTC)), now=now) == "11-21 10:05"
    assert short(to_ns(datetime(2025, 11, 21, 9, 5, tzinfo=UTC)), now=now) == "2025-11-21"


def test_durations_have_two_units_at_the_most() -> None:
    assert [duration(s) for s in (0.04, 9.94, 12, 60, 185, 7800, 273_600)] == [
        "0.0s",
        "9.9s",
        "12s",
        "1m",
        "3m 5s",
        "2h 10m",
        "3d 4h",
    ]
    assert [milliseconds(ms) for ms in (0, 420, 1400, 12_345)] == ["0ms", "420ms", "1.4s", "12s"]
