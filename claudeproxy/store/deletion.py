"""Captures taken out of the database, and with them what nothing else refers to.

Apart from `retention`, which decides what goes and how long a step may take, because this is what one step does inside
a transaction. A request goes at once, with all that cascades. The path that it leaves behind may be a thousand nodes,
so its last node is noted in ``abandoned_nodes``, in the same transaction, and collected in as many steps as it takes:
after a crash nothing is forgotten, and a node that a new request has taken up meanwhile stays.

What refers to a row is read from the schema, so a table that is added later is respected without a change here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.store.aggregates import SourceAggregates

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from claudeproxy.store.search import SearchIndex

COUNTED = ("requests", "responses", "feedback", "nodes", "blocks")  # what is told of

_AT_ONCE = 4  # requests between two looks at the clock; some take a millisecond each
_MOST_TEXT = 500_000  # characters whose words leave the search index in one step: some milliseconds

_FIELDS = """
SELECT DISTINCT h.value FROM {table} t, json_each(t.header_data) h WHERE h.type = 'integer' AND {condition}
"""
_OF_REQUESTS = "request IN (SELECT value FROM json_each(?))"


class Deleter:
    """Deletes over one connection. The caller holds the transaction.

    :param read_answer: gives the message that answered a request, by the request's number.
    :param unused: what `references` found before: it asks some hundred questions.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        search: SearchIndex,
        read_answer: Callable[[int], object],
        unused: Mapping[str, str] | None = None,
    ) -> None:
        self._connection = connection
        self._search = search
        self._lots = search.lots
        self._read_answer = read_answer
        self._aggregates = SourceAggregates(connection)
        self._unused = references(connection) if unused is None else unused
        self.counts = dict.fromkeys(COUNTED, 0)

    def delete(self, numbers: Sequence[int], enough: Callable[[], bool] = lambda: False) -> int:
        """Delete requests until it is `enough`, the first few at least, with responses, attributions and feedback.

        Their numbers go into the day history. Returns how many went.
        """
        at = 0
        while at < len(numbers):
            self._delete(numbers[at : at + _AT_ONCE])
            at += _AT_ONCE
            if enough():
                break
        self._finish()
        return min(at, len(numbers))

    def collect(self, enough: Callable[[], bool]) -> bool:
        """Collect abandoned nodes until it is `enough`, one at least; tell whether there are more."""
        more = self._collect(lambda: self._search.going >= _MOST_TEXT or enough())
        self._finish()
        return more

    def delete_fields(self, used: Collection[int]) -> int:
        """Delete the header fields that are not `used`; return how many."""
        cursor = self._connection.execute(
            "DELETE FROM header_fields WHERE id NOT IN (SELECT value FROM json_each(?))", (json.dumps(list(used)),)
        )
        if cursor.rowcount:
            self._others_must_forget()
        return cursor.rowcount

    # --- parts of a step ------------------------------------------------------------------------------------

    def _delete(self, numbers: Sequence[int]) -> None:
        self._count(numbers)
        run, listed = self._connection.execute, (json.dumps(list(numbers)),)
        self._aggregates.close(numbers)
        for number in numbers:
            self._search.forget_answer(number, lambda n=number: self._read_answer(n))  # type: ignore[misc]
        for column in ("node", "context_node"):
            run(
                f"INSERT OR IGNORE INTO abandoned_nodes SELECT {column} FROM requests"  # noqa: S608 - ours
                f" WHERE n IN (SELECT value FROM json_each(?)) AND {column} > 0",
                listed,
            )
        blocks = run(f"SELECT DISTINCT block FROM skeleton_blocks WHERE {_OF_REQUESTS}", listed).fetchall()  # noqa: S608
        loose = run(f"SELECT DISTINCT segment FROM request_segments WHERE {_OF_REQUESTS}", listed).fetchall()  # noqa: S608
        run("DELETE FROM requests WHERE n IN (SELECT value FROM json_each(?))", listed)
        self._collect_blocks(row[0] for row in blocks)
        for row in loose:
            self._delete_unused("loose_segments", row[0])

    def _finish(self) -> None:
        """Write the lots that lost blocks, and take words out of the index, all at once."""
        self._lots.finish()
        self._search.take_out()
        self._others_must_forget()

    def _count(self, numbers: Sequence[int]) -> None:
        marks = ", ".join("?" * len(numbers))
        for table, key in (("requests", "n"), ("responses", "request"), ("feedback", "request")):
            query = f"SELECT count(*) FROM {table} WHERE {key} IN ({marks})"  # noqa: S608 - ours
            self.counts[table] += int(self._connection.execute(query, tuple(numbers)).fetchone()[0])

    def _collect(self, enough: Callable[[], bool]) -> bool:
        while True:
            rows = self._connection.execute("SELECT node FROM abandoned_nodes ORDER BY node DESC LIMIT 16").fetchall()
            if not rows:
                return False
            for row in rows:
                self._connection.execute("DELETE FROM abandoned_nodes WHERE node = ?", (row[0],))
                if left := self._climb(row[0], enough):
                    self._connection.execute("INSERT OR IGNORE INTO abandoned_nodes VALUES (?)", (left,))
                if enough():
                    return True

    # --- what nothing refers to -----------------------------------------------------------------------------

    def _climb(self, node: int, enough: Callable[[], bool]) -> int:
        """Delete a node, and those above it, that nothing needs; return where it had to stop for time, or 0."""
        while node:
            row = self._connection.execute(
                "SELECT parent, block, gap, explanation FROM nodes WHERE id = ?", (node,)
            ).fetchone()
            if row is None or not self._delete_unused("nodes", node):
                return 0
            self.counts["nodes"] += 1
            if row["explanation"] is not None:
                self._delete_unused("explanations", row["explanation"])
            self._collect_blocks({row["block"], row["gap"]})
            node = int(row["parent"])
            if enough():
                return node
        return 0

    def _collect_blocks(self, blocks: Iterable[int]) -> None:
        for block in blocks:
            if block and self._is_unused("blocks", block):
                self._search.forget_block(block)
                self._lots.delete(block)
                self.counts["blocks"] += 1

    def _is_unused(self, table: str, key: int) -> bool:
        statement = f"SELECT {self._unused[table]}"
        return bool(self._connection.execute(statement, {"key": key}).fetchone()[0])

    def _delete_unused(self, table: str, key: int) -> bool:
        statement = f"DELETE FROM {table} WHERE id = :key AND {self._unused[table]}"  # noqa: S608 - ours
        return self._connection.execute(statement, {"key": key}).rowcount > 0

    def _others_must_forget(self) -> None:
        """Whoever remembers ids looks at this count when it begins to write (`StorageSession`)."""
        self._connection.execute("UPDATE deletions SET count = count + 1")


def named_fields(connection: sqlite3.Connection, condition: str, parameters: tuple[int, ...]) -> set[int]:
    """Return the header fields that requests and responses under a condition name by their ids."""
    found: set[int] = set()
    for table, key in (("requests", "t.n"), ("responses", "t.request")):
        statement = _FIELDS.format(table=table, condition=condition.format(key=key))
        found.update(row[0] for row in connection.execute(statement, parameters).fetchall())
    return found


def references(connection: sqlite3.Connection) -> Mapping[str, str]:
    """Return for each table whose rows are shared the condition that nothing refers to row :key."""
    return {table: _unused(connection, table) for table in ("nodes", "blocks", "explanations", "loose_segments")}


def _unused(connection: sqlite3.Connection, table: str) -> str:
    """Return the condition that no row refers to row :key of a table, but for those that go or let go with it."""
    referring = []
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
        keys = connection.execute(f'PRAGMA foreign_key_list("{name}")').fetchall()
        referring += [
            f'NOT EXISTS (SELECT 1 FROM "{name}" WHERE "{key["from"]}" = :key)'  # noqa: S608 - from the schema
            for key in keys
            if key["table"] == table and key["on_delete"] not in ("CASCADE", "SET NULL")
        ]
    return " AND ".join(referring)
