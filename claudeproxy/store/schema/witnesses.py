"""m0016: texts that stood alone in some request, by length and hash, and what is in doubt without knowing them.

Both belong to an explanation and go with it. Few of either: instructions of servers, output styles, appended prompts,
and outputs that imitate reminders, once for each block that holds them.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE whole_texts (
      explanation INTEGER NOT NULL REFERENCES explanations(id) ON DELETE CASCADE,
      owner TEXT NOT NULL,       -- a source or a tool call: model.text_owner, model.result_owner
      sha256 BLOB NOT NULL,
      length INTEGER NOT NULL,   -- code points; behind the key: SQLite 3.40's quick_check misreads it before
      PRIMARY KEY (explanation, owner, sha256)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX whole_texts_owner ON whole_texts (owner, sha256, length)",
    """
    CREATE TABLE undecided_texts (
      explanation INTEGER NOT NULL REFERENCES explanations(id) ON DELETE CASCADE,
      owner TEXT NOT NULL,  -- whose text, once it is known, may divide the block better
      PRIMARY KEY (explanation, owner)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX undecided_texts_owner ON undecided_texts (owner)",
)
