from __future__ import annotations

import random

import pytest

from claudeproxy.insight.quota import NO_SESSION, NOT_EXPLAINED, Quota
from claudeproxy.insight.quota_values import QuotaBy
from claudeproxy.store.aggregates import HOUR
from claudeproxy.store.retention import Retention
from tests.insight.using import DOCS, SKILL, USER, explain
from tests.store.exchanges import SECOND, START
from tests.store.limits import RESET, answered, bucket, unified

MINUTE = 60 * SECOND
BEGIN = START // HOUR * HOUR


def record(storage, number, said, *, minute, lasts=10, tokens=100, parts=None, **changes):
    (request_id,) = storage.record(
        [answered(number, said, at=BEGIN + minute * MINUTE, lasts=lasts, tokens=tokens, **changes)], {}
    )
    if parts is not None:
        explain(storage, request_id, parts)
    return request_id


def say(storage, number, column, value):
    with storage.writing() as connection:
        connection.execute(f"UPDATE requests SET {column} = ? WHERE n = ?", (value, number + 1))


def eaten(storage, by=QuotaBy.HOUR, **bounds):
    return {use.window: {one.key: one.millionths for one in use.shares} for use in Quota(storage).eaten(by, **bounds)}


def minute(number):
    return str((BEGIN + number * MINUTE) // HOUR * HOUR)


def test_nothing_captured_is_nothing(storage):
    quota = Quota(storage)
    assert quota.windows() == quota.history() == quota.eaten(QuotaBy.SOURCE) == []


def test_windows_are_as_they_were_last_seen(storage):
    record(storage, 0, unified("0.25"), minute=0)
    record(storage, 1, unified("0.5", status="allowed_warning"), minute=90)
    unified_all, five = Quota(storage).windows()
    assert (five.window, five.used, five.status, five.at) == (
        "5h",
        0.5,
        "allowed_warning",
        BEGIN + 90 * MINUTE + SECOND,
    )
    assert (five.account, five.reset, five.limit) == ("00ff", RESET, None)
    assert (unified_all.window, unified_all.used) == ("unified", None)


def test_history_is_by_the_hour_and_outlives_the_captures(storage):
    for number, (used, at) in enumerate([("0.1", 0), ("0.3", 10), ("0.4", 70)]):
        record(storage, number, unified(used), minute=at)
    quota = Quota(storage)
    Retention(storage, pause=lambda _: None).expire(before_ns=BEGIN + 5 * HOUR)
    first, second = quota.history(window="5h")
    assert (first.start, first.samples, first.least, first.most, first.latest.used) == (BEGIN, 2, 0.1, 0.3, 0.3)
    assert second.start == BEGIN + HOUR
    assert [one.start for one in quota.history(window="5h", since=BEGIN + HOUR)] == [BEGIN + HOUR]
    assert [one.start for one in quota.history(window="5h", until=BEGIN + HOUR)] == [BEGIN]
    assert len(quota.history()) == 4
    assert quota.eaten(QuotaBy.HOUR) == []


def test_a_rise_is_laid_on_the_requests_in_between(storage):
    """The first answer tells of what was there before; the rise after it is the two requests', by weight."""
    record(storage, 0, unified("0.1"), minute=0, tokens=300)
    record(storage, 1, unified("0.2"), minute=5, tokens=100)
    record(storage, 2, unified("0.2"), minute=70, tokens=1)
    (use,) = Quota(storage).eaten(QuotaBy.HOUR)
    assert (use.window, use.account, use.used, use.requests) == ("5h", "00ff", 0.1, 3)
    assert [(one.key, one.millionths, one.used, one.requests) for one in use.shares] == [
        (str(BEGIN), 100_000, 0.1, 2),
    ]


def test_cost_decides_where_it_is_known(storage):
    for number in range(2):
        record(storage, number, unified(f"0.{number + 1}"), minute=number * 70, lasts=30)
        say(storage, number, "cost", (1, 3)[number])
    assert eaten(storage) == {"5h": {minute(0): 25_000, minute(70): 75_000}}
    say(storage, 0, "cost", None)
    assert eaten(storage) == {"5h": {minute(0): 50_000, minute(70): 50_000}}


def test_what_does_not_move_the_number_counts_with_the_next_rise(storage):
    """Utilisation is told in whole per cents: a rise is the work of all requests since the one before."""
    for number, used in enumerate(["0.1", "0.11", "0.11", "0.11", "0.12"]):
        record(storage, number, unified(used), minute=number * 60)
    found = eaten(storage)["5h"]
    assert sum(found.values()) == 20_000
    assert found[minute(0)] == 5_000  # of the first rise; its work is over before the second
    assert [found[minute(n * 60)] for n in (1, 2, 3, 4)] == [7_500, 2_500, 2_500, 2_500]


def test_a_new_period_begins_at_nothing(storage):
    later = RESET + 5 * HOUR
    record(storage, 0, unified("0.7"), minute=0)
    record(storage, 1, unified("0.8"), minute=60)
    record(storage, 2, unified("0.05", reset=later), minute=200)
    record(storage, 3, unified("0.04", reset=later), minute=210)  # corrected: nobody gets anything back
    record(storage, 4, unified("0.06", reset=later), minute=220)
    found = eaten(storage)["5h"]
    assert sum(found.values()) == 100_000 + 50_000 + 20_000
    assert found[minute(0)] == found[minute(60)] == 50_000


def test_limits_a_minute_are_read_by_what_remains(storage):
    for number, remaining in enumerate([900, 700, 1000, 950]):
        record(storage, number, bucket(remaining), minute=number)
    assert eaten(storage) == {"input-tokens": {minute(0): 250_000}}


def test_a_subscriptions_windows_come_before_limits_a_minute(storage):
    for number, remaining in enumerate([900, 700]):
        record(storage, number, (*unified(f"0.{number}"), *bucket(remaining)), minute=number)
    assert list(eaten(storage)) == ["5h"]
    assert list(eaten(storage, window="input-tokens")) == ["input-tokens"]
    assert eaten(storage, window="7d") == {}


def test_time_bounds_the_rises(storage):
    for number in range(5):
        record(storage, number, unified(f"0.{number}"), minute=number * 60)
    assert sum(eaten(storage, since=BEGIN + 130 * MINUTE)["5h"].values()) == 200_000
    assert sum(eaten(storage, until=BEGIN + 130 * MINUTE)["5h"].values()) == 200_000
    assert eaten(storage, since=BEGIN + 900 * MINUTE) == {}


def test_use_is_divided_by_source_and_session(storage):
    record(storage, 0, unified("0.1"), minute=0, tokens=0, parts=[(USER, 1), (SKILL, 3)])
    record(storage, 1, unified("0.2"), minute=5, tokens=10, parts=[(DOCS, 3), (USER, 1)])
    assert eaten(storage, QuotaBy.SOURCE) == {"5h": {"MCP: context7": 75_000, "User": 25_000}}
    record(storage, 2, unified("0.3"), minute=400, tokens=1000)
    found = eaten(storage, QuotaBy.SOURCE)["5h"]
    assert sum(found.values()) == 200_000
    assert found[NOT_EXPLAINED] > 90_000
    sessions = eaten(storage, QuotaBy.SESSION)["5h"]
    assert set(sessions) == {"s", NO_SESSION}
    assert sum(sessions.values()) == 200_000


@pytest.mark.parametrize("seed", range(8))
def test_shares_add_up_to_the_rises_whatever_comes(storage, seed):
    """Requests that overlap, fail to be explained, have prices or not: every division has the same sum."""
    chance = random.Random(seed)
    used, at, rises, before = 0, 0, 0, None
    for number in range(40):
        at += chance.randrange(1, 7)
        used = max(0, used + chance.choice([0, 0, 10_000, 70_000, -20_000]))
        parts = chance.choice([None, [(USER, 5), (SKILL, chance.randrange(9))]])
        record(storage, number, unified(f"{used / 1e6:.6f}"), minute=at, lasts=chance.randrange(2, 900), parts=parts)
        if chance.random() < 0.5:
            say(storage, number, "cost", chance.randrange(10**12))
        rises += max(0, used - before) if before is not None else 0
        before = used
    for by in QuotaBy:
        (use,) = Quota(storage).eaten(by)
        assert use.millionths == rises
        assert sum(one.millionths for one in use.shares) == rises
