"""`ChangeLog`: what became of exchanges since a moment, for whoever follows captures while they are made.

Apart from `storage` because nobody but the live feeds asks. It reads the log that triggers keep (`schema.changes`), so
it sees what any process stored. Changes are numbered in the order of their commits: a reader that passes the last
number it saw gets every later change once, after a restart too. An exchange is told as it is when it is read: of two
changes that came together the first tells the second's state already.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.store import listing, queries
from claudeproxy.store.schema.changes import ATTRIBUTED, ENDED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, RequestFilters, SourceTotal

PAGE = 100
"""Changes looked at in one go: some 50 ms of reading at the most."""

_NEWEST = "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0)"
_SINCE = "SELECT seq, request, kind FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"
# Ended, and either with nothing to explain or explained since.
_FINAL = f"""
SELECT q.n FROM requests q LEFT JOIN changes e ON e.request = q.n AND e.kind = {ENDED}
LEFT JOIN changes a ON a.request = q.n AND a.kind = {ATTRIBUTED}
WHERE q.n IN (SELECT value FROM json_each(?)) AND q.state <> 'in_flight' AND (q.rules = 0 OR a.seq > ifnull(e.seq, 0))
"""  # noqa: S608 - numbers of ours
_AMONG = "c.n IN (SELECT value FROM json_each(:among))"


class Change(StrEnum):
    """What happened to an exchange; in the order of the numbers in the table."""

    STARTED = "started"  # seen while in flight
    ENDED = "ended"
    ATTRIBUTED = "attributed"  # its context was explained, or its sums were derived anew after its end


_KINDS = tuple(Change)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureChange:
    """One change. `request` and `sources` are as they were when it was read."""

    number: int
    change: Change
    request: CapturedRequest
    sources: Sequence[SourceTotal]
    final: bool  # the exchange has ended and, if it brought any context, is explained


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePage:
    """The next changes that match, and the number from which to ask on (of the last one looked at)."""

    changes: Sequence[CaptureChange]
    upto: int
    more: bool  # there may be others waiting


class ChangeLog:
    """Reads the changes of one storage; may be used by one thread at a time, as that."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def newest(self) -> int:
        """Return the number of the latest change, 0 when there was none. Cheap: to be asked often."""
        with self._storage.reading() as connection:
            return int(connection.execute(_NEWEST).fetchone()[0])

    def since(self, after: int, filters: RequestFilters, *, limit: int = PAGE) -> ChangePage:
        """Return the changes after a number whose exchange matches now; paging in `filters` is ignored.

        A number that was not given yet is of another database (this one was replaced): then from the beginning.
        """
        with self._storage.reading() as connection:
            connection.execute("BEGIN")  # the log and the rows from one snapshot
            try:
                if after > int(connection.execute(_NEWEST).fetchone()[0]):
                    after = 0
                noted = connection.execute(_SINCE, (after, limit)).fetchall()
                rows = _matching(connection, filters, {row["request"] for row in noted})
                final = {row[0] for row in connection.execute(_FINAL, (json.dumps(list(rows)),))}
            finally:
                connection.execute("ROLLBACK")
        requests = {number: queries.request_from(row, self._storage) for number, row in rows.items()}
        sources = {number: self._storage.sources(request.id) for number, request in requests.items()}
        changes = tuple(
            CaptureChange(
                number=row["seq"],
                change=_KINDS[row["kind"]],
                request=requests[row["request"]],
                sources=sources[row["request"]],
                final=row["request"] in final,
            )
            for row in noted
            if row["request"] in requests
        )
        return ChangePage(changes=changes, upto=noted[-1]["seq"] if noted else after, more=len(noted) == limit)


def note_attributed(connection: sqlite3.Connection, number: int) -> None:
    """Tell that what was derived of an explained request changed. The caller holds the transaction."""
    connection.execute("DELETE FROM changes WHERE request = ? AND kind = ?", (number, ATTRIBUTED))
    connection.execute("INSERT INTO changes (request, kind) VALUES (?, ?)", (number, ATTRIBUTED))


def _matching(connection: sqlite3.Connection, filters: RequestFilters, among: set[int]) -> dict[int, sqlite3.Row]:
    """Return the rows of those requests among these that match."""
    if not among:
        return {}
    query = listing.list_query(filters, max(among))
    parameters = {**query.parameters, "among": json.dumps(sorted(among))}
    matching = f"{queries.REQUESTS} WHERE c.n IN ({query.numbers} AND {_AMONG})"
    return {row["n"]: row for row in connection.execute(matching, parameters)}
