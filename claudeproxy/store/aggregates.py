"""What each source was used for, cost and earned, kept up to date with every change.

Apart from `explained` and from the feedback, which change what is added up, so that there is one place where adding and
taking away are done, and they are each other's inverse: whoever changes a request's sources or its rating does it
inside `SourceAggregates.changing`, which reads the request's share before and after and moves the difference. A request
counts once for a source, however many of its servers, plugins and segments stand behind the name.

Deleting a request takes nothing from the totals: `close` moves its share from the hours (captures that are there) into
the days (captures that were). So every total is the sum of days and hours, and `rebuild` makes it so.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from operator import add, sub
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.store.schema.feedback import MEASURES, TOTALS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

HOUR = 3_600_000_000_000  # ns
DAY = 24 * HOUR

# One row for each request and source name. The weight of a rating is the source's share of the request's context. An
# attempt that another one follows, or that only counted tokens, adds what it cost and no context (`store.attempts`).
CONTRIBUTIONS = """
SELECT q.n AS request, q.request_initiated AS used, o.type AS source_type, ifnull(o.name, o.type) AS source_name,
  q.counted AS usage_count, q.counted * sum(s.tokens) AS total_tokens, ifnull(sum(s.cost), 0) AS total_cost,
  max(s.cost IS NOT NULL) AS priced_count, f.rating IS NOT NULL AS feedback_count, ifnull(f.rating, 0) AS rating_sum,
  ifnull(f.rating * f.rating, 0) AS rating_squares,
  iif(f.rating IS NULL, 0, {share}) AS weight_sum, iif(f.rating IS NULL, 0, f.rating * ({share})) AS weighted_ratings
FROM requests q JOIN request_sources s ON s.request = q.n JOIN sources o ON o.id = s.source
LEFT JOIN feedback f ON f.request = q.n
WHERE {{condition}} GROUP BY q.n, o.type, ifnull(o.name, o.type)
HAVING q.counted OR max(s.cost IS NOT NULL) OR f.rating IS NOT NULL
""".format(
    share="1000000 * sum(iif(s.output, 0, s.tokens))"
    " / max(1, (SELECT sum(t.tokens) FROM request_sources t WHERE t.request = q.n AND NOT t.output))"
)

# What the summary adds up, for requests with their responses and feedback.
REQUEST_TOTALS = """
count(*), ifnull(sum(q.counted * q.total_tokens), 0), ifnull(sum(p.output_tokens), 0), ifnull(sum(p.latency_us), 0),
count(p.latency_us), ifnull(sum(p.proxy_latency_us), 0), count(p.proxy_latency_us), count(f.rating),
ifnull(sum(f.rating), 0)
FROM requests q LEFT JOIN responses p ON p.request = q.n LEFT JOIN feedback f ON f.request = q.n
"""

_MARKS = ", ".join("?" * len(MEASURES))
_NAMES = ", ".join(MEASURES)
_SUMS = ", ".join(f"sum(c.{name})" for name in MEASURES)
_PLUS = ", ".join(f"{name} = {name} + excluded.{name}" for name in MEASURES)
_MINUS = ", ".join(f"{name} = {name} - ?" for name in MEASURES)
_EDGES = "last_used = max(last_used, excluded.last_used), created_at = min(created_at, excluded.created_at)"
_NOTHING = (0,) * len(MEASURES)

_SourceKey = tuple[str, str]
_Measured = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildReport:
    """What a rebuild found: how many sources there are, and how many had other numbers before."""

    sources: int
    corrected: int


class SourceMoves(NamedTuple):
    """What each source's numbers changed by with one request, and when that was asked (ns since the epoch)."""

    moved: Mapping[_SourceKey, _Measured]
    used: int


