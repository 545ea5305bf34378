"""Segments on nodes: where a block of a prompt came from, told once for all the requests whose path goes through it.

Apart from `explained`, which saves a request, because a node is explained once for each version of the rules, whichever
request came first; and nodes with the same block share an explanation where it is equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.store.labels import remember
from claudeproxy.store.totals import text_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from claudeproxy.model import Segment
    from claudeproxy.store.labels import Labels
    from claudeproxy.store.skeleton import PathStep

SegmentRow: TypeAlias = tuple[int, int, int | None, int | None, int, int, bytes]
"""A row of table ``segments`` without its explanation."""

Gone: TypeAlias = tuple[int, int]
"""Where in a stored block its cache_control member was, and how many bytes it had."""


class NodeSegments:
    """Writes over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection, labels: Labels) -> None:
        self._connection = connection
        self._labels = labels
        self._versions: dict[int, int] = {}

    def forget(self, explanations: Iterable[int] | None = None) -> None:
        """Forget which rules made these explanations, or all: they may have been rolled back, or deleted."""
        if explanations is None:
            self._versions.clear()
        else:
            for explanation in explanations:
                self._versions.pop(explanation, None)

    def unexplained(self, path: Sequence[PathStep], rules: int) -> list[int]:
        """Return which nodes of a path are not explained by these rules."""
        version = self._versions.get
        return [
            index
            for index, (_, _, _, _, _, explanation) in enumerate(path)
            if explanation is None or (version(explanation) != rules and self._version(explanation) != rules)
        ]

    def _version(self, explanation: int) -> int:
        if (known := self._versions.get(explanation)) is None:
            row = self._connection.execute("SELECT rules FROM explanations WHERE id = ?", (explanation,)).fetchone()
            known = int(row[0])
            remember(self._versions, explanation, known)
        return known

    def explain(
        self, step: PathStep, segments: Sequence[Segment], tokens: Sequence[int], cut: Gone | None, rules: int
    ) -> int:
        """Give a node its explanation: that of another node with the same block where it is equal, or a new one.

        Sizes do not make a difference: they only say how a block's tokens are divided.
        """
        rows = self._rows(segments, tokens, cut)
        explanation = self._equal_explanation(step.block, rows, rules)
        if explanation is None:
            inserted = self._connection.execute(
                "INSERT INTO explanations (block, rules) VALUES (?, ?)", (step.block, rules)
            )
            explanation = int(inserted.lastrowid or 0)
            self._connection.executemany(
                "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(explanation, *row) for row in rows]
            )
        remember(self._versions, explanation, rules)
        self._connection.execute("UPDATE nodes SET explanation = ? WHERE id = ?", (explanation, step.node))
        if step.explanation is not None:
            self._connection.execute(
                "DELETE FROM explanations WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM nodes WHERE block = ?2 AND explanation = ?1)",
                (step.explanation, step.block),
            )
        return explanation

    def _rows(self, segments: Sequence[Segment], tokens: Sequence[int], cut: Gone | None) -> list[SegmentRow]:
        return [
            (
                ordinal,
                self._labels.label(segment),
                segment.start,
                segment.end,
                segment.byte_end if cut is None else _without_cut(segment.byte_end, *cut),
                count,
                text_hash(segment),
            )
            for ordinal, (segment, count) in enumerate(zip(segments, tokens, strict=True))
        ]

    def _equal_explanation(self, block: int, rows: list[SegmentRow], rules: int) -> int | None:
        candidates = self._connection.execute(
            "SELECT id FROM explanations WHERE block = ? AND rules = ? LIMIT 4", (block, rules)
        ).fetchall()
        wanted = [(*row[:5], row[6]) for row in rows]
        for (candidate,) in candidates:
            stored = self._connection.execute(
                'SELECT ordinal, label, start, "end", byte_end, content_hash FROM segments'
                " WHERE explanation = ? ORDER BY ordinal",
                (candidate,),
            ).fetchall()
            if [tuple(row) for row in stored] == wanted:
                return int(candidate)
        return None


def _without_cut(offset: int, cut: int, length: int) -> int:
    """Turn an offset in a block as sent into one in the block as stored, without its cache_control member."""
    return offset if offset <= cut else max(cut, offset - length)
