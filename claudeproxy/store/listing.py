"""The list of requests: its filters as SQL, a page of it and how many match.

Apart from `queries`, which reads what is named, because every filter meets every other here, and a deletion and an
export choose by the same filters. All read the public views, whose columns SQLite flattens into the
tables' own indexes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.store.queries import REQUESTS
from claudeproxy.store.search import EVERYWHERE, INTRODUCED
from claudeproxy.store.wording import match_expression

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.store.values import RequestFilters


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The statements behind one page, and behind all that match; all take `parameters`.

    Where a set is looked up (a source, a text), it is looked up once: `page` gives the numbers of the page and how many
    match in all, and `rows` takes the former as `:numbers`, a JSON list.
    """

    page: str | None
    rows: str
    count: str
    numbers: str  # ends with its condition: to be narrowed further
    parameters: dict[str, object]


def list_query(filters: RequestFilters, as_of: int) -> ListQuery:
    """Return the statements for a page of requests, newest first by instant, then by arrival."""
    parameters: dict[str, object] = {"as_of": as_of, "limit": filters.limit, "offset": filters.offset}
    where = ["c.n <= :as_of"]

    def need(condition: str, name: str, value: object) -> None:
        if value is not None:
            where.append(condition)
            parameters[name] = value

    need("c.request_initiated >= :since", "since", filters.since)
    need("c.request_initiated < :until", "until", filters.until)
    for column in ("request_class", "method", "model", "state", "session_id", "agent_id"):
        need(f"c.{column} = :{column}", column, getattr(filters, column))
    if filters.path is not None and filters.path.endswith("*"):
        need("substr(c.path, 1, length(:path)) = :path", "path", filters.path[:-1])
    else:
        need("c.path = :path", "path", filters.path)
    need("p.status_code = :status", "status", filters.status)
    need("c.cost > :over", "over", filters.over)
    if filters.project is not None:
        where.append("(c.project = :project OR substr(c.project, -length(:inside)) = :inside)")
        parameters |= {"project": filters.project, "inside": "/" + filters.project.strip("/")}
    sources = []
    if filters.source is not None:
        sources.append("(label = :source OR name = :source)")
        parameters["source"] = filters.source
    if filters.source_type is not None:
        sources.append("type = :source_type")
        parameters["source_type"] = filters.source_type
    if sources:
        where.append(
            "c.n IN (SELECT request FROM request_sources WHERE source IN"  # noqa: S608 - conditions are ours
            f" (SELECT id FROM sources WHERE {' AND '.join(sources)}))"
        )
    if filters.q is not None and filters.q.strip():
        parameters["q"] = match_expression(filters.q)
        where.append("0" if parameters["q"] is None else EVERYWHERE if filters.everywhere else INTRODUCED)
    condition = " AND ".join(where)
    join = "LEFT JOIN responses p ON p.request = c.n" if filters.status is not None else ""
    numbers = f"SELECT c.n FROM captured_requests c {join} WHERE {condition}"  # noqa: S608
    order = "ORDER BY c.request_initiated DESC, c.n DESC"
    limit = "LIMIT :limit OFFSET :offset"
    page, rows = None, f"{REQUESTS} WHERE {condition} {order} {limit}"
    if " IN (" in condition:  # found by a set, so to be sorted: numbers, not the rows with all their columns
        page = f"{numbers.replace('SELECT c.n', 'SELECT c.n, count(*) OVER ()', 1)} {order} {limit}"
        rows = f"{REQUESTS} WHERE c.n IN (SELECT value FROM json_each(:numbers)) {order}"  # noqa: S608
    return ListQuery(
        page,
        rows,
        f"SELECT count(*) FROM captured_requests c {join} WHERE {condition}",  # noqa: S608
        numbers,
        parameters,
    )


def listed(connection: sqlite3.Connection, query: ListQuery) -> tuple[list[sqlite3.Row], int]:
    """Return the rows of a page, and the number of all that match. The caller holds the snapshot."""
    parameters, total = query.parameters, None
    if query.page is not None:
        found = connection.execute(query.page, parameters).fetchall()
        parameters = {**parameters, "numbers": json.dumps([row[0] for row in found])}
        total = int(found[0][1]) if found else None  # an empty page may lie beyond the last one
    rows = connection.execute(query.rows, parameters).fetchall()
    if total is None:
        total = int(connection.execute(query.count, parameters).fetchone()[0])
    return rows, total
