"""What attribution found out, stored: segments on nodes, the rest on the request, sums per source.

Apart from `writer` because it comes later, may come again with better rules, and can all be deleted and made again
from the captures. A node is explained once per version of the rules; what a request adds is a row per source and a few
small integers. What belongs to no node (bytes outside the three sections, masked blocks, bodies stored whole) is
shared between requests where it is equal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.errors import NotFoundError, StorageError
from claudeproxy.model import Accuracy
from claudeproxy.store.labels import Labels, remember
from claudeproxy.store.places import MASKED
from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.model import Identity, RequestAttribution, Segment
    from claudeproxy.store.skeleton import Cut, PathStep
    from claudeproxy.store.tree import BlockTree

ACCURACIES = (Accuracy.EXACT, Accuracy.SHARED, Accuracy.ESTIMATED)  # position: request_sources.accuracy

SegmentRow: TypeAlias = tuple[int, int, int | None, int | None, int, int, bytes]
"""A row of table ``segments`` without its explanation."""

# Tokens of a request by source, over the segments of its path and its own: one pass, no row per request and segment.
_SUM = """
INSERT INTO request_sources (request, source, tokens, accuracy)
WITH RECURSIVE path (node, parent) AS (
  SELECT id, parent FROM nodes WHERE id = (SELECT node FROM requests WHERE n = :n) AND id > 0
  UNION ALL SELECT n.id, n.parent FROM path JOIN nodes n ON n.id = path.parent WHERE path.parent > 0),
counted (label, tokens) AS (
  SELECT s.label, s.tokens FROM path JOIN nodes n ON n.id = path.node JOIN segments s ON s.explanation = n.explanation
  UNION ALL SELECT s.label, s.tokens * m.repeats FROM request_segments m JOIN loose_segments s ON s.id = m.segment
  WHERE m.request = :n)
