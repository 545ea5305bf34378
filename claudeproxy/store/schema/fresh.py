"""The schema that all migrations together make, for a database that begins empty: in a fifth of their time.

Apart from `migrations`, which stay the only description of the schema: this is written from what they made
(``uv run python -m tests.store.fresh``), and a test compares the two.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

NAME = "fresh.json"


class Fresh(TypedDict):
    """The file: every statement in order; the rows that tables begin with (bytes as lists of one string, in hex).

    `migrations` are the names of those that made it.
    """

    migrations: Sequence[str]
    statements: Sequence[str]
    rows: dict[str, Sequence[Sequence[object]]]


@cache
def fresh() -> Fresh:
    """Read the file."""
    from importlib.resources import files  # loads more than all of this package, and who only reads makes no schema

    found: Fresh = json.loads(files("claudeproxy.store.schema").joinpath(NAME).read_text(encoding="utf-8"))
    return found


def create(connection: sqlite3.Connection) -> None:
    """Make the schema, all migrations applied, in a database without any table. The caller holds the transaction."""
    made = fresh()
    for statement in made["statements"]:
        connection.execute(statement)
    for table, rows in made["rows"].items():
        connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - SQLite's own of sequences has rows by now
        for row in rows:
            values = [bytes.fromhex(value[0]) if isinstance(value, list) else value for value in row]
            marks = ", ".join("?" * len(values))
            connection.execute(f'INSERT OR REPLACE INTO "{table}" VALUES ({marks})', values)  # noqa: S608 - ours
    now = str(datetime.now(UTC))
    connection.executemany(
        "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('claudeproxy', ?, ?)",
        [(name, now) for name in made["migrations"]],
    )
