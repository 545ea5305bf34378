"""Derives again what failed while an exchange was stored: from its rows, as the journal would have told it.

Apart from `writer` because the exchange is gone and only its record is there: heads and bodies are read back, the
content coding that could not be taken off is tried again, and then the same code runs. It never changes what was
captured, only the form in which it is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError
from claudeproxy.model import (
    Answer,
    BodyKept,
    EntryMode,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
)
from claudeproxy.sansio.answer import read_answer
from claudeproxy.sansio.encoding import decode, split_codings
from claudeproxy.store.headers import parse_pairs, raw_headers
from claudeproxy.store.unfinished import STORED_WITH, Part, clear

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    from claudeproxy.model import RawHeaders
    from claudeproxy.store.writer import ExchangeWriter

MAX_DECODED = 128 << 20  # bytes, as when it was recorded

_REQUEST = """
SELECT r.n, r.correlation_id, r.state, r.owner, r.entry_mode, r.method, r.url, r.http_version, r.request_initiated,
  r.response_received, r.api_key_hash, r.body_kept, r.body_length, r.body_sha256, r.body_encoding, r.node,
  q.headers AS asked
FROM requests r JOIN captured_requests q ON q.n = r.n WHERE r.id = ?
"""
_RESPONSE = """
SELECT p.status_code, p.origin, p.body_kept, p.body_length, p.body_sha256, v.headers AS answered
FROM responses p JOIN captured_responses v ON v.n = p.request WHERE p.request = ?
"""


def redo(connection: sqlite3.Connection, writer: ExchangeWriter, request_id: str) -> None:
    """Derive again the parts of one request that are noted as failed. The caller holds the transaction.

    What fails again is noted again, for this version of the code. Nothing happens to a request that is gone.
    """
    row = connection.execute(_REQUEST, (request_id,)).fetchone()
    if row is None:
        return
    number = int(row["n"])
    noted = {part for (part,) in connection.execute("SELECT part FROM unfinished WHERE request = ?", (number,))}
    exchange = _exchange(writer, row, connection.execute(_RESPONSE, (number,)).fetchone())
    steps = _steps(writer, number, exchange)
    writer.guard.guarded = True
    try:
        for part in STORED_WITH:
            if part in noted:
                clear(connection, number, (part,))
                writer.guard.run(exchange, number, part, steps[part])
    finally:
        writer.guard.guarded = False


def _steps(writer: ExchangeWriter, number: int, exchange: RecordedExchange) -> Mapping[Part, Callable[[], object]]:
    response = exchange.response

    def answer() -> Answer:
        if response is None or not response.body.data:
            return Answer()
        return read_answer(
            response.body.data, response.headers, status_code=response.status_code, max_decoded=MAX_DECODED
        )

    def body() -> None:
        if exchange.request_body.data is not None:  # otherwise it was cut after all, or is not kept
            writer.replace_body(number, _decoded(exchange.request_body, exchange.headers))

    return {
        Part.BODY: body,
        Part.ANSWER: lambda: writer.save_answer(number, answer()),
        Part.CALLS: lambda: writer.save_calls(number, answer()),
        Part.QUOTA: lambda: writer.save_heads(number, exchange),
    }


def _decoded(body: RecordedBody, headers: RawHeaders) -> RecordedBody:
    codings = ", ".join(value.decode("latin-1") for name, value in headers if name.lower() == b"content-encoding")
    if body.encoding is not None or not body.data or not split_codings(codings):
        return body
    try:
        plain = decode(body.data, codings, max_bytes=MAX_DECODED)
    except ProtocolError:
        return body
    names = ", ".join(split_codings(codings))
    return RecordedBody(kept=body.kept, data=plain, length=body.length, sha256=body.sha256, encoding=names)


def _exchange(writer: ExchangeWriter, row: sqlite3.Row, answered: sqlite3.Row | None) -> RecordedExchange:
    number = int(row["n"])
    return RecordedExchange(
        correlation_id=row["correlation_id"],
        owner=row["owner"],
        state=State(row["state"]),
        entry_mode=EntryMode(row["entry_mode"]),
        method=row["method"],
        url=row["url"],
        upstream_url=row["url"],
        http_version=row["http_version"],
        headers=raw_headers(parse_pairs(row["asked"])),
        api_key_hash=row["api_key_hash"],
        instants=Instants(request_initiated=row["request_initiated"], response_received=row["response_received"]),
        request_body=_body(writer, "request_bodies", number, row, encoding=row["body_encoding"]),
        response=None
        if answered is None
        else RecordedResponse(
            status_code=answered["status_code"],
            reason="",
            http_version="",
            headers=raw_headers(parse_pairs(answered["answered"])),
            trailers=(),
            origin=answered["origin"],
            body=_body(writer, "response_bodies", number, answered),
            answer=Answer(),
        ),
    )


def _body(
    writer: ExchangeWriter, table: str, number: int, row: sqlite3.Row, *, encoding: str | None = None
) -> RecordedBody:
    return RecordedBody(
        kept=BodyKept(row["body_kept"]),
        data=writer.read_body(table, number),
        length=row["body_length"],
        sha256=row["body_sha256"],
        encoding=encoding,
    )
