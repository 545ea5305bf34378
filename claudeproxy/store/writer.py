"""One exchange into its rows: request, response, bodies.

Apart from `storage`, which owns the connection and the transaction, because this is the order of rows and what depends
on what (`columns` maps the values). An exchange comes several times (in flight, then as it ended); what has ended is
never overwritten. What the journal says is stored whatever happens; what is derived from it may fail (`guard`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError
from claudeproxy.model import Answer, BodyKept, State
from claudeproxy.store.columns import (
    Column,
    answer_columns,
    body_columns,
    payment_columns,
    request_columns,
    response_columns,
)
from claudeproxy.store.cutting import cut_body
from claudeproxy.store.functions import derived_id
from claudeproxy.store.guard import Guard
from claudeproxy.store.headers import HeaderFields
from claudeproxy.store.labels import OUTDATED, UNSETTLED, rules_id
from claudeproxy.store.lineage import save_agent_calls
from claudeproxy.store.quota import save_quota
from claudeproxy.store.secrets import save_secrets
from claudeproxy.store.tree import BlockTree
from claudeproxy.store.unfinished import STORED_WITH, Part, clear, is_content
from claudeproxy.store.websockets import save_websocket

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from claudeproxy.model import RecordedBody, RecordedExchange, RecordedResponse
    from claudeproxy.store.codec import Codec
    from claudeproxy.store.tree import StoredPath


class ExchangeWriter:
    """Writes exchanges over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self.tree = BlockTree(connection, codec)
        self._headers = HeaderFields(connection)
        self.guard = Guard(connection, self.forget)

    def forget(self) -> None:
        """Forget what was remembered of a transaction that was rolled back."""
        self.tree.forget()
        self._headers.forget()

    def write(self, exchange: RecordedExchange) -> str:
        """Insert or update one exchange; return its request id.

        What is derived from it and fails is noted (`unfinished`); it raises only where the exchange itself cannot be
        stored.
        """
        self._connection.execute("SAVEPOINT exchange")
        try:
            request_id = self._write(exchange)
        except Exception as error:
            if not is_content(error):
                raise
            # Once more, part by part: what is at fault costs itself only. A stale memory is gone by then, too.
            self._connection.execute("ROLLBACK TO exchange")
            self.forget()
            self.guard.guarded = True
            try:
                request_id = self._write(exchange)
            finally:
                self.guard.guarded = False
        self._connection.execute("RELEASE exchange")
        return request_id

    def _write(self, exchange: RecordedExchange) -> str:
        found = self._connection.execute(
            "SELECT n, state, rules, node, body_sha256, header_data FROM requests WHERE correlation_id = ?",
            (exchange.correlation_id,),
        ).fetchone()
        request_id = derived_id("request", exchange.correlation_id)
        if found is not None and found["state"] != State.IN_FLIGHT:
            return request_id  # the journal is read again after a crash: the first record of an end is the record
        # A head does not change, and encoded twice what is its own would seem to come twice, and be kept as common.
        head = self._headers.encode(exchange.headers) if found is None else found["header_data"]
        columns = request_columns(exchange, head)
        if found is None:
            number = self._insert("requests", columns)
        else:
            number = int(found["n"])
            if found["rules"]:  # explained while it was in flight: its body was whole by then
                columns["rules"] = self._unsettled(exchange, found["rules"])
            self._update("requests", columns, "n", number)
            clear(self._connection, number, STORED_WITH)
            if exchange.response is not None:
                self._forget("responses", "response_bodies", number=number)
        # A body that was whole in flight is cut already, and most are: the end of an exchange costs its answer only.
        if found is None or found["node"] is None or found["body_sha256"] != columns["body_sha256"]:
            body = exchange.request_body
            path = self.guard.run(exchange, number, Part.BODY, lambda: self._cut(body))
            if found is not None:
                self._forget("skeleton_blocks", "request_bodies", number=number)
            self._place_request_body(number, body, path)
        if exchange.response is not None:
            self._write_response(number, exchange, exchange.response)
        if exchange.websocket is not None:
            save_websocket(self._connection, self._codec, number, exchange.websocket)
        self.guard.run(exchange, number, Part.QUOTA, lambda: self.save_heads(number, exchange))
        save_secrets(self._connection, number, exchange)
        return request_id

    def _unsettled(self, exchange: RecordedExchange, rules: int) -> int:
        """Have the end of an explained exchange followed up, by whoever is there: this process may be killed before."""
        if exchange.state is State.IN_FLIGHT or rules == rules_id(self._connection, OUTDATED):
            return rules
        return rules_id(self._connection, UNSETTLED)

    # --- the request ----------------------------------------------------------------------------------------

    def replace_body(self, number: int, body: RecordedBody) -> None:
        """Store a request's body again, cut by today's code, in place of one that was left as it came."""
        self._update("requests", body_columns(body), "n", number)
        path = self._cut(body)
        self._forget("skeleton_blocks", "request_bodies", number=number)
        self._place_request_body(number, body, path)

    def _place_request_body(self, number: int, body: RecordedBody, path: StoredPath | None) -> None:
        place: dict[str, Column] = {
            "node": path.node if path else None,
            "skeleton": path.skeleton if path else None,
        }
        self._update("requests", place, "n", number)
        if path is not None:
            self._connection.executemany(
                "INSERT INTO skeleton_blocks VALUES (?, ?)", [(number, block) for block in sorted(path.references)]
            )
        self._write_body("request_bodies", number, None if path else body.data)

    def _cut(self, body: RecordedBody) -> StoredPath | None:
        """Store a whole body as a path of nodes; None when it is to be stored as it is.

        :raises Exception: whatever a bug in cutting raises: then it is stored whole, too, and noted.
        """
        if body.kept is not BodyKept.WHOLE or not body.data:
            return None
        try:
            cut = cut_body(body.data)
        except ProtocolError:
            return None  # no request for a message, or one that cannot be cut with certainty
        return self.tree.store(body.data, cut) if cut.pieces else None

    # --- the response ---------------------------------------------------------------------------------------

    def _write_response(self, number: int, exchange: RecordedExchange, response: RecordedResponse) -> None:
        columns = response_columns(exchange, response, self._headers.encode(response.headers))
        self._insert("responses", {"request": number, **columns})
        self._write_body("response_bodies", number, response.body.data)
        self.guard.run(exchange, number, Part.ANSWER, lambda: self.save_answer(number, response.answer))
        self.guard.run(exchange, number, Part.CALLS, lambda: self.save_calls(number, response.answer))

    def save_answer(self, number: int, answer: Answer) -> None:
        """Store what the answer to request `number` says."""
        self._update("responses", answer_columns(answer), "request", number)

    def save_calls(self, number: int, answer: Answer) -> None:
        """Store what the answer to request `number` calls agents with."""
        save_agent_calls(self._connection, number, answer)

    def save_heads(self, number: int, exchange: RecordedExchange) -> None:
        """Store what the heads of request `number` say of its account and of that account's limits."""
        if payment := payment_columns(exchange):
            self._update("requests", payment, "n", number)
        if (response := exchange.response) is not None:
            at = exchange.instants.response_received or exchange.instants.request_initiated
            save_quota(self._connection, number, response.headers, at=at, key_hash=exchange.api_key_hash)

    # --- rows -----------------------------------------------------------------------------------------------

    def read_body(self, table: str, number: int) -> bytes | None:
        """Return a body that is stored whole, of ``request_bodies`` or ``response_bodies``; None without one."""
        row = self._connection.execute(
            f"SELECT codec, data FROM {table} WHERE request = ?",  # noqa: S608 - ours
            (number,),
        ).fetchone()
        return None if row is None else self._codec.decompress(row[0], row[1])

    def _write_body(self, table: str, number: int, data: bytes | None) -> None:
        if data:
            codec, packed = self._codec.compress(data)
            self._insert(table, {"request": number, "codec": codec, "data": packed})

    def _forget(self, *tables: str, number: int) -> None:
        """Delete what an exchange had when it was stored before."""
        for table in tables:
            self._connection.execute(f"DELETE FROM {table} WHERE request = ?", (number,))  # noqa: S608 - ours

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
