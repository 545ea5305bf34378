"""Secrets that bodies held, stored: with the exchange that held them, and later with the source they came through.

Apart from `writer`, which maps an exchange to its rows, because these outlive the exchange, and because the source is
known only when the request has been explained: `SecretPlaces` looks it up then.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from claudeproxy.errors import CorruptBodyError, StorageError
from claudeproxy.model import Direction, SourceType
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import BlockSpan, RequestLayout, layout
from claudeproxy.store.codec import Codec
from claudeproxy.store.tree import BlockTree

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.skeleton import PathStep
    from claudeproxy.store.storage import CaptureStorage

NOT_ATTRIBUTED = "not attributed"
"""The label of a place of which no source is known: a body that was stored whole."""

_AT_ONCE = 8  # requests whose sightings are placed between two looks at the journal

_SEEN = """
INSERT INTO secrets (rule, hash, first_seen, last_seen, sent, received, masked) VALUES (:rule, :hash, :at, :at, 0, 0, 0)
ON CONFLICT DO UPDATE SET first_seen = min(first_seen, excluded.first_seen),
  last_seen = max(last_seen, excluded.last_seen)
RETURNING id
"""
_KNOWN = "SELECT 1 FROM secret_sightings WHERE secret = ? AND request = ? AND direction = ?"
_SIGHTING = "INSERT OR IGNORE INTO secret_sightings VALUES (?, ?, ?, ?, ?, ?, ?, NULL)"
_UNPLACED = """
SELECT DISTINCT s.request FROM secret_sightings s JOIN requests q ON q.n = s.request
WHERE s.source IS NULL AND q.rules IS NOT NULL AND q.state <> 'in_flight' LIMIT ?
"""
_GIVEN_UP = "UPDATE secret_sightings SET source = ? WHERE request = ? AND source IS NULL"
_SOURCE = """
INSERT INTO secret_sources VALUES (:secret, :label, :at, :at, 1)
ON CONFLICT DO UPDATE SET first_seen = min(first_seen, excluded.first_seen),
  last_seen = max(last_seen, excluded.last_seen), requests = requests + 1
"""
_SEGMENT = """
SELECT l.path, o.label FROM segments s JOIN segment_labels l ON l.id = s.label JOIN sources o ON o.id = l.source
WHERE s.explanation = ? AND s.byte_end > ? ORDER BY s.ordinal LIMIT 1
"""


def save_secrets(connection: sqlite3.Connection, number: int, exchange: RecordedExchange) -> None:
    """Keep what request `number` or its answer held. The caller holds the transaction; saving again changes nothing."""
    at = exchange.instants.request_initiated
    for one in exchange.secrets:
        values = {"rule": one.rule, "hash": one.hash, "at": at}
        secret = int(connection.execute(_SEEN, values).fetchone()[0])
        if connection.execute(_KNOWN, (secret, number, one.direction.value)).fetchone() is None:
            connection.execute(
                f"UPDATE secrets SET {one.direction.value} = {one.direction.value} + 1, masked = masked + ?"  # noqa: S608 - an enum
                " WHERE id = ?",
                (int(one.redacted), secret),
            )
        answer = None if one.direction is Direction.SENT else SourceType.ASSISTANT.value
        sighting = (secret, number, one.direction.value, one.start, one.length, int(one.redacted), answer)
        added = connection.execute(_SIGHTING, sighting).rowcount
        if added and answer is not None:
            _count_source(connection, secret, number, answer, at)


def _count_source(connection: sqlite3.Connection, secret: int, number: int, label: str, at: int) -> None:
    """Count a source's request once, however often the secret stands in it. Called when a sighting has its source."""
    before = connection.execute(
        "SELECT count(*) FROM secret_sightings WHERE secret = ? AND request = ? AND source = ?", (secret, number, label)
    ).fetchone()[0]
    if before == 1:
        connection.execute(_SOURCE, {"secret": secret, "label": label, "at": at})


