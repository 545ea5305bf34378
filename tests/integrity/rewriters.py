"""What rewrites the database beside the recorder, killed on its way: the sums made anew, retention, a migration."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from claudeproxy.retaining import RetentionSettings
from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from pathlib import Path

REWRITERS = ("rebuild", "retention", "migration")

_OPEN = """
import sys
from pathlib import Path
from claudeproxy.store.storage import CaptureStorage
print("begun", flush=True)
CaptureStorage(Path(sys.argv[1])).close()
"""


async def kill_rewriter(home: Path, which: str, moment: float) -> None:
    """Start one, kill it some time after it has begun, and let another one come to its end."""
    if which == "migration":
        await trio.to_thread.run_sync(_kill_migration, home, moment / 8)
        return
    command = _command(home, which)
    process = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL)
    with trio.move_on_after(0.4 + moment / 2):  # it takes that long to begin
        await process.wait()
    process.kill()
    await process.wait()
    done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    assert done.returncode == 0, done.stderr


def _command(home: Path, which: str) -> list[str]:
    if which == "rebuild":
        return [sys.executable, "-m", "claudeproxy_cli", "metrics", "rebuild", "--tokens", "--home", str(home)]
    settings = RetentionSettings(
        database=str(home / "captures.db"), journal=str(home / "journal"), days=0, max_bytes=None
    )
    return [sys.executable, "-m", "claudeproxy.retaining", json.dumps(asdict(settings))]


def _kill_migration(home: Path, moment: float) -> None:
    """On a copy, as it was before the last migrations: the one beside us is in use."""
    folder = home / "older"
    folder.mkdir()
    old = folder / "captures.db"
    with closing(sqlite3.connect(home / "captures.db")) as source, closing(sqlite3.connect(old)) as copy:
        source.backup(copy)
    make_older(old)
    process = subprocess.Popen([sys.executable, "-c", _OPEN, str(old)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        process.wait(moment)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait()
    process.stdout.close()
    with CaptureStorage(old) as storage:
        report = storage.verify()
    assert report.ok, report.problems
    backups = list(folder.glob("captures.db.before-*"))
    assert backups, "it was migrated without a copy"
    for backup in backups:
        with closing(sqlite3.connect(backup)) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    shutil.rmtree(folder)


def make_older(database: Path) -> None:
    """Take the last migration and that of the quota history back: the next opening makes both again."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("DROP INDEX requests_paid")
        connection.execute("ALTER TABLE requests DROP COLUMN subscription")
        for table in ("quota_samples", "quota_hours", "quota_windows", "unfinished"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("DELETE FROM _sqlite_migrations WHERE name IN ('m0025_quota', 'm0028_unfinished')")
        connection.execute("COMMIT")
