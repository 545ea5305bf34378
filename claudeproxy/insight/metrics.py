"""`SourceMetrics`: what the context was made of and what came of it, in all, by source, by time.

Reads only; the numbers are kept by `store.aggregates` with every change, so that a list of sources costs the same at
ten captures and at a hundred thousand. Whole hours come from the hour history, days that retention has deleted from the
day history, and only the ends of a time that begins or ends within an hour from the captures themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.insight.estimates import Estimate, estimate
from claudeproxy.insight.values import (
    Bucket,
    ContextSourceMetrics,
    HistoryPoint,
    MetricsSummary,
    SourceFilters,
    SourceSort,
)
from claudeproxy.store.aggregates import CONTRIBUTIONS, DAY, HOUR, REQUEST_TOTALS, SourceAggregates
from claudeproxy.store.schema.feedback import MEASURES, TOTALS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from claudeproxy.store.aggregates import RebuildReport
    from claudeproxy.store.storage import CaptureStorage

_MILLION = 1_000_000
_ALWAYS = 1 << 62  # ns: later than any capture

_NAMES = ", ".join(MEASURES)
_SUMS = ", ".join(f"sum(x.{name}) AS {name}" for name in MEASURES)

# What was used in [:since, :until): `at` is an hour since the epoch. :first and :last bound the whole hours within.
_PARTS = f"""
SELECT metric, hour AS at, {_NAMES} FROM source_hours WHERE hour >= :first AND hour < :last
UNION ALL
SELECT metric, day * 24, {_NAMES} FROM source_days WHERE day * {DAY} >= :since AND day * {DAY} < :until
UNION ALL
SELECT m.id, c.used / {HOUR}, {_NAMES.replace(", ", ", c.").replace("usage_count", "c.usage_count", 1)} FROM (
  {CONTRIBUTIONS.format(condition="q.request_initiated >= :since AND q.request_initiated < :head")}
  UNION ALL {CONTRIBUTIONS.format(condition="q.request_initiated >= :tail AND q.request_initiated < :until")}
) c JOIN context_source_metrics m USING (source_type, source_name)
"""  # noqa: S608 - names are ours
_WHERE = "(:type IS NULL OR m.source_type = :type) AND (:name IS NULL OR m.source_name = :name)"
SOURCES = f"SELECT * FROM context_source_metrics m WHERE {_WHERE} ORDER BY {{order}}"  # noqa: S608
_BOUNDED = f"""
SELECT m.source_type, m.source_name, {_SUMS}, m.last_used, m.created_at
FROM ({_PARTS}) x JOIN context_source_metrics m ON m.id = x.metric WHERE {_WHERE} GROUP BY m.id
"""  # noqa: S608
_HISTORY = f"""
SELECT {{bucket}} AS bucket, m.source_type, m.source_name, {_SUMS}
FROM ({_PARTS}) x JOIN context_source_metrics m ON m.id = x.metric WHERE {_WHERE}
GROUP BY bucket, m.id ORDER BY bucket, m.source_type, m.source_name
"""  # noqa: S608
_SUMMARY = f"SELECT {REQUEST_TOTALS} WHERE q.request_initiated >= :since AND q.request_initiated < :until"
_SUMMARY_DAYS = (
    f"SELECT {', '.join(f'ifnull(sum({name}), 0)' for name in TOTALS)} FROM request_days"  # noqa: S608
    f" WHERE day * {DAY} >= :since AND day * {DAY} < :until"
)
_CACHE = """
SELECT ifnull(sum(p.cache_read_input_tokens), 0), ifnull(sum(ifnull(p.input_tokens, 0)
  + ifnull(p.cache_creation_input_tokens, 0) + ifnull(p.cache_read_input_tokens, 0)), 0)