SELECT :n, l.source, sum(c.tokens), :accuracy FROM counted c JOIN segment_labels l ON l.id = c.label GROUP BY l.source
"""


@dataclass(frozen=True, slots=True)
class _Counted:
    """A segment with its tokens and the place that it has outside any node."""

    segment: Segment
    tokens: int
    json_path: str
    message_index: int
    role: str


class Explanations:
    """Writes attributions over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree
        self._labels = Labels(connection)
        self._loose: dict[tuple[object, ...], int] = {}
        self._versions: dict[int, int] = {}

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._labels.forget()
        self._loose.clear()
        self._versions.clear()

    def save(self, request_id: str, result: RequestAttribution, tokens: Sequence[int], *, version: str) -> None:
        """Store one request's attribution in place of what it had.

        :raises NotFoundError: no such request.
        :raises StorageError: `tokens` does not count the segments one by one.
        """
        row = self._connection.execute("SELECT n, node, skeleton FROM requests WHERE id = ?", (request_id,)).fetchone()
        if row is None:
            raise NotFoundError(f"no request {request_id}")
        if len(tokens) != len(result.segments()):
            raise StorageError(f"{len(tokens)} token counts for {len(result.segments())} segments")
        path = self._tree.path(row["node"]) if row["node"] is not None else []
        cuts = {cut.index: cut for cut in self._tree.skeleton(row["skeleton"]).cuts} if path else {}
        rules = self._labels.rules(version)
        self._clear(row["n"])
        self._save_loose(row["n"], self._save_nodes(path, cuts, result, tokens, rules))
        self._connection.execute(_SUM, {"n": row["n"], "accuracy": ACCURACIES.index(Accuracy.ESTIMATED)})
        self._save_request(row["n"], result.identity, rules)

    # --- nodes ----------------------------------------------------------------------------------------------

    def _save_nodes(
        self,
        path: Sequence[PathStep],
        cuts: dict[int, Cut],
        result: RequestAttribution,
        tokens: Sequence[int],
        rules: int,
    ) -> list[_Counted]:
        """Explain the nodes that are not yet explained by these rules; return the segments that have no node."""
        loose: list[_Counted] = []
        at = 0
        aligned = len(path) == len(result.blocks)  # otherwise the body is stored whole, and no node is this request's
        for index, block in enumerate(result.blocks):
            counts = tokens[at : at + len(block.segments)]
            at += len(block.segments)
            step = path[index] if aligned else None
            if step is None or step.place & MASKED:
                loose += [
                    _Counted(segment, count, block.json_path + segment.path, block.message_index, block.role)
                    for segment, count in zip(block.segments, counts, strict=True)
                ]
            elif step.explanation is None or not self._is_by(step.explanation, rules):
                self._explain(step, self._rows(block.segments, counts, cuts.get(index)), rules)
        loose += [
            _Counted(segment, count, segment.path, -1, "system")
            for segment, count in zip(result.overhead, tokens[at:], strict=True)
        ]
        return loose

    def _is_by(self, explanation: int, rules: int) -> bool:
        if explanation not in self._versions:
            row = self._connection.execute("SELECT rules FROM explanations WHERE id = ?", (explanation,)).fetchone()
            remember(self._versions, explanation, int(row[0]))
        return self._versions[explanation] == rules

    def _rows(self, segments: Sequence[Segment], tokens: Sequence[int], cut: Cut | None) -> list[SegmentRow]:
        member = 0
        if cut is not None:
            member = len(self._tree.read_block(cut.literal)) if isinstance(cut.literal, int) else len(cut.literal)
        return [
            (
                ordinal,
                self._labels.label(segment),
                segment.start,
                segment.end,
                segment.byte_end if cut is None else _without_cut(segment.byte_end, cut.offset, member),
                count,
                _text_hash(segment),
            )
            for ordinal, (segment, count) in enumerate(zip(segments, tokens, strict=True))
        ]

    def _explain(self, step: PathStep, rows: list[SegmentRow], rules: int) -> None:
        """Give a node its explanation: that of another node with the same block where it is equal, or a new one."""
        explanation = self._equal_explanation(step.block, rows, rules)
        if explanation is None:
            explanation = int(
                self._connection.execute(
                    "INSERT INTO explanations (block, rules) VALUES (?, ?) RETURNING id", (step.block, rules)
                ).fetchone()[0]
            )
            self._connection.executemany(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(explanation, *row) for row in rows]
            )
        self._connection.execute("UPDATE nodes SET explanation = ? WHERE id = ?", (explanation, step.node))
        if step.explanation is not None:
            self._connection.execute(
                "DELETE FROM explanations WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM nodes WHERE block = ?2 AND explanation = ?1)",
                (step.explanation, step.block),
            )

    def _equal_explanation(self, block: int, rows: list[SegmentRow], rules: int) -> int | None:
        candidates = self._connection.execute(
            "SELECT id FROM explanations WHERE block = ? AND rules = ? LIMIT 4", (block, rules)
        ).fetchall()
        for (candidate,) in candidates:
            stored = self._connection.execute(
                'SELECT ordinal, label, start, "end", byte_end, tokens, content_hash FROM segments'
                " WHERE explanation = ? ORDER BY ordinal",
                (candidate,),
            ).fetchall()
            if [tuple(row) for row in stored] == rows:
                return int(candidate)
        return None

    # --- the request's own ----------------------------------------------------------------------------------

    def _clear(self, number: int) -> None:
        self._connection.execute("DELETE FROM request_segments WHERE request = ?", (number,))
        self._connection.execute("DELETE FROM request_sources WHERE request = ?", (number,))

    def _save_loose(self, number: int, segments: Sequence[_Counted]) -> None:
        repeats = Counter(self._loose_segment(one) for one in segments)  # in order of first appearance
        self._connection.executemany(
            "INSERT INTO request_segments VALUES (?, ?, ?, ?)",
            [(number, ordinal, segment, count) for ordinal, (segment, count) in enumerate(repeats.items())],
        )

    def _loose_segment(self, one: _Counted) -> int:
        segment = one.segment
        key = (
            self._labels.label(segment),
            clean(one.json_path),
            one.message_index,
            clean(one.role),
            segment.start,
            segment.end,
            one.tokens,
            _text_hash(segment),
        )
        if (known := self._loose.get(key)) is None:
            row = self._connection.execute(
                "SELECT id FROM loose_segments WHERE content_hash = ?8 AND label = ?1 AND json_path = ?2"
                ' AND message_index = ?3 AND message_role = ?4 AND start IS ?5 AND "end" IS ?6 AND tokens = ?7',
                key,
            ).fetchone()
            if row is None:
                row = self._connection.execute(
                    "INSERT INTO loose_segments"
                    ' (label, json_path, message_index, message_role, start, "end", tokens, content_hash)'
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
                    key,
                ).fetchone()
            known = int(row[0])
            remember(self._loose, key, known)
        return known

    def _save_request(self, number: int, identity: Identity, rules: int) -> None:
        self._connection.execute(
            """
            UPDATE requests SET session_id = ?, agent_id = ?, parent_agent_id = ?, agent_type = ?, request_class = ?,
              client = ?, client_version = ?, model = ?, project = ?, previous_message_id = ?, rules = ?,
              total_tokens = (SELECT ifnull(sum(tokens), 0) FROM request_sources WHERE request = requests.n)
            WHERE n = ?
            """,
            (
                clean(identity.session_id),
                clean(identity.agent_id),
                clean(identity.parent_agent_id),
                clean(identity.agent_type),
                clean(identity.request_class),
                clean(identity.client),
                clean(identity.client_version),
                clean(identity.model),
                clean(identity.project),
                clean(identity.previous_message_id),
                rules,
                number,
            ),
        )


def _without_cut(offset: int, cut: int, length: int) -> int:
    """Turn an offset in a block as sent into one in the block as stored, without its cache_control member."""
    return offset if offset <= cut else max(cut, offset - length)


def _text_hash(segment: Segment) -> bytes:
    return sha256(segment.text.encode("utf-8", "surrogatepass")).digest()
