"""Questions to the database, as SQL, and rows as values.

Apart from `storage` so that a query plan can be read beside the question. All read the public views, whose columns
SQLite flattens into the tables' own indexes. No bodies here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError
from claudeproxy.model import Accuracy, BodyKept, EntryMode, Identity, Instants, Source, SourceType, State
from claudeproxy.store.headers import parse_pairs
from claudeproxy.store.search import EVERYWHERE, INTRODUCED
from claudeproxy.store.totals import ACCURACIES
from claudeproxy.store.usage import usage_from
from claudeproxy.store.values import CapturedRequest, CapturedResponse, ContextAttribution, Lineage, SourceTotal
from claudeproxy.store.wording import match_expression

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.values import Bodies, RequestFilters

REQUESTS = """
SELECT c.*, p.status_code, p.latency_us, p.proxy_latency_us, p.output_tokens AS response_tokens
FROM captured_requests c LEFT JOIN responses p ON p.request = c.n
"""
RESPONSES = "SELECT * FROM captured_responses"
ATTRIBUTIONS = "SELECT * FROM context_attributions WHERE request_id = ? ORDER BY node_order, ordinal"
SOURCES = """
SELECT o.type, o.name, o.plugin, o.via, s.tokens, s.accuracy, s.cost
FROM requests q JOIN request_sources s ON s.request = q.n JOIN sources o ON o.id = s.source
WHERE q.id = ? ORDER BY s.tokens DESC, o.label
"""
SUMMARY = """
SELECT (SELECT count(*) FROM requests) AS requests, (SELECT count(*) FROM responses) AS responses,
  (SELECT count(*) FROM requests WHERE state = 'in_flight') AS in_flight,
  (SELECT count(*) FROM request_bodies b JOIN requests q ON q.n = b.request WHERE q.body_kept = 'whole')
    AS stored_whole,
  (SELECT count(*) - 1 FROM blocks) AS blocks, (SELECT count(*) - 1 FROM nodes) AS nodes,
  (SELECT min(request_initiated) FROM requests) AS oldest, (SELECT max(request_initiated) FROM requests) AS newest
"""
UNDERIVED = """
SELECT id FROM requests WHERE rules IS NULL
UNION ALL SELECT id FROM requests WHERE rules > 0 AND rules < :rules
UNION ALL SELECT id FROM requests WHERE rules > max(:rules, 0)
LIMIT :limit
"""
REQUEST_IDS = (("requests", "id"), ("requests", "correlation_id"))  # what names a request, for `find`
_BEYOND = "\U0010ffff"  # sorts after every id that begins with a prefix


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The statements behind one page, and behind all that match; all take `parameters`."""

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
    page = "ORDER BY c.request_initiated DESC, c.n DESC"
    limit = "LIMIT :limit OFFSET :offset"
    rows = f"{REQUESTS} WHERE {condition} {page} {limit}"
    if " IN (" in condition:  # found by a set, so to be sorted: numbers, not the rows with all their columns
        rows = f"{REQUESTS} WHERE c.n IN ({numbers} {page} {limit}) {page}"
    return ListQuery(
        rows,
        f"SELECT count(*) FROM captured_requests c {join} WHERE {condition}",  # noqa: S608
        numbers,
        parameters,
    )


def find(connection: sqlite3.Connection, wanted: str, columns: Sequence[tuple[str, str]], what: str) -> int:
    """Return the request number that an id names: whole, or a prefix of one. `columns` pairs tables with columns.

    :raises NotFoundError: it names nothing, or several; `near` holds the ids that were probably meant.
    """
    name = wanted.strip().lower()
    found: dict[int, str] = {}
    for table, column in columns:
        number = "n" if table == "requests" else "request"
        rows = connection.execute(
            f"SELECT {number}, {column} FROM {table} WHERE {column} >= ? AND {column} < ? LIMIT 6",  # noqa: S608
            (name, name + _BEYOND),
        ).fetchall()
        found |= {row[0]: row[1] for row in rows if row[0] not in found} if name else {}
    if len(found) == 1:
        return next(iter(found))
    if found:
        near = tuple(sorted(found.values()))
        raise NotFoundError(f"{wanted!r} is the beginning of several {what} ids", near=near)
    raise NotFoundError(f"no {what} {wanted!r}", near=_neighbours(connection, name, columns[0]))


def _neighbours(connection: sqlite3.Connection, name: str, place: tuple[str, str]) -> tuple[str, ...]:
    """Return the ids beside the wanted one in order: those share the longest beginning with it, two digits at least."""
    table, column = place
    before = connection.execute(
        f"SELECT {column} FROM {table} WHERE {column} < ? ORDER BY {column} DESC LIMIT 2",  # noqa: S608
        (name,),
    ).fetchall()
    after = connection.execute(
        f"SELECT {column} FROM {table} WHERE {column} >= ? ORDER BY {column} LIMIT 2",  # noqa: S608
        (name,),
    ).fetchall()
    near = [str(row[0]) for row in (*reversed(before), *after)]
    return tuple(one for one in near if one[:4] == name[:4]) or tuple(one for one in near if one[:2] == name[:2])