class SourceAggregates:
    """The aggregates of one database. The caller holds the transaction.

    `late` gives a list where changes are to be left for the end of the transaction, which calls `move` with all of
    them: requests of a conversation have most of their sources in common, and each is then written once.
    """

    def __init__(
        self, connection: sqlite3.Connection, late: Callable[[], list[SourceMoves] | None] = lambda: None
    ) -> None:
        self._connection = connection
        self._late = late

    @contextmanager
    def changing(self, number: int) -> Iterator[None]:
        """Do inside what changes the sources or the rating of request `number`."""
        before = self._shares(number)
        yield
        after = self._shares(number)
        if before == after:
            return
        used = int(
            self._connection.execute("SELECT request_initiated FROM requests WHERE n = ?", (number,)).fetchone()[0]
        )
        moved = {
            key: tuple(map(sub, after.get(key, _NOTHING), before.get(key, _NOTHING)))
            for key in before.keys() | after.keys()
            if before.get(key) != after.get(key)
        }
        late, moves = self._late(), SourceMoves(moved, used)
        if late is None:
            self.move([moves])
        else:
            late.append(moves)

    def close(self, numbers: Sequence[int]) -> None:
        """Move the shares of requests that are about to be deleted into the day history."""
        run, listed = self._connection.execute, {"numbers": json.dumps(list(numbers))}
        shares = CONTRIBUTIONS.format(condition="q.n IN (SELECT value FROM json_each(:numbers))")
        known = f"({shares}) c JOIN context_source_metrics m USING (source_type, source_name)"
        run(
            f"INSERT INTO source_days (metric, day, {_NAMES}, last_used, created_at)"  # noqa: S608 - names are ours
            f" SELECT m.id, c.used / {DAY}, {_SUMS}, max(c.used), min(c.used) FROM {known} GROUP BY 1, 2"
            f" ON CONFLICT (metric, day) DO UPDATE SET {_PLUS}, {_EDGES}",
            listed,
        )
        for metric, hour, *measured in run(
            f"SELECT m.id, c.used / {HOUR}, {_SUMS} FROM {known} GROUP BY 1, 2",  # noqa: S608
            listed,
        ).fetchall():
            self._take_from_hour(metric, hour, measured)
        totals = ", ".join(f"{name} = {name} + excluded.{name}" for name in TOTALS)
        run(
            f"INSERT INTO request_days (day, {', '.join(TOTALS)}) SELECT q.request_initiated / {DAY}, {REQUEST_TOTALS}"  # noqa: S608
            " WHERE q.n IN (SELECT value FROM json_each(:numbers)) GROUP BY 1"
            f" ON CONFLICT (day) DO UPDATE SET {totals}",
            listed,
        )

    def rebuild(self) -> RebuildReport:
        """Make hours and totals again from the captures and the days. Holds the write lock for some seconds."""
        run = self._connection.execute
        before = {tuple(row) for row in run("SELECT * FROM context_source_metrics").fetchall()}
        run("DELETE FROM source_hours")
        every = CONTRIBUTIONS.format(condition="true")
        run(
            f"INSERT OR IGNORE INTO context_source_metrics (source_type, source_name, {_NAMES}, last_used, created_at)"  # noqa: S608
            f" SELECT DISTINCT o.type, ifnull(o.name, o.type), {', '.join('0' * len(MEASURES))}, 0, 0"
            " FROM sources o WHERE EXISTS (SELECT 1 FROM request_sources s WHERE s.source = o.id)"
        )
        hours = run(
            f"SELECT m.id, c.used / {HOUR}, {_SUMS}, max(c.used), min(c.used)"  # noqa: S608
            f" FROM ({every}) c JOIN context_source_metrics m USING (source_type, source_name) GROUP BY 1, 2"
        ).fetchall()
        run_many = self._connection.executemany
        run_many(f"INSERT INTO source_hours VALUES (?, ?, {_MARKS})", [tuple(row)[:-2] for row in hours])  # noqa: S608
        days = run(f"SELECT metric, day, {_NAMES}, last_used, created_at FROM source_days").fetchall()  # noqa: S608
        assignments = ", ".join(f"{name} = ?" for name in MEASURES)
        run_many(
            f"UPDATE context_source_metrics SET {assignments}, last_used = ?, created_at = ? WHERE id = ?",  # noqa: S608
            [(*row, metric) for metric, row in _totals([*hours, *days]).items()],
        )
        run(
            "DELETE FROM context_source_metrics WHERE id NOT IN (SELECT metric FROM source_hours)"
            " AND id NOT IN (SELECT metric FROM source_days)"
        )
        after = {tuple(row) for row in run("SELECT * FROM context_source_metrics").fetchall()}
        return RebuildReport(sources=len(after), corrected=len({row[1:3] for row in before ^ after}))

    # --- one request ----------------------------------------------------------------------------------------

    def _shares(self, number: int) -> Mapping[_SourceKey, _Measured]:
        rows = self._connection.execute(CONTRIBUTIONS.format(condition="q.n = ?"), (number,)).fetchall()
        return {row[2:4]: row[4:] for row in rows}

    def move(self, moves: Sequence[SourceMoves]) -> None:
        """Add what each source's numbers changed by."""
        sums = _added_up(moves)
        self._connection.executemany(
            f"INSERT INTO context_source_metrics (source_type, source_name, {_NAMES}, last_used, created_at)"  # noqa: S608
            f" VALUES (?, ?, {_MARKS}, ?, ?)"
            f" ON CONFLICT (source_type, source_name) DO UPDATE SET {_PLUS}, {_EDGES}",
            [(*key, *one.measured, one.last, one.first) for (key, _), one in sums.items()],
        )
        self._connection.executemany(
            f"INSERT INTO source_hours SELECT id, ?, {_MARKS} FROM context_source_metrics"  # noqa: S608
            " WHERE source_type = ? AND source_name = ?"
            f" ON CONFLICT (metric, hour) DO UPDATE SET {_PLUS}",
            [(hour, *one.measured, *key) for (key, hour), one in sums.items()],
        )
        emptied = set()
        for (key, hour), one in sums.items():
            if one.taken:  # explained or settled anew, without this source
                metric = self._connection.execute(
                    "SELECT id FROM context_source_metrics WHERE source_type = ? AND source_name = ?", key
                ).fetchone()[0]
                self._take_from_hour(metric, hour, _NOTHING)
                emptied.add(metric)
        for metric in emptied:  # when all hours are as they will be
            self._find_edges(metric)

    def _take_from_hour(self, metric: int, hour: int, measured: Sequence[int]) -> None:
        place = (metric, hour)
        self._connection.execute(
            f"UPDATE source_hours SET {_MINUS} WHERE metric = ? AND hour = ?",  # noqa: S608
            (*measured, *place),
        )
        self._connection.execute(
            "DELETE FROM source_hours WHERE metric = ? AND hour = ? AND usage_count = 0 AND priced_count = 0"
            " AND feedback_count = 0",
            place,
        )

    def _find_edges(self, metric: int) -> None:
        """Find first and last use again: in the first and last hour that have any, and in the days."""
        run = self._connection.execute
        found = [
            value
            for row in run("SELECT created_at, last_used FROM source_days WHERE metric = ?", (metric,)).fetchall()
            for value in row
        ]
        for hour in run("SELECT min(hour), max(hour) FROM source_hours WHERE metric = ?", (metric,)).fetchone():
            if hour is None:
                continue
            found += run(
                """
                SELECT min(q.request_initiated), max(q.request_initiated) FROM context_source_metrics m
                JOIN sources o ON o.type = m.source_type AND ifnull(o.name, o.type) = m.source_name
                JOIN requests q ON q.request_initiated >= ?1 AND q.request_initiated < ?2
                JOIN request_sources s ON s.request = q.n AND s.source = o.id WHERE m.id = ?3
                AND (q.counted OR s.cost IS NOT NULL OR EXISTS (SELECT 1 FROM feedback f WHERE f.request = q.n))
                """,
                (hour * HOUR, (hour + 1) * HOUR, metric),
            ).fetchone()
        if found:
            edges = (max(found), min(found), metric)
            run("UPDATE context_source_metrics SET last_used = ?, created_at = ? WHERE id = ?", edges)
        else:
            run("DELETE FROM context_source_metrics WHERE id = ?", (metric,))


