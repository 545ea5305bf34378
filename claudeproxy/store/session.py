"""One connection to the database file, and what every call through it keeps to.

Apart from `storage`, whose verbs stand on it, because the rules are few and the verbs are many: a write is one
transaction that holds the lock from its start; after a failure, or after anybody has deleted rows, what was remembered
of ids is forgotten; a file that was deleted or replaced is opened anew; errors of SQLite come out as StorageError.
Several
writes may be joined to one transaction. Knows of no table but the counter of deletions.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError, UnstorableError
from claudeproxy.store.database import BUSY_TIMEOUT, file_identity, open_database, savepoint, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from claudeproxy.store.aggregates import SourceMoves


class StorageSession:
    """The connection of a `CaptureStorage`: opened, watched, written through and read through.

    :param path: the database; made, with its directory, when it is missing and `read_only` is false.
    :param read_only: open for reading only; the file must exist. Works beside a running recorder.
    :param busy_timeout: seconds to wait for another writer before StorageError.
    :raises DatabaseVersionError: the file was written by a newer version.
    :raises StorageError: it cannot be opened.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._busy_timeout = busy_timeout
        self._closed = False
        self._late: list[SourceMoves] | None = None
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A closed storage stays closed."""
        self._closed = True
        self._connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that holds the write lock from its start: committed at the end, undone by an exception.

        :raises StorageError: nothing was written; the same may be tried again.
        """
        if not self._joined and self._moved():
            raise StorageError(f"{self.path} was deleted or replaced; it is open anew and the call may be repeated")
        left = len(self._late or ())
        try:
            with savepoint(self._connection) if self._joined else transaction(self._connection):
                if not self._joined:
                    self._forget_what_was_deleted()
                yield self._connection
        except BaseException as error:
            self._forget()
            if self._late is not None:
                del self._late[left:]
            if isinstance(error, sqlite3.IntegrityError):
                # Something that we remembered is gone after all: with the memory gone it will work.
                raise UnstorableError(f"the database changed meanwhile ({error}); the call may be repeated") from error
            raise

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Make every `writing` inside a part of one transaction, which is committed once, at the end.

        A part that fails is undone alone, so whoever catches its error keeps the others. Readers on this connection see
        what is not committed yet.

        :raises StorageError: at the end, when it cannot be committed: nothing of any part was written.
        """
        with self.writing():
            self._late = []
            try:
                yield
                self._finish(self._late)
            finally:
                self._late = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Statements that each see the last commit.

        :raises StorageError: the database cannot be read.
        """
        if not self._joined:  # the file of an open transaction is the one that was there when it began
            self._moved()
        try:
            yield self._connection
        except sqlite3.Error as error:
            raise StorageError(f"the database cannot be read: {error}") from error

    # --- for the verbs --------------------------------------------------------------------------------------

    def _opened(self) -> None:
        """Called when a connection was opened: make what works over it."""

    def _forget(self) -> None:
        """Called when ids that were remembered may be gone: forget them."""

    def _finish(self, late: Sequence[SourceMoves]) -> None:
        """Called before a transaction of several parts is committed: write what they left for its end."""

    @property
    def _joined(self) -> bool:
        return self._late is not None

    def _open(self) -> None:
        self._connection = open_database(self.path, read_only=self.read_only, busy_timeout=self._busy_timeout)
        self._identity = file_identity(self.path)
        self._deletions: int | None = None
        self._opened()

    def _forget_what_was_deleted(self) -> None:
        """Foreign keys protect most of what is remembered, but not ids inside JSON (`headers`)."""
        deletions = int(self._connection.execute("SELECT count FROM deletions").fetchone()[0])
        if deletions != self._deletions:
            self._forget()
            self._deletions = deletions

    def _moved(self) -> bool:
        """Open the file anew when it is another one by now: SQLite would go on with the deleted one, silently."""
        if self._closed:
            raise StorageError("the storage is closed")
        if self._identity is not None and file_identity(self.path) == self._identity:
            return False
        self._connection.close()
        self._identity = None  # nothing holds the old file any more: a new one may get its inode number
        self._open()
        return True

    def _all(self, statement: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[sqlite3.Row]:
        with self.reading() as connection:
            return connection.execute(statement, parameters).fetchall()
