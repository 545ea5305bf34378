"""The schema, as numbered migrations: each is applied once, in order, and never edited after a release.

Two layers. The tables (`store.schema`) are ours to reshape: narrow rows that scan fast, nothing twice. The views
``captured_requests``, ``captured_responses`` and ``context_attributions`` are the public face, with the names and
the meaning of the documented data contract; they need nothing but SQLite (``context_attributions`` needs the function
registered by `store.functions` for its ``id``). Rows are deleted through ``requests``: everything else cascades.

SQLite 3.40 is what the oldest supported system has: STRICT tables and window functions, no JSONB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.store.schema import captures
from claudeproxy.store.views import VIEWS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    import sqlite_utils


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step: its name in ``_sqlite_migrations`` and its statements."""

    name: str
    statements: Sequence[str]


MIGRATIONS = (Migration(name="m0001_captures", statements=(*captures.STATEMENTS, *VIEWS)),)


def apply_migrations(connection: sqlite3.Connection) -> None:
    """Apply what is missing. The caller holds the write lock; each step is a savepoint inside its transaction."""
    import sqlite_utils

    migrations = sqlite_utils.Migrations("claudeproxy")
    for migration in MIGRATIONS:
        migrations(name=migration.name)(_step(migration))
    migrations.apply(sqlite_utils.Database(connection, execute_plugins=False))


def _step(migration: Migration) -> Callable[[sqlite_utils.Database], None]:
    def step(db: sqlite_utils.Database, /) -> None:
        for statement in migration.statements:
            db.execute(statement)

    step.__name__ = migration.name
    return step
