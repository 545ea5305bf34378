"""What a database weighs, table by table. Reads the file only, and knows no table of ours."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SHADOW = re.compile(r"_(data|idx|docsize|config|content)$")  # the tables in which an FTS5 index keeps itself


def checkpoint(database: Path) -> int:
    """Bring what the write-ahead log holds into the file; return the file's size in bytes."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return database.stat().st_size


def weigh(database: Path) -> dict[str, float]:
    """MB of the file after a checkpoint, then of each table with its indexes, the largest first."""
    size = checkpoint(database)
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT ifnull(m.tbl_name, s.name), sum(s.pgsize) FROM dbstat s"
            " LEFT JOIN sqlite_schema m ON m.name = s.name GROUP BY 1"
        ).fetchall()
    tables: dict[str, float] = {}
    for name, weight in rows:
        table = SHADOW.sub("", name)
        tables[table] = tables.get(table, 0.0) + weight / 1e6
    return {"file": size / 1e6} | dict(sorted(tables.items(), key=lambda item: -item[1]))
