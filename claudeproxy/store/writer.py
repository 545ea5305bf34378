"""One exchange into its rows: request, response, bodies.

Apart from `storage`, which owns the connection and the transaction, because this is the mapping from
`RecordedExchange` to columns. An exchange comes several times (in flight, then as it ended); what has ended is never
overwritten.
"""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from claudeproxy.model import BodyKept, State
from claudeproxy.sansio.quota import pays_by_subscription
from claudeproxy.store.cutting import cut_body
from claudeproxy.store.functions import derived_id
from claudeproxy.store.headers import HeaderFields, header_pairs
from claudeproxy.store.labels import OUTDATED, UNSETTLED, rules_id
from claudeproxy.store.lineage import save_agent_calls
from claudeproxy.store.quota import save_quota
from claudeproxy.store.text import clean
from claudeproxy.store.tree import BlockTree
from claudeproxy.store.usage import usage_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.model import RecordedBody, RecordedExchange, RecordedResponse
    from claudeproxy.store.codec import Codec
    from claudeproxy.store.tree import StoredPath

NOTHING_TO_EXPLAIN = 0  # requests.rules

Column = int | str | bytes | None


class ExchangeWriter:
    """Writes exchanges over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self.tree = BlockTree(connection, codec)
        self._headers = HeaderFields(connection)

    def forget(self) -> None:
        """Forget what was remembered of a transaction that was rolled back."""
        self.tree.forget()
        self._headers.forget()

    def write(self, exchange: RecordedExchange) -> str:
        """Insert or update one exchange; return its request id."""
        found = self._connection.execute(
            "SELECT n, state, rules, node, body_sha256 FROM requests WHERE correlation_id = ?",
            (exchange.correlation_id,),
        ).fetchone()
        request_id = derived_id("request", exchange.correlation_id)
        if found is not None and found["state"] != State.IN_FLIGHT:
            return request_id  # the journal is read again after a crash: the first record of an end is the record
        columns = {"id": request_id} | self._request_columns(exchange)
        if found is None:
            number = self._insert("requests", columns)
        else:
            number = int(found["n"])
            if found["rules"]:  # explained while it was in flight: its body was whole by then
                columns["rules"] = self._unsettled(exchange, found["rules"])
            self._update("requests", columns, "n", number)
        # A body that was whole in flight is cut already, and most are: the end of an exchange costs its answer only.
        if found is None or found["node"] is None or found["body_sha256"] != columns["body_sha256"]:
            self._write_request_body(number, exchange.request_body)
        if exchange.response is not None:
            self._write_response(number, exchange, exchange.response)
        return request_id

    def _unsettled(self, exchange: RecordedExchange, rules: int) -> int:
        """Have the end of an explained exchange followed up, by whoever is there: this process may be killed before."""
        if exchange.state is State.IN_FLIGHT or rules == rules_id(self._connection, OUTDATED):
            return rules
        return rules_id(self._connection, UNSETTLED)

    # --- the request ----------------------------------------------------------------------------------------

    def _write_request_body(self, number: int, body: RecordedBody) -> None:
        path = self._cut(body)
        place: dict[str, Column] = {
            "node": path.node if path else None,
            "skeleton": path.skeleton if path else None,
        }
        self._update("requests", place, "n", number)
        self._connection.execute("DELETE FROM skeleton_blocks WHERE request = ?", (number,))
        if path is not None:
            self._connection.executemany(
                "INSERT INTO skeleton_blocks VALUES (?, ?)", [(number, block) for block in sorted(path.references)]
            )
        self._write_body("request_bodies", number, None if path else body.data)

    def _cut(self, body: RecordedBody) -> StoredPath | None:
        """Store a whole body as a path of nodes; None when it is to be stored as it is.

        Whatever goes wrong in cutting must not lose the capture, and a bug in it must not stop the recorder: every
        exception leads to the body being stored whole, which `CaptureStorage.summary` counts.
        """
        if body.kept is not BodyKept.WHOLE or not body.data:
            return None
        try:
            cut = cut_body(body.data)
        except Exception:  # noqa: BLE001
            return None
        if not cut.pieces:
            return None
        self._connection.execute("SAVEPOINT cut")
        try:
            path = self.tree.store(body.data, cut)
        except sqlite3.Error:
            raise
        except Exception:  # noqa: BLE001
            self._connection.execute("ROLLBACK TO cut")
            self.tree.forget()
            path = None
        self._connection.execute("RELEASE cut")
        return path

    def _request_columns(self, exchange: RecordedExchange) -> dict[str, Column]:
        body = exchange.request_body
        stored_hash = sha256(body.data).digest() if body.data is not None else None
        explainable = body.data and exchange.state is not State.IN_FLIGHT
        instants = exchange.instants
        return {
            "correlation_id": exchange.correlation_id,
            "state": exchange.state.value,
            "request_initiated": instants.request_initiated,
            "proxy_received": instants.proxy_received,
            "forwarded": instants.forwarded,
            "response_received": instants.response_received,
            "delivered": instants.delivered,
            "method": clean(exchange.method),
            "url": clean(exchange.url),
            "path": clean(url_path(exchange.url)),
            "upstream_url": None if exchange.upstream_url == exchange.url else clean(exchange.upstream_url),
            "http_version": clean(exchange.http_version),
            "entry_mode": exchange.entry_mode.value,
            "owner": clean(exchange.owner),
            "header_data": self._headers.encode(exchange.headers),
            "api_key_hash": clean(exchange.api_key_hash),
            "error": clean(exchange.error),
            "error_kind": clean(exchange.error_kind),
            "request_head_us": exchange.request_head_us,
            "request_body_us": exchange.request_body_us,
            "response_head_us": exchange.response_head_us,
            "connect_us": exchange.connect_us,
            "early_response": int(exchange.early_response),
            "informational": json.dumps(exchange.informational) if exchange.informational else None,
            "rules": None if explainable else NOTHING_TO_EXPLAIN,
            "body_kept": body.kept.value,
            "body_length": body.length,
            "wire_sha256": None if body.sha256 == stored_hash else body.sha256,
            "body_sha256": stored_hash,
            "body_encoding": clean(body.encoding),
            "subscription": int(
                pays_by_subscription(exchange.headers, exchange.response.headers if exchange.response else ())
            ),
        }

    # --- the response ---------------------------------------------------------------------------------------

    def _write_response(self, number: int, exchange: RecordedExchange, response: RecordedResponse) -> None:
        body, answer, instants = response.body, response.answer, exchange.instants
        columns: dict[str, Column] = {
            "request": number,
            "id": derived_id("response", exchange.correlation_id),
            "timestamp": instants.response_received or instants.request_initiated,
            "status_code": response.status_code,
            "reason": clean(response.reason),
            "http_version": clean(response.http_version),
            "header_data": self._headers.encode(response.headers),
            "trailers": json.dumps(header_pairs(response.trailers)) if response.trailers else None,
            "origin": response.origin,
            "latency_us": _latency(exchange),
            "proxy_latency_us": exchange.request_head_us + exchange.request_body_us + exchange.response_head_us,
            "request_id_header": _request_id(response),
            "message_id": clean(answer.message_id),
            "model": clean(answer.model),
            "stop_reason": clean(answer.stop_reason),
            "error_type": clean(answer.error_type),
            "streamed": int(answer.streamed),
            **usage_columns(answer.usage),
            "body_kept": body.kept.value,
            "body_length": body.length,
            "body_sha256": body.sha256 if body.data is None else sha256(body.data).digest(),
        }
        self._connection.execute("DELETE FROM responses WHERE request = ?", (number,))
        self._insert("responses", columns)
        self._write_body("response_bodies", number, body.data)
        save_agent_calls(self._connection, number, exchange)
        save_quota(
            self._connection,
            number,
            response.headers,
            at=instants.response_received or instants.request_initiated,
            key_hash=exchange.api_key_hash,
        )

    # --- rows -----------------------------------------------------------------------------------------------

    def _write_body(self, table: str, number: int, data: bytes | None) -> None:
        self._connection.execute(f"DELETE FROM {table} WHERE request = ?", (number,))  # noqa: S608 - ours
        if data:
            codec, packed = self._codec.compress(data)
            self._insert(table, {"request": number, "codec": codec, "data": packed})

    def _insert(self, table: str, columns: Mapping[str, Column]) -> int:
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        cursor = self._connection.execute(
            f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 - names are ours
            tuple(columns.values()),
        )
        return int(cursor.lastrowid or 0)

    def _update(self, table: str, columns: Mapping[str, Column], key: str, value: int) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self._connection.execute(
            f"UPDATE {table} SET {assignments} WHERE {key} = ?",  # noqa: S608 - names are ours
            (*columns.values(), value),
        )


def url_path(url: str) -> str:
    """Return the path of a URL as it stands there; the URL itself when it has no readable one."""
    try:
        return urlsplit(url).path or "/"
    except ValueError:
        return url


def _latency(exchange: RecordedExchange) -> int | None:
    """Microseconds from the request's last byte forwarded to the response's first (contract.md, "Data")."""
    if exchange.early_response:
        return 0
    forwarded, received = exchange.instants.forwarded, exchange.instants.response_received
    return None if forwarded is None or received is None else max(0, received - forwarded) // 1000


def _request_id(response: RecordedResponse) -> str | None:
    for name, value in response.headers:
        if name.lower() == b"request-id":
            return clean(value.decode("latin-1"))
    return None
