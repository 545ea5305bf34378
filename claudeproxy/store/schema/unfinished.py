"""m0028: what could not be derived from a capture, because a fault of ours was in the way.

The capture itself is always stored; a row here says which part of what follows from it is missing or old, and which
version of the code has tried, so that another one tries again and the same one does not.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE unfinished (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      part TEXT NOT NULL,     -- store/unfinished.py: Part
      version TEXT NOT NULL,  -- of claudeproxy, for attribution with that of its rules: has tried and failed
      error TEXT NOT NULL,    -- the type of the exception: its text may hold what was captured
      PRIMARY KEY (request, part)
    ) STRICT, WITHOUT ROWID
    """,
)