def fill_aggregates(connection: sqlite3.Connection) -> None:
    """Add up what a database of an older version holds (a migration's second half).

    One that is older still gets there with a later migration: what is added up has changed since.
    """
    if not any(row[1] == "counted" for row in connection.execute("PRAGMA table_info(requests)")):
        return
    SourceAggregates(connection).rebuild()


class _HourSum:
    """What one source's numbers of one hour change by: `taken`, a request has no part in it any more."""

    __slots__ = ("first", "last", "measured", "taken")

    def __init__(self, measured: _Measured, used: int) -> None:
        self.measured = measured
        self.first = self.last = used
        self.taken = measured[0] < 0 or measured[3] < 0

    def add(self, other: _HourSum) -> None:
        self.measured = tuple(map(add, self.measured, other.measured))
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.taken |= other.taken


def _added_up(moves: Sequence[SourceMoves]) -> Mapping[tuple[_SourceKey, int], _HourSum]:
    """By source and hour."""
    sums: dict[tuple[_SourceKey, int], _HourSum] = {}
    for moved, used in moves:
        hour = used // HOUR
        for key, measured in moved.items():
            one = _HourSum(measured, used)
            if (known := sums.get((key, hour))) is None:
                sums[key, hour] = one
            else:
                known.add(one)
    return sums


def _totals(rows: Sequence[sqlite3.Row]) -> Mapping[int, _Measured]:
    """Add up rows of (metric, hour or day, measures, last use, first use)."""
    grouped: dict[int, list[_Measured]] = defaultdict(list)
    for metric, _, *measured in rows:
        grouped[metric].append(tuple(measured))
    return {
        metric: (
            *(sum(column) for column in list(zip(*parts, strict=True))[:-2]),
            max(part[-2] for part in parts),
            min(part[-1] for part in parts),
        )
        for metric, parts in grouped.items()
    }
