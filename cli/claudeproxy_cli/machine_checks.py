"""The checks of ``claudeproxy doctor`` that look at the machine and at our files.

Each is independent, changes nothing, and may raise what reading raises: `doctor` turns that into a finding.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from claudeproxy_cli.descriptors import needed, obtainable
from claudeproxy_cli.findings import Check, Status

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy_cli.findings import Context

LOW_DISK: Final = 2 << 30  # as much as the database may grow to by default
NO_DISK: Final = 200 << 20


def versions(_context: Context) -> Check:
    """Name what everything else depends on."""
    from claudeproxy import __version__

    detail = (
        f"claudeproxy {__version__}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION.rsplit(' ', 3)[0]}, "
        f"SQLite {sqlite3.sqlite_version}, {platform.system()} {platform.machine()}"
    )
    return Check(name="versions", status=Status.OK, detail=detail)


def descriptors(context: Context) -> Check:
    """Ask whether the system allows as many open sockets as the configured connections take."""
    workers = context.config.workers  # the limit is each process's own, and they share the connections
    connections = -(-context.config.max_connections // workers)
    wanted, most = needed(connections), obtainable()
    if most is None or most >= wanted:
        return Check(name="descriptors", status=Status.OK, detail=f"{wanted:,} are needed at most, and can be had")
    possible = workers * max(1, connections - (wanted - most + 1) // 2)
    return Check(
        name="descriptors",
        status=Status.WARN,
        detail=f"the system allows {most:,} open files and sockets, max_connections may take {wanted:,}; beyond that "
        "clients wait",
        remedy=f"ulimit -Hn {wanted} (LimitNOFILE= of a service, --ulimit nofile= of a container), or "
        f"max_connections: {possible}",
    )


def permissions(context: Context) -> Check:
    """Ask whether anybody else can read the captures or the CA's key."""
    home = context.home
    if not home.path.exists():
        above = next(parent for parent in home.path.parents if parent.exists())
        if not os.access(above, os.W_OK | os.X_OK):
            detail = f"{home.path} does not exist, and {above} is not ours to write"
            return Check(name="permissions", status=Status.FAIL, detail=detail, remedy="use --home or CLAUDEPROXY_HOME")
        return Check(
            name="permissions", status=Status.OK, detail=f"{home.path} does not exist yet; the first start makes it"
        )
    if not os.access(home.path, os.R_OK | os.W_OK | os.X_OK):
        remedy = f"chown -R $(id -un) {home.path}"
        return Check(name="permissions", status=Status.FAIL, detail=f"{home.path} is not ours to write", remedy=remedy)
    if os.name != "posix":
        return Check(name="permissions", status=Status.OK, detail=f"{home.path} can be written")
    private = [home.path, context.config.ca_key_path, home.database, home.secret, home.state_file]
    open_ones = [path for path in private if path.exists() and path.stat().st_mode & 0o077]
    if open_ones:
        names = " ".join(map(str, open_ones))
        return Check(
            name="permissions", status=Status.FAIL, detail=f"others can read {names}", remedy=f"chmod go= {names}"
        )
    return Check(name="permissions", status=Status.OK, detail=f"{home.path} is closed to others")


def clock(context: Context) -> Check:
    """Compare the clock with what it must be later than: the CA's birth and the newest capture."""
    now = datetime.now(UTC)
    behind = []
    if context.config.ca_cert_path.exists():
        from cryptography import x509

        root = x509.load_pem_x509_certificate(context.config.ca_cert_path.read_bytes())
        if now < root.not_valid_before_utc:
            behind.append(f"the CA is valid from {root.not_valid_before_utc:%Y-%m-%d %H:%M}")
    newest = newest_capture(context.home.database)
    if newest is not None and newest > now + timedelta(minutes=1):
        behind.append(f"the newest capture is of {newest:%Y-%m-%d %H:%M}")
    if behind:
        detail = f"it is {now:%Y-%m-%d %H:%M} UTC here, but {' and '.join(behind)}"
        return Check(name="clock", status=Status.FAIL, detail=detail, remedy="set the clock; certificates depend on it")
    return Check(name="clock", status=Status.OK, detail=f"{now:%Y-%m-%d %H:%M:%S} UTC")


def newest_capture(database: Path) -> datetime | None:
    """When the newest capture began; None without one. Opens the database as every reader does."""
    if not database.exists():
        return None
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters

    storage = CaptureStorage(database, read_only=True)
    try:
        rows = storage.query_requests(RequestFilters(limit=1)).rows
    finally:
        storage.close()
    return datetime.fromtimestamp(rows[0].timestamp / 1_000_000_000, UTC) if rows else None


def disk(context: Context) -> Check:
    """Ask whether there is room for captures."""
    place = next(path for path in (context.home.path, *context.home.path.parents) if path.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / (1 << 30):.1f} GiB free at {context.home.path}"
    remedy = "free some, lower max_database_size, or choose another --home"
    if free < NO_DISK:
        return Check(name="disk", status=Status.FAIL, detail=detail, remedy=remedy)
    status, remedy_now = (Status.WARN, remedy) if free < LOW_DISK else (Status.OK, None)
    return Check(name="disk", status=status, detail=detail, remedy=remedy_now)


def database(context: Context) -> Check:
    """Ask whether the captures can be read and SQLite finds them whole."""
    path = context.home.database
    if not path.exists():
        return Check(name="database", status=Status.OK, detail="no captures yet")
    newest = newest_capture(path)  # opens it as every reader does: a newer version's database is refused here
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if found != "ok":
        remedy = f"keep a copy of {path}, then move it away; a new one is made at the next start"
        return Check(name="database", status=Status.FAIL, detail=found, remedy=remedy)
    size = path.stat().st_size / (1 << 20)
    last = "empty" if newest is None else f"newest capture {newest:%Y-%m-%d %H:%M} UTC"
    return Check(name="database", status=Status.OK, detail=f"{path}, {size:.1f} MiB, {last}")


def capture(context: Context) -> Check:
    """Say what is captured, what is not, and how long it is kept."""
    from claudeproxy.retaining import RetentionSettings
    from claudeproxy_cli.pause import paused_note

    config = context.config
    if not (config.enabled and config.capture_enabled):
        key = "capture_enabled" if config.enabled else "enabled"
        return Check(name="capture", status=Status.WARN, detail="nothing is captured", remedy=f"{key} is false: set it")
    if (paused := paused_note(context.home)) is not None:
        detail, _, remedy = paused.partition("; ")
        return Check(name="capture", status=Status.WARN, detail=detail, remedy=remedy)
    days = "for ever" if config.retention_days is None else f"for {config.retention_days} days"
    most = config.max_database_size
    facts = [
        f"kept {days}" + ("" if most is None else f", {most / (1 << 30):.1f} GiB at the most"),
        f"{len(config.exclude_projects)} directories excluded" if config.exclude_projects else "",
    ]
    last = RetentionSettings.of(config).last_run()
    if last is not None:
        facts.append(f"retention ran {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M} UTC")
    return Check(name="capture", status=Status.OK, detail="; ".join(filter(None, facts)))
