"""Numbers for what many segments have in common: sources, labels, versions of the rules.

Apart from `explained`, which lays segments on nodes, because this is plain interning: find or add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import Segment, Source

K = TypeVar("K")

# Stand in place of the version of the rules, so that a request is among the `underived`:
OUTDATED = "outdated"  # others tell something by which it can be explained better
UNSETTLED = "unsettled"  # explained while it was in flight; what its end adds is to come

MAX_REMEMBERED = 8_192  # entries in a memory


class Labels:
    """Interns over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[object, ...], int] = {}

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._known.clear()

    def rules(self, version: str) -> int:
        """Return the number of a version of the rules."""
        if (known := self._known.get((version,))) is None:
            known = rules_id(self._connection, version)
            remember(self._known, (version,), known)
        return known

    def label(self, segment: Segment) -> int:
        """Return the number of what this segment shares with others: source, kind, path, rule, evidence, confidence."""
        key = (segment.source, segment.kind, segment.path, segment.rule, segment.evidence, segment.confidence)
        if (known := self._known.get(key)) is None:
            values = (
                self.source(segment.source),
                clean(segment.kind),
                clean(segment.path),
                clean(segment.rule),
                clean(segment.evidence or ""),
                segment.confidence,
            )
            self._connection.execute(
                "INSERT OR IGNORE INTO segment_labels (source, kind, path, rule, evidence, confidence)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
            row = self._connection.execute(
                "SELECT id FROM segment_labels WHERE source = ? AND kind = ? AND path = ? AND rule = ?"
                " AND evidence = ? AND confidence = ?",
                values,
            ).fetchone()
            known = int(row[0])
            remember(self._known, key, known)
        return known

    def source(self, source: Source) -> int:
        """Return the number of a source."""
        values = (source.type.value, clean(source.name), clean(source.plugin), clean(source.via), clean(source.label))
        if (known := self._known.get(values)) is None:
            self._connection.execute(
                "INSERT OR IGNORE INTO sources (type, name, plugin, via, label) VALUES (?, ?, ?, ?, ?)", values
            )
            row = self._connection.execute(
                "SELECT id FROM sources WHERE type = ? AND ifnull(name, '') = ifnull(?, '')"
                " AND ifnull(plugin, '') = ifnull(?, '') AND ifnull(via, '') = ifnull(?, '')",
                values[:4],
            ).fetchone()
            known = int(row[0])
            remember(self._known, values, known)
        return known


def rules_id(connection: sqlite3.Connection, version: str) -> int:
    """Return the number of a version of the rules, found or made."""
    connection.execute("INSERT OR IGNORE INTO rules (version) VALUES (?)", (clean(version),))
    return int(connection.execute("SELECT id FROM rules WHERE version = ?", (clean(version),)).fetchone()[0])


def remember(memory: dict[K, int], key: K, value: int) -> None:
    """Add to a memory that is emptied when it is full."""
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = value
