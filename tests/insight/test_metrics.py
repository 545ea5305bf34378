from __future__ import annotations

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.insight import metrics as module
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.insight.values import Bucket, SourceFilters, SourceSort
from claudeproxy.store.aggregates import DAY, HOUR
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from tests.insight.using import DOCS, SKILL, USER, use

MIDNIGHT = 1_790_000_000_000_000_000 // DAY * DAY  # a Monday: 21 September 2026
MINUTE = HOUR // 60


@pytest.fixture
def used(storage):
    """Three uses of the skill and two of the server, over nine days."""
    return [
        use(storage, 0, [(SKILL, 10), (DOCS, 100)], at=MIDNIGHT),
        use(storage, 1, [(SKILL, 20)], at=MIDNIGHT + HOUR + MINUTE),
        use(storage, 2, [(DOCS, 300)], at=MIDNIGHT + 2 * DAY + 5 * HOUR),
        use(storage, 3, [(SKILL, 40), (USER, 7)], at=MIDNIGHT + 8 * DAY),
    ]


def expire(storage, before):
    Retention(storage, pause=lambda _: None).expire(before_ns=before)


def totals(metrics, **filters):
    return {m.source_name: (m.usage_count, m.total_tokens) for m in metrics.sources(SourceFilters(**filters))}


def test_nothing_captured_is_all_zero(metrics):
    summary = metrics.summary()
    assert (summary.total_requests, summary.total_tokens_sent, summary.feedback_count) == (0, 0, 0)
    assert (summary.average_latency_ms, summary.average_proxy_latency_ms, summary.average_rating) == (0.0, 0.0, 0.0)
    assert (summary.oldest_capture, summary.newest_capture, summary.total_cost) == (None, None, None)
    assert metrics.sources() == metrics.history(Bucket.DAY) == []


def test_the_summary_adds_up_requests(metrics, feedback, used):
    feedback.submit_feedback(used[0], 1.0)
    feedback.submit_feedback(used[3], 0.0)
    summary = metrics.summary()
    assert (summary.total_requests, summary.total_tokens_sent) == (4, 477)
    assert summary.total_tokens_received == 4 * 12
    assert summary.average_latency_ms == 5.0
    assert summary.average_proxy_latency_ms == 0.55
    assert (summary.feedback_count, summary.average_rating) == (2, 0.5)
    assert (summary.oldest_capture, summary.newest_capture) == (MIDNIGHT, MIDNIGHT + 8 * DAY)


def test_the_summary_may_be_bounded(metrics, used):
    summary = metrics.summary(since=MIDNIGHT + 1, until=MIDNIGHT + 8 * DAY)
    assert (summary.total_requests, summary.total_tokens_sent) == (2, 320)
    assert (summary.oldest_capture, summary.newest_capture) == (
        MIDNIGHT + HOUR + MINUTE,
        MIDNIGHT + 2 * DAY + 5 * HOUR,
    )


def test_the_summary_outlives_the_captures(storage, metrics, feedback, used):
    feedback.submit_feedback(used[0], 1.0)
    before = metrics.summary()
    expire(storage, MIDNIGHT + 3 * DAY)
    after = metrics.summary()
    assert after.oldest_capture == MIDNIGHT + 8 * DAY
    assert (after.total_requests, after.total_tokens_sent, after.total_tokens_received) == (4, 477, 48)
    assert (after.average_latency_ms, after.average_rating) == (before.average_latency_ms, 1.0)


def test_sources_are_in_order_of_use(metrics, used):
    assert [(m.source_name, m.usage_count) for m in metrics.sources()] == [
        ("User", 4),
        ("vectorize", 3),
        ("context7", 2),
    ]
    assert [m.source_name for m in metrics.sources(descending=False)] == ["context7", "vectorize", "User"]


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        (SourceSort.TOTAL_TOKENS, "context7"),
        (SourceSort.AVERAGE_RATING, "vectorize"),
        (SourceSort.RATING_LOW, "vectorize"),
        (SourceSort.LAST_USED, "vectorize"),
        (SourceSort.TOTAL_COST, "context7"),
    ],
)
def test_sources_may_be_sorted(storage, metrics, feedback, used, sort, first):
    feedback.submit_feedback(used[1], 1.0)
    feedback.submit_feedback(used[2], -1.0)
    with storage.writing() as connection:
        connection.execute(
            "UPDATE context_source_metrics SET total_cost = 5, priced_count = 1 WHERE source_name = 'context7'"
        )
    assert metrics.sources(sort=sort)[0].source_name == first


