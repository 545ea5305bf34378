"""What each source has in a request, written down for as long as it stays the same.

A request repeats the one before it: of its seventy sources a handful have other numbers than a turn ago. So requests of
one conversation stand in a lane, and a row of ``source_runs`` holds for all requests of its lane from `first` to
`last`. The view ``request_sources`` gives the rows of each request; nothing but this module writes them.

A lane has few requests, so that reading one does not go through the rows of hundreds. Its newest request can be written
again; one that is written again in its midst leaves for another lane, and what held for others stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_MOST = 16  # requests in a lane
_OPEN = (1 << 31) - 1  # `last` of what holds for the next request, too; in four bytes: a row has no more to spare

_OF_REQUEST = """
SELECT source, tokens, accuracy, cost, segments, output FROM request_sources WHERE request = ? AND output
"""
_OF_LANE = """
SELECT source, tokens, accuracy, cost, segments, output FROM source_runs WHERE lane = ? AND last = ?
"""
# Of the request before this one that is most like it: what it follows is found out after its sources are written.
_BEFORE = """
SELECT p.lane FROM requests q JOIN requests p ON p.session_id = q.session_id AND p.agent_id IS q.agent_id
AND p.request_class IS q.request_class AND p.lane IS NOT NULL AND p.n < q.n
WHERE q.n = ? ORDER BY p.request_initiated DESC LIMIT 1
"""
_UNUSED = """
DELETE FROM source_runs WHERE lane = ?1
AND NOT EXISTS (SELECT 1 FROM requests q WHERE q.lane = ?1 AND q.n BETWEEN first AND last)
"""


class SourceRow(NamedTuple):
    """A source's part in a request: its cost in pico-dollars, how many pieces; `output`: 1 for parts of the answer."""

    source: int
    tokens: int
    accuracy: int
    cost: int | None
    segments: int
    output: int = 0


class SourceRuns:
    """Writes over one connection. The caller holds the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def write(self, number: int, rows: Iterable[SourceRow], outputs: Iterable[SourceRow] | None = None) -> None:
        """Write what a request has of each source in place of what it had; without `outputs` those stay."""
        run = self._connection.execute
        if outputs is None:
            outputs = (SourceRow(*row) for row in run(_OF_REQUEST, (number,)).fetchall())
        new = {row.source: row for row in (*rows, *outputs)}
        left, lane = self._leave(number)
        if lane:  # what this request has ended before goes on, and what was ended by requests that are gone
            ended = number - (left == lane)
            run("UPDATE source_runs SET last = ?1 WHERE lane = ?2 AND last >= ?3 AND last < ?1", (_OPEN, lane, ended))
        current = {row[0]: SourceRow(*row) for row in run(_OF_LANE, (lane, _OPEN))} if lane else {}
        changed = [row for source, row in new.items() if current.get(source) != row]
        if not lane or 2 * len(changed) > len(new):
            lane = run("SELECT ifnull(max(lane), 0) + 1 FROM source_runs").fetchone()[0]
            current, changed = {}, list(new.values())
        over = [source for source in current if source not in new or current[source] != new[source]]
        self._connection.executemany(
            "UPDATE source_runs SET last = ? WHERE lane = ? AND source = ? AND last = ?",
            [(number - 1, lane, source, _OPEN) for source in over],
        )
        self._connection.executemany(
            "INSERT INTO source_runs (lane, first, last, source, tokens, accuracy, cost, segments, output)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(lane, number, _OPEN, *row) for row in changed],
        )
        pieces = sum(row.segments for row in new.values())
        run("UPDATE requests SET lane = ?, pieces = ? WHERE n = ?", (lane if new else None, pieces, number))
        if left and left != lane:
            run(_UNUSED, (left,))

    def _leave(self, number: int) -> tuple[int | None, int | None]:
        """Return the lane that a request is in, and the one that it may go on in: its own if it is the newest there.

        One that is alone looks for company again: while it was in flight its numbers were estimates, like nobody's.
        """
        run = self._connection.execute
        (left,) = run("SELECT lane FROM requests WHERE n = ?", (number,)).fetchone()
        if left is not None:
            count, newest = run("SELECT count(*), max(n) FROM requests WHERE lane = ?", (left,)).fetchone()
            if newest == number:
                run("DELETE FROM source_runs WHERE lane = ? AND first = ?", (left, number))
                if count > 1:
                    return left, left
        for (lane,) in run(_BEFORE, (number,)).fetchall():
            count, newest = run("SELECT count(*), max(n) FROM requests WHERE lane = ?", (lane,)).fetchone()
            if count < _MOST and newest < number:
                return left, lane
        return left, None
