"""One run of retention over a database: what the service starts once a day, and ``claudeproxy retention run`` at once.

A process of its own, ``python -m claudeproxy.retaining``, for the service: a run takes minutes of small steps and
pauses. In the relay's process even a thread that mostly sleeps would delay streamed events whenever it computes; in the
recorder, which does one thing at a time, captures would wait in the journal until the run is over. Here it is last in
line for the processor, and killing it at any point leaves a consistent database.

Two runs at a time would only wait for each other: a lock beside the database keeps the second from beginning. The
lock's file also tells when the last run ended, for all services of that database.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.capture.locks import FileLock
from claudeproxy.errors import ClaudeProxyError, ConflictError, StorageError
from claudeproxy.logs import configure_logging, get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.store.values import RetentionReport

log = get_logger("claudeproxy.retaining")

DAY = 86_400 * 10**9  # ns
_LAST_IN_LINE = 10  # nice: whatever else wants the processor gets it first


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """What a run needs to know. Holds no secret: it is the process's argument, which others can list."""

    database: str
    journal: str
    days: int | None  # None: captures do not grow too old
    max_bytes: int | None  # None: the database does not grow too large
    quarantine: str = ""  # what could not be recorded is as old as the rest; "": there is none
    log_format: str = "auto"
    log_level: str = "info"

    @classmethod
    def of(cls, config: ClaudeProxyConfig) -> RetentionSettings:
        """Those of a configuration."""
        return cls(
            database=str(config.database_path),
            journal=str(config.journal_path),
            days=config.retention_days,
            max_bytes=config.max_database_size,
            quarantine=str(config.paths.quarantine),
            log_format=config.log_format,
            log_level=config.log_level,
        )

    @property
    def lock(self) -> Path:
        """Held by a run; its time of modification is the end of the last one."""
        return Path(f"{self.database}.retention")

    def last_run(self) -> float | None:
        """When the last run ended, in seconds since the epoch; None when there was none."""
        try:
            status = self.lock.stat()
        except OSError:
            return None
        # An empty one was locked, and no run has ended.
        return status.st_mtime if status.st_size and stat.S_ISREG(status.st_mode) else None


class RetentionBusyError(ConflictError):
    """Another run on the same database is under way."""


def run_retention(settings: RetentionSettings, *, dry_run: bool = False, now: int | None = None) -> RetentionReport:
    """Delete what is too old (before `now`, ns since the epoch) and what is too much. May take minutes.

    :raises RetentionBusyError: another run is under way; not with `dry_run`, which changes nothing.
    :raises StorageError: the database cannot be used; what was deleted until then is deleted.
    """
    if dry_run:
        return _expire(settings, dry_run=True, now=now)
    lock = FileLock(settings.lock)
    try:
        if not lock.acquire():
            raise RetentionBusyError("another run of retention is under way", existing=str(settings.lock))
        report = _expire(settings, dry_run=False, now=now)
        settings.lock.write_text(json.dumps(asdict(report)), encoding="ascii")
    except OSError as error:
        raise StorageError(f"cannot use {settings.lock}: {error.strerror or error}") from error
    finally:
        lock.release()
    return report


def _expire(settings: RetentionSettings, *, dry_run: bool, now: int | None) -> RetentionReport:
    from claudeproxy.capture.quarantine import Quarantine
    from claudeproxy.store.retention import Retention  # a service reads this module's settings and starts a process
    from claudeproxy.store.storage import CaptureStorage

    before = None
    if settings.days is not None:
        before = (time.time_ns() if now is None else now) - settings.days * DAY
    if before is not None and settings.quarantine and not dry_run:
        Quarantine(Path(settings.quarantine), "").expire(before / 1e9)
    with CaptureStorage(settings.database, read_only=dry_run) as storage:
        return Retention(storage).expire(
            before_ns=before, max_bytes=settings.max_bytes, owners=_Journals(Path(settings.journal)), dry_run=dry_run
        )


class _Journals:
    """The owners that have a journal now. Looked at when it is asked: relays may start while a run is under way."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __contains__(self, owner: object) -> bool:
        return isinstance(owner, str) and (self._root / owner).is_dir()

    def __iter__(self) -> Iterator[str]:
        with suppress(OSError):
            yield from (entry.name for entry in self._root.iterdir() if entry.is_dir())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def main(argument: str) -> int:
    """The process: settings as its argument, the report as JSON on standard output, what went wrong in the log."""
    settings = RetentionSettings(**json.loads(argument))
    configure_logging(settings.log_format, settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the service says when to end
    os.umask(0o077)
    if hasattr(os, "nice"):
        os.nice(_LAST_IN_LINE)
    try:
        report = run_retention(settings)
    except RetentionBusyError:
        log.info("retention is under way elsewhere")
        return 0
    except ClaudeProxyError as error:
        log.error("retention failed; it is tried again later", error=str(error))
        return 1
    told = asdict(report)
    log.info("retention done", **{name: round(value, 3) for name, value in told.items()})
    with suppress(OSError):
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