class SecretPlaces:
    """Looks up, for sightings in explained requests, whose text the secret stood in. Over a writable storage."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage
        self._codec = Codec()

    def catch_up(self) -> bool:
        """Place what a few requests held; tell whether there may be more.

        :raises StorageError: the database cannot be written.
        """
        with self._storage.reading() as connection:
            numbers = [int(row[0]) for row in connection.execute(_UNPLACED, (_AT_ONCE,)).fetchall()]
        for number in numbers:
            try:
                with self._storage.writing() as connection:
                    self._place(connection, number)
            except StorageError:
                raise
            except Exception:  # noqa: BLE001 - a hostile body must not end the recorder, nor be tried for ever
                with self._storage.writing() as connection:
                    connection.execute(_GIVEN_UP, (NOT_ATTRIBUTED, number))
        return len(numbers) == _AT_ONCE

    def _place(self, connection: sqlite3.Connection, number: int) -> None:
        at = int(connection.execute("SELECT request_initiated FROM requests WHERE n = ?", (number,)).fetchone()[0])
        where = _Whereabouts(connection, BlockTree(connection, self._codec), number)
        rows = connection.execute(
            "SELECT secret, start FROM secret_sightings WHERE request = ? AND source IS NULL ORDER BY start", (number,)
        ).fetchall()
        for secret, start in rows:
            label, path = where.of(start)
            connection.execute(
                "UPDATE secret_sightings SET source = ?, json_path = ?"
                " WHERE secret = ? AND request = ? AND direction = 'sent' AND start = ?",
                (label, path, secret, number, start),
            )
            _count_source(connection, secret, number, label, at)


class _Whereabouts:
    """Byte offsets in one stored request to labels and paths."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree, number: int) -> None:
        self._connection = connection
        row = connection.execute("SELECT node, skeleton, context_node FROM requests WHERE n = ?", (number,)).fetchone()
        self._layout: RequestLayout | None = None
        self._path: list[PathStep] = []
        self._rebuilt: list[PathStep] = []
        if row["node"] is None:
            return
        try:
            self._layout = layout(tree.rebuild(row["node"], row["skeleton"]))
        except (JSONSpanError, CorruptBodyError):
            return
        self._path = tree.path(row["node"])
        self._rebuilt = [] if row["context_node"] is None else tree.path(row["context_node"])
        self._blocks = sorted(enumerate(self._layout.blocks), key=lambda one: one[1].start)
        self._starts = [block.start for _, block in self._blocks]

    def of(self, offset: int) -> tuple[str, str | None]:
        """Label and JSON path of the piece that the byte at `offset` belongs to."""
        if self._layout is None:
            return NOT_ATTRIBUTED, None
        found = bisect_right(self._starts, offset) - 1
        if found >= 0:
            index, block = self._blocks[found]
            if offset < block.end:
                return self._within(index, block, offset)
        member = next((one for one in self._layout.members if one.start <= offset < one.end), None)
        return SourceType.OVERHEAD.value, "$" if member is None else f"$.{member.key}"

    def _within(self, index: int, block: BlockSpan, offset: int) -> tuple[str, str]:
        explanation = self._explanation(index)
        if explanation is None:
            return NOT_ATTRIBUTED, block.json_path
        at = offset - block.start
        if block.cut is not None and offset >= block.cut[0]:
            at -= min(offset, block.cut[1]) - block.cut[0]  # the stored block lacks its cache_control
        row = self._connection.execute(_SEGMENT, (explanation, at)).fetchone()
        return (NOT_ATTRIBUTED, block.json_path) if row is None else (row["label"], block.json_path + row["path"])

    def _explanation(self, index: int) -> int | None:
        if index >= len(self._path):
            return None
        if (found := self._path[index].explanation) is not None:
            return found
        # Of a continued thread the rebuilt conversation is explained: what was sent are its last blocks.
        back = len(self._path) - index
        return self._rebuilt[-back].explanation if back <= len(self._rebuilt) else None
