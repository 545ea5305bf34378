"""What a request has of its own beside its path: segments of no node, sums per source, what nobody saw.

Apart from `explained`, which lays segments on nodes that many requests share, because all of this is the request's and
goes with it. Segments of no node (bytes outside the three sections, masked blocks, bodies stored whole) are mostly
equal from request to request, so requests share their rows.
"""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.model import Segment, Source, SourceType
from claudeproxy.store.labels import Labels, remember
from claudeproxy.store.numbers import ESTIMATED
from claudeproxy.store.runs import SourceRow, SourceRuns
from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.aggregates import SourceAggregates

# Tokens of a request by source, over the segments of its path and its own: one pass, no row per request and segment.
_SUM = """
WITH RECURSIVE path (node, parent) AS (
  SELECT id, parent FROM nodes WHERE id = (SELECT ifnull(context_node, node) FROM requests WHERE n = :n) AND id > 0
  UNION ALL SELECT n.id, n.parent FROM path JOIN nodes n ON n.id = path.parent WHERE path.parent > 0),
counted (label, tokens) AS (
  SELECT s.label, s.tokens FROM path JOIN nodes n ON n.id = path.node JOIN segments s ON s.explanation = n.explanation
  UNION ALL SELECT s.label, s.tokens * m.repeats FROM request_segments m JOIN loose_segments s ON s.id = m.segment
  WHERE m.request = :n)
SELECT l.source, sum(c.tokens), :accuracy, NULL, count(*)
FROM counted c JOIN segment_labels l ON l.id = c.label GROUP BY l.source
"""

# The bill of a request whose context was not seen from its beginning.
_UNSEEN = """
SELECT q.previous_message_id,
  ifnull(p.input_tokens, 0) + ifnull(p.cache_creation_input_tokens, 0) + ifnull(p.cache_read_input_tokens, 0) AS billed
FROM requests q JOIN responses p ON p.request = q.n WHERE q.n = ? AND NOT q.context_complete
"""
_UNSEEN_ORDINAL = 1_000_000  # behind the request's own segments


class Counted(NamedTuple):
    """A segment with its tokens and the place that it has outside any node."""

    segment: Segment
    tokens: int
    json_path: str
    message_index: int
    role: str


class RequestTotals:
    """Writes over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, labels: Labels, aggregates: SourceAggregates) -> None:
        self._connection = connection
        self._labels = labels
        self._aggregates = aggregates
        self._runs = SourceRuns(connection)
        self._loose: dict[tuple[object, ...], int] = {}

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._loose.clear()

    def save_loose(self, number: int, segments: Sequence[Counted], *, first: bool) -> None:
        """Store the segments of no node in place of what was there. `first`: the request has none."""
        if not first:
            self._connection.execute(
                "DELETE FROM request_segments WHERE request = ? AND ordinal BETWEEN 0 AND ?", (number, _UNSEEN_ORDINAL)
            )
        alike: dict[tuple[object, ...], tuple[Counted, int]] = {}  # the brackets between hundreds of messages
        for one in segments:
            s = one.segment
            key = (id(s.source), s.kind, s.path, s.rule, s.evidence, s.start, s.end, s.text, s.confidence, one[1:])
            alike[key] = (one, alike[key][1] + 1 if key in alike else 1)
        repeats: Counter[int] = Counter()  # in order of first appearance
        for one, count in alike.values():
            repeats[self.loose_segment(one)] += count
        self._connection.executemany(
            "INSERT INTO request_segments (request, ordinal, segment, repeats) VALUES (?, ?, ?, ?)",
            [(number, ordinal, segment, count) for ordinal, (segment, count) in enumerate(repeats.items())],
        )

    def loose_segment(self, one: Counted) -> int:
        """Return the number of a segment of no node, found or made."""
        segment = one.segment
        key = (
            self._labels.label(segment),
            clean(one.json_path),
            one.message_index,
            clean(one.role),
            segment.start,
            segment.end,
            one.tokens,
            text_hash(segment),
        )
        if (known := self._loose.get(key)) is None:
            row = self._connection.execute(
                "SELECT id FROM loose_segments WHERE content_hash = ?8 AND label = ?1 AND json_path = ?2"
                ' AND message_index = ?3 AND message_role = ?4 AND start IS ?5 AND "end" IS ?6 AND tokens = ?7',
                key,
            ).fetchone()
            if row is None:
                known = self._connection.execute(
                    "INSERT INTO loose_segments"
                    ' (label, json_path, message_index, message_role, start, "end", tokens, content_hash)'
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    key,
                ).lastrowid
            known = int(row[0] if row is not None else known or 0)
            remember(self._loose, key, known)
        return known

    def sum(self, number: int) -> None:
        """Add up the request's sources: those of its path, and its own."""
        with self._aggregates.changing(number):
            rows = self._connection.execute(_SUM, {"n": number, "accuracy": ESTIMATED}).fetchall()
            self._runs.write(number, [SourceRow(*row) for row in rows], ())
        self._connection.execute(
            "UPDATE requests SET total_tokens ="
            " (SELECT ifnull(sum(tokens), 0) FROM request_sources WHERE request = requests.n) WHERE n = ?",
            (number,),
        )

    def settle(self, number: int) -> None:
        """Say what was billed and never seen: of a thread that began before us, the bill is all that tells of it."""
        row = self._connection.execute(_UNSEEN, (number,)).fetchone()
        if row is None:
            return
        self._connection.execute(
            "DELETE FROM request_segments WHERE request = ? AND ordinal = ?", (number, _UNSEEN_ORDINAL)
        )
        self.sum(number)
        seen = self._connection.execute("SELECT total_tokens FROM requests WHERE n = ?", (number,)).fetchone()[0]
        if row["billed"] > seen:
            unseen = Counted(_unseen(row["previous_message_id"]), row["billed"] - seen, "$.thread", -1, "system")
            self._connection.execute(
                "INSERT INTO request_segments (request, ordinal, segment, repeats) VALUES (?, ?, ?, 1)",
                (number, _UNSEEN_ORDINAL, self.loose_segment(unseen)),
            )
            self.sum(number)


def _unseen(message_id: str | None) -> Segment:
    return Segment(
        source=Source(type=SourceType.FRAMEWORK, name="unseen thread context"),
        kind="unseen",
        path="",
        start=None,
        end=None,
        byte_start=0,
        byte_end=0,
        rule="thread.unseen",
        evidence=message_id,
    )


def text_hash(segment: Segment) -> bytes:
    """Return the SHA-256 of a segment's UTF-8 text."""
    return sha256(segment.text.encode("utf-8", "surrogatepass")).digest()
