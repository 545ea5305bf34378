"""Opening the database file: who may read it, how SQLite is set up, which schema it must have, whether it still is.

Apart because these are the traps of the file, not of the data: `secure_delete`, write-ahead log, permissions, versions,
a file that was deleted or replaced under an open connection (SQLite goes on writing into the unlinked file without an
error). Knows no table but the list of applied migrations, and imports `sqlite_utils` only when there is one to apply.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from claudeproxy.errors import DatabaseVersionError, StorageError, UnstorableError
from claudeproxy.private import is_private, open_private
from claudeproxy.store.functions import register_functions
from claudeproxy.store.migrations import MIGRATIONS, apply_migrations
from claudeproxy.store.schema.fresh import create, fresh

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BUSY_TIMEOUT = 5.0  # seconds; the recorder retries anyway, a person at the command line should not have to
_LOOK_AGAIN = 0.001  # seconds after which somebody who waits for the write lock tries again
# Bytes, half of what SQLite takes: a hundred tables and indexes have half a page to spare each, and what a turn brings
# is some 2 KB compressed. Pages of 1 KB save little more and make reading everything a fifth slower.
_PAGE = 2048
_CHECKPOINT_AFTER = 2000  # pages in the write-ahead log, 4 MB, when a commit moves them to the file
_WAL_LIMIT = 16 * 1024 * 1024  # bytes to which the write-ahead log is cut back after a checkpoint


def open_database(path: Path, *, read_only: bool, busy_timeout: float = BUSY_TIMEOUT) -> sqlite3.Connection:
    """Open (creating and migrating when writable) and return a connection in autocommit mode.

    The connection may be handed from thread to thread but not be used by two at once.

    :raises DatabaseVersionError: the file was written by a newer version.
    :raises StorageError: it cannot be opened, is no database, or (read only) is missing or too old.
    """
    try:
        return _open_reader(path, busy_timeout) if read_only else _open_writer(path, busy_timeout)
    except sqlite3.Error as error:
        raise StorageError(f"cannot open the database {path}: {error}") from error
    except OSError as error:
        raise StorageError(f"cannot open the database {path}: {error.strerror or error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold the write lock from the start; commit at the end, roll back on any exception.

    :raises UnstorableError: what was written is at fault (other than a broken constraint, which is ours to handle).
    :raises StorageError: for every other error of SQLite.
    """
    with _errors():
        _begin(connection)
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # SQLite itself rolls back on some errors (full disk, I/O)
                connection.execute("ROLLBACK")
            raise


@contextmanager
def savepoint(connection: sqlite3.Connection) -> Iterator[None]:
    """Undo this part of a transaction on any exception, and no other part. Errors as of `transaction`.

    :raises StorageError: SQLite has rolled the transaction back by itself.
    """
    with _errors():
        if not connection.in_transaction:  # a statement would be committed by itself
            raise sqlite3.OperationalError("the transaction was rolled back")
        connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK TO part")
                connection.execute("RELEASE part")
            raise
        connection.execute("RELEASE part")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
        raise UnstorableError(f"the database does not take it: {error}") from error
    except sqlite3.Error as error:
        raise StorageError(f"the database cannot be written: {error}") from error


def _begin(connection: sqlite3.Connection) -> None:
    """Wait for the write lock, as long as the connection's busy timeout says.

    SQLite's own waiting looks again after ever longer pauses, of 100 ms in the end: beside somebody who writes much it
    would miss one free moment after another.
    """
    timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
    deadline = time.monotonic() + timeout / 1000
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(_LOOK_AGAIN)
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what names the file behind a path, None when there is none (any more)."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_nlink else None


def file_size(path: Path) -> int:
    """Return a file's size in bytes, 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- the two ways to open ----------------------------------------------------------------------------------------


def _connect(target: str, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        target, uri=True, timeout=busy_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.row_factory = sqlite3.Row
    register_functions(connection)
    return connection


def _uri(path: Path, query: str) -> str:
    return f"file:{quote(str(path.absolute()))}?{query}"


def _open_reader(path: Path, busy_timeout: float) -> sqlite3.Connection:
    if not path.exists():
        raise StorageError(f"no database at {path}: nothing was captured yet (claudeproxy serve, or claudeproxy run)")
    # A reader of a database in WAL mode needs its -shm file, or the right to make it. Where both are lacking (a copy on
    # a read-only disk) nobody writes either, and SQLite may take the file as it is.
    for query in ("mode=ro", "mode=ro&immutable=1"):
        connection = _connect(_uri(path, query), busy_timeout)
        try:
            connection.execute("PRAGMA query_only = ON")
            missing = _missing(connection, path)
        except sqlite3.OperationalError as error:
            connection.close()
            if "unable to open" not in str(error) or "immutable" in query:
                raise
            continue
        except BaseException:
            connection.close()
            raise
        if missing:
            connection.close()
            raise StorageError(
                f"{path} was written by an older claudeproxy: start claudeproxy serve once to bring it up to date"
            )
        return connection
    raise AssertionError("unreachable")


def _open_writer(path: Path, busy_timeout: float) -> sqlite3.Connection:
    _make_private(path)
    connection = _connect(_uri(path, "mode=rwc"), busy_timeout)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = FAST")  # deleted text leaves the file without extra I/O
        connection.execute(f"PRAGMA page_size = {_PAGE}")  # this and the next: no effect once there is a table
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        _enter_wal(connection, busy_timeout)
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may undo the last commits, never corrupt
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_AFTER}")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
        if missing := _missing(connection, path):
            _migrate(connection, path, missing)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_private(path: Path) -> None:
    """Create the file for its owner alone, before SQLite does: -wal and -shm take their mode from it.

    One that is as it should be is not even opened. Closing it would release all locks that this process has on it, as
    POSIX has it, and the next process that ends would delete the write-ahead log under our other connections.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_private(path):
        os.close(open_private(path, os.O_RDWR | os.O_CREAT))


def _enter_wal(connection: sqlite3.Connection, busy_timeout: float) -> None:
    """Switch to the write-ahead log. SQLite does not call its busy handler for this, so two openers must take turns."""
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


# --- versions ----------------------------------------------------------------------------------------------------


def _missing(connection: sqlite3.Connection, path: Path) -> list[str]:
    """Return the names of migrations that the file lacks; refuse a file that has some we do not know."""
    known = [migration.name for migration in MIGRATIONS]
    table = connection.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone()
    rows = (
        connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'claudeproxy'") if table else ()
    )
    applied = {str(row[0]) for row in rows}
    if unknown := sorted(applied.difference(known)):
        raise DatabaseVersionError(
            f"{path} was written by a newer claudeproxy (it has {unknown[-1]}): upgrade this one, or use another --home"
        )
    return [name for name in known if name not in applied]


def _migrate(connection: sqlite3.Connection, path: Path, missing: Sequence[str]) -> None:
    """Apply what is missing in one transaction, with a copy of the file beside it when there was anything in it."""
    if len(missing) < len(MIGRATIONS):
        _back_up(connection, path.with_name(f"{path.name}.before-{missing[0]}"))
    with transaction(connection):
        if not (missing := _missing(connection, path)):  # another process was first
            return
        empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if empty and missing == fresh()["migrations"]:
            create(connection)
        else:
            apply_migrations(connection)


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    if target.exists():  # of an attempt that failed: nothing has been changed since
        target.unlink()
    _make_private(target)
    with closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)
