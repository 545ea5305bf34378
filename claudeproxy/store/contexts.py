"""Pieces of context across many requests, by the page.

Apart from `queries` because the answer is found in two steps. How many pieces each request holds of a source is kept
(`request_sources.segments`), so the total, and the request with which a page begins, come from small integers; only
the requests of the page are expanded, and where only their output is asked for, not even those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.store.queries import attribution_from
from claudeproxy.store.views import OUTPUTS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from claudeproxy.store.session import StorageSession
    from claudeproxy.store.values import ContextAttribution

# The total, and requests with the number of their matching pieces, newest first: read as far as the page needs it.
TOTAL = """
SELECT ifnull(sum(s.segments), 0) FROM requests q JOIN request_sources s ON s.request = q.n
WHERE q.rules > 0 AND {request} AND {source}
"""
COUNTS = """
SELECT q.id, (SELECT ifnull(sum(s.segments), 0) FROM request_sources s WHERE s.request = q.n AND {source}),
  EXISTS (SELECT 1 FROM request_sources s WHERE s.request = q.n AND NOT s.output AND {source})
FROM requests q WHERE q.rules > 0 AND {request} ORDER BY q.request_initiated DESC, q.n DESC
"""
_WANTED = """
WHERE request_id = :request AND (:type IS NULL OR source_type = :type) AND (:name IS NULL OR source_name = :name)
ORDER BY node_order, ordinal
"""
_PIECES = f"SELECT * FROM context_attributions {_WANTED}"  # noqa: S608 - nothing here comes from outside
_OUTPUTS = f"{OUTPUTS} {_WANTED}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextFilters:
    """What `query_attributions` is asked for; None filters nothing. Times bound the requests, ns since the epoch."""

    request_id: str | None = None
    source_name: str | None = None
    source_type: str | None = None
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive
    limit: int | None = None  # None: all
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextPage:
    """One page of pieces, newest request first and in prompt order within it, and how many match in all."""

    rows: Sequence[ContextAttribution]
    total: int


def query_attributions(storage: StorageSession, filters: ContextFilters) -> ContextPage:
    """Return a page of pieces of context. An unknown request has none.

    :raises StorageError: the database cannot be read.
    """
    conditions, parameters = _conditions(filters)
    with storage.reading() as connection:
        connection.execute("BEGIN")  # counts and pieces from one snapshot
        try:
            total = int(connection.execute(TOTAL.format(**conditions), parameters).fetchone()[0])
            counts = connection.execute(COUNTS.format(**conditions), parameters)
            limit = total if filters.limit is None else filters.limit
            return ContextPage(rows=list(_page(connection, counts, filters, limit)), total=total)
        finally:
            connection.execute("ROLLBACK")


def _conditions(filters: ContextFilters) -> tuple[dict[str, str], dict[str, object]]:
    where, parameters = {"request": ["true"], "source": ["true"]}, dict[str, object]()
    for about, condition, name, value in (
        ("request", "(q.id = :id OR q.correlation_id = :id)", "id", filters.request_id),
        ("request", "q.request_initiated >= :since", "since", filters.since),
        ("request", "q.request_initiated < :until", "until", filters.until),
        ("source", "s.source IN (SELECT id FROM sources WHERE type = :type)", "type", filters.source_type),
        ("source", "s.source IN (SELECT id FROM sources WHERE name = :name)", "name", filters.source_name),
    ):
        if value is not None:
            where[about].append(condition)
            parameters[name] = value
    return {about: " AND ".join(conditions) for about, conditions in where.items()}, parameters


def _page(
    connection: sqlite3.Connection, counts: Iterable[tuple[str, int, int]], filters: ContextFilters, limit: int
) -> Iterator[ContextAttribution]:
    skip = filters.offset
    if limit <= 0:
        return
    for request, count, in_prompt in counts:
        if skip >= count:
            skip -= count
            continue
        wanted = {"request": request, "type": filters.source_type, "name": filters.source_name}
        for row in connection.execute(_PIECES if in_prompt else _OUTPUTS, wanted).fetchall()[skip : skip + limit]:
            yield attribution_from(row)
            limit -= 1
        if limit <= 0:
            return
        skip = 0
