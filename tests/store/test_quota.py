from __future__ import annotations

import pytest

from claudeproxy.model import State
from claudeproxy.store.aggregates import HOUR
from claudeproxy.store.migrations import MIGRATIONS
from claudeproxy.store.quota import fill_quota
from claudeproxy.store.retention import Retention
from tests.store.exchanges import SECOND, START
from tests.store.limits import RESET, SUBSCRIBED, answered, bucket, unified

MINUTE = 60 * SECOND
BEGIN = START // HOUR * HOUR


def rows(storage, table):
    return [tuple(row) for row in storage._connection.execute(f"SELECT * FROM {table}")]


def hours(storage):
    return [
        dict(row)
        for row in storage._connection.execute(
            'SELECT w.name, h.* FROM quota_hours h JOIN quota_windows w ON w.id = h."window" ORDER BY w.id, h.hour'
        )
    ]


def test_what_a_head_says_is_kept_with_its_request_and_by_the_hour(storage):
    storage.record([answered(0, unified("0.25", status="rejected"), at=BEGIN)], {})
    assert rows(storage, "quota_windows") == [(1, "00ff", "unified"), (2, "00ff", "5h")]
    assert rows(storage, "quota_samples")[1] == (
        *(2, BEGIN + SECOND, 1),
        *(250_000, None, None, RESET // SECOND * SECOND, "rejected"),
    )
    _, hour = hours(storage)
    assert hour["hour"] == BEGIN // HOUR
    assert (hour["samples"], hour["rejected"], hour["least"], hour["most"], hour["used"]) == (1, 1, *[250_000] * 3)


def test_the_organisation_names_the_account(storage):
    said = (*bucket(10), (b"anthropic-organization-id", b"org-1"))
    storage.record([answered(0, said, at=BEGIN), answered(1, bucket(20), at=BEGIN, api_key_hash=None)], {})
    assert [row[1] for row in rows(storage, "quota_windows")] == ["org-1", ""]


def test_an_hour_keeps_its_extremes_and_what_was_said_last(storage):
    """Also when answers are stored in another order than they came in."""
    for number, (used, minute) in enumerate([("0.2", 5), ("0.1", 2), ("0.4", 9), ("0.3", 7)]):
        storage.record([answered(number, unified(used), at=BEGIN + minute * MINUTE)], {})
    _, hour = hours(storage)
    assert (hour["samples"], hour["least"], hour["most"], hour["used"]) == (4, 100_000, 400_000, 400_000)
    storage.record([answered(5, unified("0.4"), at=BEGIN + 3 * HOUR)], {})
    assert len(hours(storage)) == 4


def test_a_window_that_does_not_say_how_full_it_is_leaves_the_extremes_alone(storage):
    said = ((b"anthropic-ratelimit-unified-5h-status", b"allowed"),)
    storage.record([answered(0, said, at=BEGIN), answered(1, unified("0.5"), at=BEGIN + MINUTE)], {})
    storage.record([answered(2, said, at=BEGIN + 2 * MINUTE)], {})
    hour = hours(storage)[0]
    assert (hour["least"], hour["most"], hour["used"], hour["samples"]) == (500_000, 500_000, None, 3)


def test_an_answer_counts_once_however_often_it_is_stored(storage):
    given = answered(0, unified("0.5"), at=BEGIN)
    storage.record([answered(0, unified("0.5"), at=BEGIN, state=State.IN_FLIGHT)], {})
    storage.record([given], {})
    storage.record([given], {})
    assert len(rows(storage, "quota_samples")) == 2
    assert [hour["samples"] for hour in hours(storage)] == [1, 1]


def test_hours_outlive_the_captures(storage):
    storage.record([answered(0, unified("0.5"), at=BEGIN)], {})
    before = hours(storage)
    Retention(storage, pause=lambda _: None).expire(before_ns=BEGIN + HOUR)
    assert rows(storage, "quota_samples") == []
    assert hours(storage) == before


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (answered(0, (), at=BEGIN, headers=SUBSCRIBED), 1),
        (answered(0, unified("0.5"), at=BEGIN), 1),
        (answered(0, bucket(5), at=BEGIN), 0),
        (answered(0, (), at=BEGIN, response=None, headers=SUBSCRIBED), 1),
    ],
)
def test_a_request_says_whether_a_subscription_paid(storage, given, expected):
    storage.record([given], {})
    assert storage._connection.execute("SELECT subscription FROM requests").fetchone()[0] == expected


def test_an_older_database_gets_its_history(storage):
    """What the migration finds in stored heads is what would have been kept."""
    storage.record([answered(n, unified(f"0.{n}"), at=BEGIN + n * MINUTE) for n in range(3)], {})
    storage.record([answered(3, (), at=BEGIN, headers=SUBSCRIBED, response=None)], {})
    tables = ("quota_windows", "quota_samples", "quota_hours", "requests")
    expected = {table: rows(storage, table) for table in tables}
    with storage.writing() as connection:
        for table in ("quota_samples", "quota_hours", "quota_windows"):
            connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE requests SET subscription = 0")
        fill_quota(connection)
    assert {table: rows(storage, table) for table in tables} == expected
    assert any(one.then is fill_quota for one in MIGRATIONS)
