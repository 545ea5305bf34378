"""A database that begins empty is what all migrations make of one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.resources import files

from claudeproxy.store.schema.fresh import NAME, create
from claudeproxy.store.storage import CaptureStorage
from tests.store.fresh import migrated, read


def everything(connection: sqlite3.Connection) -> dict[str, object]:
    """Return its schema, whatever the order, and all rows of all tables but for the time when a migration was made."""
    schema = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    tables = [name for kind, name, _, _ in schema if kind == "table" and name != "search_words"]  # no contents to scan
    rows = {name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"'))) for name in tables}
    rows["_sqlite_migrations"] = [
        repr(tuple(row)) for row in connection.execute("SELECT id, migration_set, name FROM _sqlite_migrations")
    ]
    return {"schema": sorted(map(repr, schema)), **rows}


def test_it_is_what_the_migrations_make() -> None:
    """Otherwise: ``uv run python -m tests.store.fresh``."""
    with closing(migrated()) as made, closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        create(connection)
        assert everything(connection) == everything(made)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert json.loads(files("claudeproxy.store.schema").joinpath(NAME).read_text()) == read(made)


def test_a_new_database_is_made_so(tmp_path) -> None:
    with CaptureStorage(tmp_path / "captures.db") as storage, closing(migrated()) as made:
        storage._connection.row_factory = None
        assert everything(storage._connection) == everything(made)