# --- rows as values ------------------------------------------------------------------------------------------------


def request_from(row: sqlite3.Row, bodies: Bodies) -> CapturedRequest:
    """Read a row of `REQUESTS`."""
    return CapturedRequest(
        id=row["id"],
        correlation_id=row["correlation_id"],
        timestamp=row["timestamp"],
        state=State(row["state"]),
        method=row["method"],
        url=row["url"],
        upstream_url=row["upstream_url"],
        http_version=row["http_version"],
        entry_mode=EntryMode(row["entry_mode"]),
        owner=row["owner"],
        headers=parse_pairs(row["headers"]),
        api_key_hash=row["api_key_hash"],
        instants=Instants(
            request_initiated=row["request_initiated"],
            proxy_received=row["proxy_received"],
            forwarded=row["forwarded"],
            response_received=row["response_received"],
            delivered=row["delivered"],
        ),
        identity=Identity(
            session_id=row["session_id"],
            agent_id=row["agent_id"],
            parent_agent_id=row["parent_agent_id"],
            agent_type=row["agent_type"],
            request_class=row["request_class"],
            client=row["client"],
            client_version=row["client_version"],
            model=row["model"],
            project=row["project"],
            previous_message_id=row["previous_message_id"],
            thread=row["thread"],
            retry_count=row["retry_count"],
            begins_prompt=bool(row["begins_prompt"]),
        ),
        lineage=Lineage(
            retry_of=row["retry_of"],
            parent_request_id=row["parent_request_id"],
            prompt_index=row["prompt_index"],
            turn_index=row["turn_index"],
        ),
        effective=bool(row["effective"]),
        context_complete=bool(row["context_complete"]),
        total_tokens=row["total_tokens"],
        error=row["error"],
        error_kind=row["error_kind"],
        connect_us=row["connect_us"],
        early_response=bool(row["early_response"]),
        informational=tuple(json.loads(row["informational"] or "[]")),
        body_kept=BodyKept(row["body_kept"]),
        body_length=row["body_length"],
        body_sha256=row["body_sha256"] or None,
        body_encoding=row["body_encoding"],
        status_code=row["status_code"],
        latency_ms=milliseconds(row["latency_us"]),
        proxy_latency_ms=milliseconds(row["proxy_latency_us"]),
        response_tokens=row["response_tokens"],
        stored_in=bodies,
    )


def response_from(row: sqlite3.Row, bodies: Bodies) -> CapturedResponse:
    """Read a row of `RESPONSES`."""
    return CapturedResponse(
        id=row["id"],
        request_id=row["request_id"],
        correlation_id=row["correlation_id"],
        timestamp=row["timestamp"],
        status_code=row["status_code"],
        reason=row["reason"],
        http_version=row["http_version"],
        headers=parse_pairs(row["headers"]),
        trailers=parse_pairs(row["trailers"]),
        origin=row["origin"],
        latency_us=row["latency_us"],
        proxy_latency_us=row["proxy_latency_us"],
        usage=usage_from(row),
        message_id=row["message_id"],
        model=row["model"],
        stop_reason=row["stop_reason"],
        error_type=row["error_type"],
        streamed=bool(row["streamed"]),
        request_id_header=row["request_id_header"],
        body_kept=BodyKept(row["body_kept"]),
        body_length=row["body_length"],
        body_sha256=row["body_sha256"] or None,
        stored_in=bodies,
    )


def attribution_from(row: sqlite3.Row) -> ContextAttribution:
    """Read a row of `ATTRIBUTIONS`."""
    return ContextAttribution(
        id=row["id"],
        request_id=row["request_id"],
        source=Source(
            type=SourceType(row["source_type"]), name=row["source_name"], plugin=row["plugin"], via=row["via"]
        ),
        kind=row["kind"],
        rule=row["rule"],
        confidence=row["confidence"],
        evidence=row["evidence"],
        token_count=row["token_count"],
        accuracy=Accuracy(row["accuracy"]),
        price_class=row["price_class"],
        cost=row["cost"],
        content_hash=row["content_hash"],
        message_index=row["message_index"],
        message_role=row["message_role"],
        json_path=row["json_path"],
        start=row["start"],
        end=row["end"],
        byte_start=row["byte_start"],
        byte_end=row["byte_end"],
        effective=bool(row["effective"]),
    )


def source_from(row: sqlite3.Row) -> SourceTotal:
    """Read a row of `SOURCES`."""
    return SourceTotal(
        source=Source(type=SourceType(row["type"]), name=row["name"], plugin=row["plugin"], via=row["via"]),
        token_count=row["tokens"],
        accuracy=ACCURACIES[row["accuracy"]],
        cost=row["cost"],
    )


def milliseconds(microseconds: int | None) -> int | None:
    """Round to whole milliseconds, halves up, as the views do."""
    return None if microseconds is None else (microseconds + 500) // 1000