FROM requests q JOIN responses p ON p.request = q.n
WHERE q.request_initiated >= :since AND q.request_initiated < :until
"""
_COST = f"SELECT sum(total_cost), sum(priced_count) FROM ({_PARTS})"  # noqa: S608

# An hour's number to a bucket's, and a bucket's to its first instant. The epoch was a Thursday: weeks are shifted by
# the three days from Monday.
_BUCKETS: Mapping[Bucket, tuple[str, Callable[[int], int]]] = {
    Bucket.HOUR: ("x.at", lambda n: n * HOUR),
    Bucket.DAY: ("x.at / 24", lambda n: n * DAY),
    Bucket.WEEK: ("(x.at / 24 + 3) / 7", lambda n: (n * 7 - 3) * DAY),
}
_SORTS: Mapping[SourceSort, Callable[[ContextSourceMetrics], float]] = {
    SourceSort.USAGE_COUNT: lambda m: m.usage_count,
    SourceSort.AVERAGE_RATING: lambda m: m.average_rating,
    SourceSort.TOTAL_TOKENS: lambda m: m.total_tokens,
    SourceSort.TOTAL_COST: lambda m: -1 if m.total_cost is None else m.total_cost,
    SourceSort.RATING_LOW: lambda m: m.estimate.low,
    SourceSort.LAST_USED: lambda m: m.last_used,
}
_INDEXED = {SourceSort.USAGE_COUNT, SourceSort.AVERAGE_RATING}


class SourceMetrics:
    """Metrics of an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def summary(self, *, since: int | None = None, until: int | None = None) -> MetricsSummary:
        """Return all requests of a time together (ns since the epoch; `since` inclusive, `until` exclusive)."""
        bounds = _bounds(SourceFilters(since=since, until=until))
        with self._storage.reading() as connection:
            live = connection.execute(_SUMMARY, bounds).fetchone()
            days = connection.execute(_SUMMARY_DAYS, bounds).fetchone()
            cost, priced = connection.execute(_COST, bounds).fetchone()
            cached, billed = connection.execute(_CACHE, bounds).fetchone()
            ends = connection.execute(
                "SELECT (SELECT min(request_initiated) FROM requests"
                "  WHERE request_initiated >= :since AND request_initiated < :until),"
                " (SELECT max(request_initiated) FROM requests"
                "  WHERE request_initiated >= :since AND request_initiated < :until)",
                bounds,
            ).fetchone()
        total = {name: a + b for name, a, b in zip(TOTALS, live, days, strict=True)}
        return MetricsSummary(
            total_requests=total["requests"],
            total_tokens_sent=total["tokens_sent"],
            total_tokens_received=total["tokens_received"],
            average_latency_ms=_average(total["latency_us"] / 1000, total["latency_count"]),
            average_proxy_latency_ms=_average(total["proxy_latency_us"] / 1000, total["proxy_latency_count"]),
            feedback_count=total["feedback_count"],
            average_rating=_average(total["rating_sum"] / _MILLION, total["feedback_count"]),
            total_cost=cost if priced else None,
            cache_share=_average(cached, billed),
            oldest_capture=ends[0],
            newest_capture=ends[1],
        )

    def sources(
        self,
        filters: SourceFilters | None = None,
        *,
        sort: SourceSort = SourceSort.USAGE_COUNT,
        descending: bool = True,
        weighted: bool = False,
    ) -> list[ContextSourceMetrics]:
        """Return every source with its numbers. Equal ones are in order of type and name.

        :param weighted: in `estimate` a rating counts as much as the source's share of the rated context, not as one.
        """
        filters = filters or SourceFilters()
        if filters.since is None and filters.until is None:
            order = f"{sort} {'DESC' if descending else 'ASC'}" if sort in _INDEXED else "id"
            statement = SOURCES.format(order=order)
        else:
            statement = _BOUNDED
        with self._storage.reading() as connection:
            rows = connection.execute(statement, _bounds(filters)).fetchall()
        found = sorted((_source(row, weighted) for row in rows), key=lambda m: (m.source_type, m.source_name))
        return sorted(found, key=_SORTS[sort], reverse=descending)

    def history(self, bucket: Bucket, filters: SourceFilters | None = None) -> list[HistoryPoint]:
        """Return each source's numbers for each stretch of time in which it was used, in order of time, type and name.

        What retention has deleted is known by the day: among hours it stands in the first of its day.
        """
        expression, start = _BUCKETS[bucket]
        with self._storage.reading() as connection:
            rows = connection.execute(
                _HISTORY.format(bucket=expression), _bounds(filters or SourceFilters())
            ).fetchall()
        return [
            HistoryPoint(
                start=start(row["bucket"]),
                source_type=row["source_type"],
                source_name=row["source_name"],
                usage_count=row["usage_count"],
                total_tokens=row["total_tokens"],
                total_cost=row["total_cost"] if row["priced_count"] else None,
                feedback_count=row["feedback_count"],
                average_rating=_average(row["rating_sum"] / _MILLION, row["feedback_count"]),
            )
            for row in rows
        ]

    def rebuild(self) -> RebuildReport:
        """Make hours and totals again from the day history and the captures. Holds the write lock meanwhile.

        :raises StorageError: the storage is read-only, or cannot be written.
        """
        with self._storage.writing() as connection:
            return SourceAggregates(connection).rebuild()


def _bounds(filters: SourceFilters) -> dict[str, object]:
    since = 0 if filters.since is None else max(0, filters.since)
    until = _ALWAYS if filters.until is None else max(since, filters.until)
    first, last = -(-since // HOUR), until // HOUR
    if first > last:  # within one hour: all of it from the captures
        first = last = 0
        head, tail = until, until
    else:
        head, tail = first * HOUR, last * HOUR
    return {
        "since": since,
        "until": until,
        "first": first,
        "last": last,
        "head": head,
        "tail": tail,
        "type": filters.source_type,
        "name": filters.source_name,
    }


def _source(row: sqlite3.Row, weighted: bool) -> ContextSourceMetrics:
    feedback = row["feedback_count"]
    return ContextSourceMetrics(
        source_type=row["source_type"],
        source_name=row["source_name"],
        usage_count=row["usage_count"],
        total_tokens=row["total_tokens"],
        average_tokens=_average(row["total_tokens"], row["usage_count"]),
        total_cost=row["total_cost"] if row["priced_count"] else None,
        feedback_count=feedback,
        average_rating=_average(row["rating_sum"] / _MILLION, feedback),
        estimate=_weighted(row) if weighted else _plain(row),
        last_used=row["last_used"],
        created_at=row["created_at"],
    )


def _plain(row: sqlite3.Row) -> Estimate:
    return estimate(
        count=row["feedback_count"], total=row["rating_sum"] / _MILLION, squares=row["rating_squares"] / _MILLION**2
    )


def _weighted(row: sqlite3.Row) -> Estimate:
    count = row["weight_sum"] / _MILLION
    # Squares are not kept by weight: the mean square of all ratings stands for that of the weighted ones.
    mean_square = _average(row["rating_squares"] / _MILLION**2, row["feedback_count"])
    return estimate(count=count, total=row["weighted_ratings"] / _MILLION**2, squares=count * mean_square)


def _average(total: float, count: int) -> float:
    return total / count if count else 0.0
