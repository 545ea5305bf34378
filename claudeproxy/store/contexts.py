"""Pieces of context across many requests, by the page.

Apart from `queries` because the answer is found in two steps. How many pieces each request holds of a source is kept
(`request_sources.segments`), so the total, and the requests of a page, come from small integers; only of those the
chosen pieces are priced, and where only their output is asked for, not even those.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.store.pieces import chosen_pieces
from claudeproxy.store.queries import attribution_from
from claudeproxy.store.views import OUTPUTS, SEGMENTS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from claudeproxy.store.session import StorageSession
    from claudeproxy.store.values import ContextAttribution

# The total, and requests with the number of their matching pieces, newest first: read as far as the page needs it.
TOTAL = """
SELECT ifnull(sum(s.segments), 0) FROM requests q JOIN request_sources s ON s.request = q.n
WHERE q.rules > 0 AND {request} AND {source}
"""
COUNTS = """
SELECT q.n, q.id, (SELECT ifnull(sum(s.segments), 0) FROM request_sources s WHERE s.request = q.n AND {source}),
  EXISTS (SELECT 1 FROM request_sources s WHERE s.request = q.n AND NOT s.output AND {source})
FROM requests q WHERE q.rules > 0 AND {request} ORDER BY q.request_initiated DESC, q.n DESC
"""
# The same of all sources.
TOTAL_OF_ALL = "SELECT ifnull(sum(q.pieces), 0) FROM requests q WHERE q.rules > 0 AND {request}"
COUNTS_OF_ALL = """
SELECT q.n, q.id, q.pieces, q.pieces > 0 FROM requests q
WHERE q.rules > 0 AND {request} ORDER BY q.request_initiated DESC, q.n DESC
"""
_SOURCES = """
SELECT id FROM sources WHERE (?1 IS NULL OR type = ?1) AND (?2 IS NULL OR name = ?2)
"""
_OUTPUTS = f"""
{OUTPUTS} WHERE p.request_id IN (SELECT value FROM json_each(:requests))
AND p.source IN (SELECT value FROM json_each(:sources)) ORDER BY p.request_id, p.node_order, p.ordinal
"""  # noqa: S608
_SEGMENTS = f"{SEGMENTS} ORDER BY p.request_id, p.node_order, p.ordinal"
_AT_ONCE = 256  # requests: their paths are read together


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
    chosen = filters.source_type is not None or filters.source_name is not None
    total_of, counts_of = (TOTAL, COUNTS) if chosen else (TOTAL_OF_ALL, COUNTS_OF_ALL)
    with storage.reading() as connection:
        connection.execute("BEGIN")  # counts and pieces from one snapshot
        try:
            total = int(connection.execute(total_of.format(**conditions), parameters).fetchone()[0])
            counts = connection.execute(counts_of.format(**conditions), parameters)
            sources = [row[0] for row in connection.execute(_SOURCES, (filters.source_type, filters.source_name))]
            parts = _parts(counts, filters.offset, total if filters.limit is None else filters.limit)
            rows: list[ContextAttribution] = []
            while some := list(islice(parts, _AT_ONCE)):
                rows += map(attribution_from, _rows(connection, some, sources))
            return ContextPage(rows=rows, total=total)
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


class _Part(NamedTuple):
    """What a page holds of one request's matching pieces: those from `begin` to before `end`."""

    number: int
    request_id: str
    in_prompt: bool  # some of the matching pieces are
    begin: int
    end: int


def _parts(counts: Iterable[tuple[int, str, int, int]], skip: int, limit: int) -> Iterator[_Part]:
    for number, request_id, count, in_prompt in counts:
        if limit <= 0:
            return
        if skip < count:
            taken = min(limit, count - skip)
            yield _Part(number, request_id, bool(in_prompt), skip, skip + taken)
            limit -= taken
        skip = max(0, skip - count)


def _rows(connection: sqlite3.Connection, parts: Sequence[_Part], sources: Collection[int]) -> Iterator[sqlite3.Row]:
    """Yield the rows of some requests: of each the prompt's pieces first, then what was billed beside it."""
    pieces = chosen_pieces(connection, [part.number for part in parts if part.in_prompt], set(sources))
    named = {"requests": json.dumps([part.request_id for part in parts]), "sources": json.dumps(list(sources))}
    beside = _by_request(connection.execute(_OUTPUTS, named))
    taken = [(*piece, p.number) for p in parts for piece in pieces.get(p.number, ())[p.begin : p.end]]
    inside = _by_request(connection.execute(_SEGMENTS, {"pieces": json.dumps(taken)}))
    for part in parts:
        before = len(pieces.get(part.number, ()))
        yield from inside[part.request_id]
        yield from beside[part.request_id][max(0, part.begin - before) : max(0, part.end - before)]


def _by_request(rows: Iterable[sqlite3.Row]) -> dict[str, list[sqlite3.Row]]:
    found: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in rows:
        found[row["request_id"]].append(row)
    return found
