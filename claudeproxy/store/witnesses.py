"""Texts that stood alone in one request, kept to divide the requests where they are glued to something.

Servers' names are among them, which other requests hold only as a part of tools' names (`model.server_owner`).

Apart from `explained`, which lays segments on nodes, because this passes between requests. A text that becomes known
later makes the explanations that it may better, and the requests that stand on them, outdated: `underived` names them
again, and until they are explained anew they keep what they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.model import WholeText
from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import BlockAttribution

MAX_KNOWN = 64  # of one owner: a server whose instructions hold the time of day has a new text in each session

_KNOWN = "SELECT DISTINCT length, sha256 FROM whole_texts WHERE owner = ? ORDER BY explanation DESC LIMIT ?"
_IS_KNOWN = "SELECT 1 FROM whole_texts WHERE owner = ? AND sha256 = ? LIMIT 1"
_WAITING = "SELECT explanation FROM undecided_texts WHERE owner = ?"
_OUTDATE = """
WITH RECURSIVE below (node) AS (
  SELECT id FROM nodes WHERE explanation = :explanation
  UNION SELECT n.id FROM below JOIN nodes n ON n.parent = below.node)
UPDATE requests SET rules = :rules WHERE rules > 0
  AND (node IN (SELECT node FROM below) OR context_node IN (SELECT node FROM below))
"""


def whole_texts(connection: sqlite3.Connection, owner: str) -> list[WholeText]:
    """Return what is known of an owner's texts, `MAX_KNOWN` at most."""
    rows = connection.execute(_KNOWN, (clean(owner), MAX_KNOWN)).fetchall()
    return [WholeText(owner=owner, length=row["length"], sha256=row["sha256"]) for row in rows]


class Witnesses:
    """Writes over one connection. The caller holds the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def save(self, explanation: int, block: BlockAttribution) -> set[str]:
        """Keep what a block tells and what it leaves open; return owners of whom something new is known."""
        run = self._connection.execute
        new = {one.owner for one in block.whole if not run(_IS_KNOWN, (clean(one.owner), one.sha256)).fetchone()}
        self._connection.executemany(
            "INSERT OR IGNORE INTO whole_texts (explanation, owner, length, sha256) VALUES (?, ?, ?, ?)",
            [(explanation, clean(one.owner), one.length, one.sha256) for one in block.whole],
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO undecided_texts VALUES (?, ?)",
            [(explanation, clean(owner)) for owner in block.undecided],
        )
        return new

    def outdate(self, owners: set[str], rules: int) -> list[int]:
        """Mark what may be explained better now; return the explanations. `rules`: the number of `labels.OUTDATED`."""
        found = {row[0] for owner in owners for row in self._connection.execute(_WAITING, (clean(owner),))}
        for explanation in found:
            self._connection.execute(_OUTDATE, {"explanation": explanation, "rules": rules})
            self._connection.execute("UPDATE explanations SET rules = ? WHERE id = ?", (rules, explanation))
        return sorted(found)
