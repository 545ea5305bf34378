"""Writes the schema that the migrations make to where new databases take it from.

    uv run python -m tests.store.fresh

After a new migration, or when the test that compares the two says so.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from claudeproxy.store import schema
from claudeproxy.store.migrations import MIGRATIONS, apply_migrations
from claudeproxy.store.schema.fresh import NAME, Fresh

_WORDS = "search_words_"  # FTS5 makes its tables itself
_OWN = ("_sqlite_migrations", "sqlite_stat1")


def migrated() -> sqlite3.Connection:
    """Return a database in memory that all migrations were applied to, one after the other."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    apply_migrations(connection)
    connection.execute("COMMIT")
    return connection


def read(connection: sqlite3.Connection) -> Fresh:
    """Return what a database without captures consists of."""
    found = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
    kept = [row for row in found.fetchall() if not row[1].startswith((_WORDS, "sqlite_sequence"))]
    rows = {}
    for kind, name, _ in [*kept, ("table", "sqlite_sequence", "")]:
        if kind == "table" and name not in _OWN and not name.startswith("search_words"):
            content = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            if content:
                rows[name] = [
                    [[value.hex()] if isinstance(value, bytes) else value for value in row] for row in content
                ]
    names = [migration.name for migration in MIGRATIONS]
    return Fresh(migrations=names, statements=[sql for _, _, sql in kept], rows=rows)


def main() -> None:
    """Write the file."""
    path = Path(schema.__path__[0]) / NAME
    path.write_text(json.dumps(read(migrated()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