def test_sources_are_filtered_by_name_and_type(metrics, used):
    assert totals(metrics, source_type="Skill") == {"vectorize": (3, 70)}
    assert totals(metrics, source_name="context7") == {"context7": (2, 400)}
    assert totals(metrics, source_name="context7", source_type="Skill") == {}


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (MIDNIGHT, MIDNIGHT + 1, {"vectorize": (1, 10), "context7": (1, 100)}),  # within an hour
        (MIDNIGHT + 1, MIDNIGHT + HOUR + 2 * MINUTE, {"vectorize": (1, 20)}),  # across a full hour's beginning
        (MIDNIGHT + MINUTE, MIDNIGHT + 3 * DAY, {"vectorize": (1, 20), "context7": (1, 300)}),
        (MIDNIGHT + HOUR, None, {"vectorize": (2, 60), "context7": (1, 300)}),
        (None, MIDNIGHT + 8 * DAY, {"vectorize": (2, 30), "context7": (2, 400)}),
        (MIDNIGHT + 5, MIDNIGHT + 5, {}),
    ],
)
def test_sources_are_bounded_to_the_nanosecond(metrics, used, since, until, expected):
    found = totals(metrics, since=since, until=until)
    found.pop("User", None)
    assert found == expected


def test_what_was_deleted_counts_at_the_beginning_of_its_day(storage, metrics, used):
    expire(storage, MIDNIGHT + 3 * DAY)
    assert totals(metrics) == {"User": (4, 7), "vectorize": (3, 70), "context7": (2, 400)}
    assert totals(metrics, since=MIDNIGHT + DAY, until=MIDNIGHT + 8 * DAY) == {"User": (1, 0), "context7": (1, 300)}


def test_a_history_by_hour_day_and_week(storage, metrics, used):
    def history(bucket):
        points = metrics.history(bucket, SourceFilters(source_name="vectorize"))
        return [((p.start - MIDNIGHT) / HOUR, p.usage_count, p.total_tokens) for p in points]

    assert history(Bucket.HOUR) == [(0, 1, 10), (1, 1, 20), (8 * 24, 1, 40)]
    assert history(Bucket.DAY) == [(0, 2, 30), (8 * 24, 1, 40)]
    assert history(Bucket.WEEK) == [(0, 2, 30), (7 * 24, 1, 40)]
    expire(storage, MIDNIGHT + 3 * DAY)
    assert history(Bucket.HOUR) == [(0, 2, 30), (8 * 24, 1, 40)]  # the first hour stands for the day
    assert history(Bucket.WEEK) == [(0, 2, 30), (7 * 24, 1, 40)]


def test_a_history_has_ratings_at_the_time_of_the_request(metrics, feedback, used):
    feedback.submit_feedback(used[1], 0.5)
    points = metrics.history(Bucket.HOUR, SourceFilters(source_name="vectorize", until=MIDNIGHT + DAY))
    assert [(p.feedback_count, p.average_rating) for p in points] == [(0, 0.0), (1, 0.5)]


def test_a_rating_may_be_weighed_by_the_sources_share(metrics, feedback, used):
    """The server was 100 of the 110 tokens that were rated well: the rating is mostly its own."""
    feedback.submit_feedback(used[0], 1.0)
    plain = {m.source_name: m.estimate for m in metrics.sources()}
    weighted = {m.source_name: m.estimate for m in metrics.sources(weighted=True)}
    assert plain["context7"] == plain["vectorize"]
    assert weighted["context7"].count == pytest.approx(100 / 110, abs=1e-5)
    assert weighted["context7"].rating > weighted["vectorize"].rating > 0


def test_a_rebuild_finds_nothing_to_correct(metrics, used):
    assert metrics.rebuild().corrected == 0


def test_metrics_are_read_from_a_read_only_storage(database, storage, used):
    with CaptureStorage(database, read_only=True) as reader:
        assert SourceMetrics(reader).summary().total_requests == 4
        with pytest.raises(StorageError):
            SourceMetrics(reader).rebuild()


def test_lists_of_sources_and_time_read_indexes(storage, used):
    """Sorting by use or rating walks an index; bounded times search hours, days and instants."""

    def plan(statement, **parameters):
        bounds = module._bounds(SourceFilters(since=MIDNIGHT + 1, until=MIDNIGHT + DAY + 1))
        rows = storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}", bounds | parameters)
        return [row["detail"] for row in rows.fetchall()]

    assert any("context_source_metrics_usage" in s for s in plan(module.SOURCES.format(order="usage_count DESC")))
    assert any("context_source_metrics_rating" in s for s in plan(module.SOURCES.format(order="average_rating")))
    bounded = plan(module._BOUNDED)
    assert any("source_hours_hour" in step for step in bounded)
    assert sum("requests_time" in step for step in bounded) == 2
    assert any("requests_time" in step for step in plan(module._SUMMARY))
