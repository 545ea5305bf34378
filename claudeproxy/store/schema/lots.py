"""m0029: the bytes of blocks, compressed together with those that came with them (store/lots.py)."""

from __future__ import annotations

STATEMENTS = (
    # While there is this view, SQLite works a hundredth of a second for each column that goes. It comes back after it.
    "DROP VIEW context_attributions",
    # AUTOINCREMENT: who remembers a lot's bytes by its id must never find others under it.
    """
    CREATE TABLE lots (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      codec INTEGER NOT NULL,  -- how `data` is stored: store/codec.py
      data BLOB NOT NULL       -- its blocks, one behind the other
    ) STRICT
    """,
    "INSERT INTO lots SELECT id, codec, data FROM blocks WHERE id > 0",  # what there is stays as it is packed
    "ALTER TABLE blocks ADD COLUMN lot INTEGER REFERENCES lots(id)",  # NULL: block 0, which has no bytes
    "ALTER TABLE blocks ADD COLUMN start INTEGER NOT NULL DEFAULT 0",  # in the lot, unpacked
    "ALTER TABLE blocks DROP COLUMN data",
    "ALTER TABLE blocks DROP COLUMN codec",
    # Rows that are rewritten stay on their pages, nearly empty now. Moved away and back they are put close together.
    "PRAGMA defer_foreign_keys = ON",
    "UPDATE blocks SET id = -id, lot = id WHERE id > 0",
    "UPDATE blocks SET id = -id WHERE id < 0",
    "PRAGMA defer_foreign_keys = OFF",
    "CREATE INDEX blocks_lot ON blocks (lot) WHERE lot IS NOT NULL",
)
