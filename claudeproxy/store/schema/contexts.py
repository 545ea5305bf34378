"""m0013: how many pieces a source has in a request: what tells the total of a search through pieces, and its pages.

Without it each such search would have to expand the path of every request that may hold a match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

STATEMENTS = (
    # Rows of context_attributions with this request and source; moves with `tokens`.
    "ALTER TABLE request_sources ADD COLUMN segments INTEGER NOT NULL DEFAULT 0",
)

_COUNT = """
WITH RECURSIVE path (node, parent) AS (
  SELECT id, parent FROM nodes WHERE id = (SELECT ifnull(context_node, node) FROM requests WHERE n = :n) AND id > 0
  UNION ALL SELECT n.id, n.parent FROM path JOIN nodes n ON n.id = path.parent WHERE path.parent > 0),
labelled (label) AS (
  SELECT s.label FROM path JOIN nodes n ON n.id = path.node JOIN segments s ON s.explanation = n.explanation
  UNION ALL SELECT s.label FROM request_segments m JOIN loose_segments s ON s.id = m.segment WHERE m.request = :n)
UPDATE request_sources SET segments = c.segments FROM (
  SELECT l.source AS source, count(*) AS segments FROM labelled JOIN segment_labels l ON l.id = labelled.label
  GROUP BY l.source) c
WHERE request_sources.request = :n AND request_sources.source = c.source
"""


def count_segments(connection: sqlite3.Connection) -> None:
    """Count what a database of an older version holds; some tenths of a millisecond a request."""
    for (number,) in connection.execute("SELECT DISTINCT request FROM request_sources").fetchall():
        connection.execute(_COUNT, {"n": number})
