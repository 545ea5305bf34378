"""`Comparison`: a period beside the one before it, day after day, and what sources consist of.

Reads only. Periods and days come from the sums that `store.aggregates` keeps, deleted captures included. Kinds are
computed when asked for, from the captures that are there, because keeping sums by source and kind would cost every
request a dozen rows for a question that is seldom asked. They are cheap all the same: a node counts as often as paths
of requests go through it, so the work grows with what is new, not with what was sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from claudeproxy.insight.comparison_values import (
    KindTotals,
    PeriodNumbers,
    SourceChange,
    SourceKinds,
    SourceTrend,
    Trend,
)
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.insight.values import Bucket, SourceFilters
from claudeproxy.sansio.sharing import share
from claudeproxy.store.aggregates import DAY
from claudeproxy.store.numbers import unpack
from claudeproxy.store.paths import read_paths

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from claudeproxy.insight.values import ContextSourceMetrics
    from claudeproxy.store.paths import Paths
    from claudeproxy.store.storage import CaptureStorage

MOST_REQUESTS = 20_000  # that sums by kind look at, the latest: some seconds on a small machine
UNKNOWN = "unknown"  # kind of tokens whose pieces are not known

_ALWAYS = 1 << 62  # ns: later than any capture
_UNUSED = PeriodNumbers(requests=0, tokens=0, cost=None)

_CHOSEN = """
SELECT n FROM requests WHERE rules > 0 AND counted AND request_initiated >= :since AND request_initiated < :until
ORDER BY request_initiated DESC LIMIT :most
"""
ENDS = f"""
SELECT ifnull(q.context_node, q.node) AS last, ifnull(a.ledger, 0) AS ledger, count(*) AS requests
FROM requests q LEFT JOIN accounts a ON a.request = q.n
WHERE q.n IN ({_CHOSEN}) GROUP BY 1, 2
"""  # noqa: S608 - nothing here comes from outside
LOOSE = f"""
SELECT l.source, l.kind, sum(ifnull(m.tokens, iif(a.request IS NULL, s.tokens * m.repeats, 0))) AS tokens
FROM request_segments m JOIN loose_segments s ON s.id = m.segment JOIN segment_labels l ON l.id = s.label
LEFT JOIN accounts a ON a.request = m.request
WHERE m.request IN ({_CHOSEN}) GROUP BY 1, 2
"""  # noqa: S608
SUMS = f"""
SELECT s.source, o.type, ifnull(o.name, o.type) AS name, sum(s.tokens) AS tokens
FROM request_sources s JOIN sources o ON o.id = s.source
WHERE s.request IN ({_CHOSEN}) AND NOT s.output GROUP BY s.source
"""  # noqa: S608
_MATCHING = (
    "SELECT count(*) FROM requests WHERE rules > 0 AND counted AND request_initiated >= :since"
    " AND request_initiated < :until"
)


class Comparison:
    """Comparisons in an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage
        self._metrics = SourceMetrics(storage)

    def sources(
        self, *, since: int, until: int, source_type: str | None = None, source_name: str | None = None
    ) -> list[SourceChange]:
        """Return every source in [since, until) and in the period as long before it, the largest difference first.

        Times are ns since the epoch. What retention has deleted counts at the beginning of its UTC day.
        """
        now = self._numbers(since, until, source_type, source_name)
        before = self._numbers(since - (until - since), since, source_type, source_name)
        found = [
            SourceChange(source_type=kind, source_name=name, now=now.get(key, _UNUSED), before=before.get(key, _UNUSED))
            for key in now.keys() | before.keys()
            for kind, name in (key,)
        ]
        return sorted(
            found, key=lambda one: (-abs(one.now.tokens - one.before.tokens), one.source_type, one.source_name)
        )

    def trend(self, *, since: int, until: int, source_type: str | None = None, source_name: str | None = None) -> Trend:
        """Return every source's numbers for each UTC day that [since, until) touches (the ends of it in part)."""
        first, last = since // DAY, max(since, until - 1) // DAY
        days = range(first, last + 1)
        filters = SourceFilters(source_type=source_type, source_name=source_name, since=since, until=until)
        rows: dict[tuple[str, str], dict[int, tuple[int, int, int | None]]] = defaultdict(dict)
        for point in self._metrics.history(Bucket.DAY, filters):
            numbers = (point.usage_count, point.total_tokens, point.total_cost)
            rows[point.source_type, point.source_name][point.start // DAY] = numbers
        found = []
        for (kind, name), by_day in rows.items():
            values = [by_day.get(day, (0, 0, None)) for day in days]
            found.append(
                SourceTrend(
                    source_type=kind,
                    source_name=name,
                    requests=[requests for requests, _, _ in values],
                    tokens=[tokens for _, tokens, _ in values],
                    costs=[cost for _, _, cost in values],
                )
            )
        found.sort(key=lambda one: (-sum(one.tokens), one.source_type, one.source_name))
        return Trend(days=[day * DAY for day in days], sources=found)

    def kinds(self, *, since: int | None = None, until: int | None = None, most: int = MOST_REQUESTS) -> KindTotals:
        """Return what sources' tokens in the prompts of a time consist of, over its latest requests (`most`).

        The sums by source are the accounted ones; they are divided among kinds in proportion to what nodes hold.
        """
        bounds = {"since": since or 0, "until": _ALWAYS if until is None else until, "most": most}
        with self._storage.reading() as connection:
            matching = int(connection.execute(_MATCHING, bounds).fetchone()[0])
            held = _held(connection, bounds)
            sums = connection.execute(SUMS, bounds).fetchall()
        grouped: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for row in sums:
            kinds = held.get(row["source"]) or {UNKNOWN: 1}
            for kind, part in zip(kinds, share(row["tokens"], list(kinds.values())), strict=True):
                grouped[row["type"], row["name"]][kind] += part
        found = [
            SourceKinds(
                source_type=kind,
                source_name=name,
                tokens=kinds.total(),
                kinds={one: tokens for one, tokens in kinds.most_common() if tokens},
            )
            for (kind, name), kinds in grouped.items()
        ]
        found.sort(key=lambda one: (-one.tokens, one.source_type, one.source_name))
        return KindTotals(requests=min(most, matching), complete=matching <= most, sources=found)

    def _numbers(
        self, since: int, until: int, source_type: str | None, source_name: str | None
    ) -> dict[tuple[str, str], PeriodNumbers]:
        filters = SourceFilters(source_type=source_type, source_name=source_name, since=since, until=until)
        return {(one.source_type, one.source_name): _period(one) for one in self._metrics.sources(filters)}


def _period(one: ContextSourceMetrics) -> PeriodNumbers:
    return PeriodNumbers(requests=one.usage_count, tokens=one.total_tokens, cost=one.total_cost)


def _held(connection: sqlite3.Connection, bounds: Mapping[str, int]) -> Mapping[int, Mapping[str, int]]:
    """Return tokens by source and kind, over all requests together."""
    uses: dict[int, Counter[int]] = defaultdict(Counter)  # node to ledger to how many paths go through it
    for row in connection.execute(ENDS, bounds).fetchall():
        if row["last"]:
            uses[row["last"]][row["ledger"]] += row["requests"]
    paths = read_paths(connection, uses)
    for node in sorted(paths.parents, reverse=True):  # children before their parents
        if parent := paths.parents[node]:
            uses[parent].update(uses[node])
    blocks: Counter[tuple[int, int]] = Counter()  # explanation and tokens to how often they were sent
    for node, ledgers in uses.items():
        explanation = paths.explanations.get(node)
        if explanation is not None:
            for ledger, times in ledgers.items():
                blocks[explanation, _tokens(paths, node, ledger)] += times
    held: dict[int, Counter[str]] = defaultdict(Counter)
    for (explanation, tokens), times in blocks.items():
        pieces = paths.pieces[explanation]
        for piece, part in zip(pieces, paths.divided(explanation, tokens), strict=True):
            held[piece.source][piece.kind] += part * times
    for row in connection.execute(LOOSE, bounds).fetchall():
        held[row["source"]][row["kind"]] += row["tokens"]
    return held


def _tokens(paths: Paths, node: int, ledger: int) -> int:
    """Return what a node has by the latest numbers; by our own count where nothing was billed."""
    if not ledger:
        return paths.size(node)
    known = paths.tokens.get((node, ledger))
    return unpack(known[-1][1])[0] if known else 0
