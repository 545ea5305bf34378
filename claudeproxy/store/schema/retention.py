"""m0012: what deletion needs: indexes to see that nothing refers to a row any more, and work that outlives a crash."""

from __future__ import annotations

STATEMENTS = (
    # Without these each deleted block, explanation or segment would make SQLite read the whole referring table.
    "CREATE INDEX nodes_gap ON nodes (gap)",
    "CREATE INDEX nodes_explanation ON nodes (explanation) WHERE explanation IS NOT NULL",
    "CREATE INDEX request_segments_segment ON request_segments (segment)",
    # Last nodes of deleted requests: each is collected, with the path above it, once nothing else goes through it.
    "CREATE TABLE abandoned_nodes (node INTEGER PRIMARY KEY REFERENCES nodes(id) ON DELETE CASCADE) STRICT",
    # Raised by each transaction that deletes what others may remember by its id.
    "CREATE TABLE deletions (id INTEGER PRIMARY KEY CHECK (id = 0), count INTEGER NOT NULL) STRICT",
    "INSERT INTO deletions VALUES (0, 0)",
)
