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

from claudeproxy.store.aggregates import fill_aggregates
from claudeproxy.store.quota import fill_quota
from claudeproxy.store.schema import (
    accounting,
    captures,
    changes,
    contexts,
    feedback,
    lineage,
    lots,
    parts,
    quota,
    retention,
    runs,
    search,
    secrets,
    unfinished,
    websocket,
    witnesses,
)
from claudeproxy.store.views import VIEWS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    import sqlite_utils


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One step: its name in ``_sqlite_migrations``, its statements, what SQL alone cannot do."""

    name: str
    statements: Sequence[str]
    then: Callable[[sqlite3.Connection], None] | None = None


MIGRATIONS = (
    Migration(name="m0001_captures", statements=captures.STATEMENTS),
    Migration(name="m0002_lineage", statements=lineage.STATEMENTS, then=lineage.fill_chains),
    Migration(name="m0010_search", statements=search.STATEMENTS),
    Migration(name="m0011_feedback", statements=feedback.STATEMENTS, then=fill_aggregates),
    Migration(name="m0012_retention", statements=retention.STATEMENTS),
    Migration(name="m0013_contexts", statements=contexts.STATEMENTS, then=contexts.count_segments),
    Migration(name="m0015_changes", statements=changes.STATEMENTS),
    Migration(name="m0016_witnesses", statements=witnesses.STATEMENTS),
    Migration(name="m0020_accounting", statements=(*accounting.STATEMENTS, *VIEWS), then=fill_aggregates),
    Migration(name="m0025_quota", statements=quota.STATEMENTS, then=fill_quota),
    Migration(name="m0026_websocket", statements=websocket.STATEMENTS),
    Migration(name="m0027_secrets", statements=secrets.STATEMENTS),
    Migration(name="m0028_unfinished", statements=unfinished.STATEMENTS),
    Migration(name="m0029_lots", statements=(*lots.STATEMENTS, *VIEWS)),
    Migration(name="m0030_runs", statements=runs.STATEMENTS),
    Migration(name="m0031_parts", statements=parts.STATEMENTS),
)


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
        if migration.then is not None:
            migration.then(db.conn)

    step.__name__ = migration.name
    return step
