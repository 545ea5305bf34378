"""Questions to the database, as SQL, and rows as values.

Apart from `storage` so that a query plan can be read beside the question. All read the public views, whose columns
SQLite flattens into the tables' own indexes. No bodies here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError
from claudeproxy.model import NO_BILL, Accuracy, BodyKept, EntryMode, Identity, Instants, Source, SourceType, State
from claudeproxy.store.headers import parse_pairs
from claudeproxy.store.numbers import ACCURACIES
from claudeproxy.store.usage import usage_from
from claudeproxy.store.values import CapturedRequest, CapturedResponse, ContextAttribution, Lineage, SourceTotal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.values import Bodies

REQUESTS = """
SELECT c.*, p.status_code, p.latency_us, p.proxy_latency_us, p.output_tokens AS response_tokens,
  EXISTS (SELECT 1 FROM feedback f WHERE f.request = c.n) AS has_feedback,
  (SELECT r.subscription FROM requests r WHERE r.n = c.n) AS subscription
FROM captured_requests c LEFT JOIN responses p ON p.request = c.n
"""
RESPONSES = "SELECT * FROM captured_responses"
ATTRIBUTIONS = "SELECT * FROM context_attributions WHERE request_id = ? ORDER BY node_order, ordinal"
SOURCES = """
SELECT o.type, o.name, o.plugin, o.via, s.tokens, s.accuracy, s.cost
FROM requests q JOIN request_sources s ON s.request = q.n JOIN sources o ON o.id = s.source
WHERE q.id = ? AND NOT s.output ORDER BY s.tokens DESC, o.label
"""
OUTPUTS = SOURCES.replace("NOT s.output", "s.output")
SOURCE_TOKENS = """
SELECT o.label, sum(s.tokens) AS tokens
FROM requests q JOIN request_sources s ON s.request = q.n JOIN sources o ON o.id = s.source
WHERE q.id = ? AND NOT s.output GROUP BY o.label ORDER BY tokens DESC, o.label
"""
UNDERIVED = """
SELECT id FROM (
  SELECT id, n FROM requests WHERE rules IS NULL
  UNION ALL SELECT id, n FROM requests WHERE rules > 0 AND rules < :rules
  UNION ALL SELECT id, n FROM requests WHERE rules > max(:rules, 0))
WHERE NOT EXISTS (SELECT 1 FROM unfinished u WHERE u.request = n AND u.part = 'attribution' AND u.version = :tried)
LIMIT :limit
"""
REQUEST_IDS = (("requests", "id"), ("requests", "correlation_id"))  # what names a request, for `find`
_BEYOND = "\U0010ffff"  # sorts after every id that begins with a prefix


def _accuracy(row: sqlite3.Row) -> Accuracy | None:
    """Of the total; one that was counted before there were accounts is an estimate, too."""
    if row["accuracy"] is None:
        return None if row["total_tokens"] is None else Accuracy.ESTIMATED
    return Accuracy(row["accuracy"])


def _cost_note(row: sqlite3.Row) -> str | None:
    """Why there is no cost; of a prompt that could not be cut, and so has no account, the bill's absence as well."""
    unpriced = row["cost"] is None and row["cost_note"] is None and row["accuracy"] is None
    ended = row["state"] != State.IN_FLIGHT and row["total_tokens"] is not None
    return NO_BILL if unpriced and ended and row["response_tokens"] is None else row["cost_note"]


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
        accuracy=_accuracy(row),
        expected_error=row["expected_error"],
        cost=row["cost"],
        cost_note=_cost_note(row),
        subscription=bool(row["subscription"]),
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
        has_feedback=bool(row["has_feedback"]),
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
