"""Database connections for the API: lent to worker threads, one user at a time.

SQLite calls are synchronous, so each runs in a thread; every connection is used by one call at a time and kept for the
next. Calls are short and hold no snapshot in between: a reader that stays lets the write-ahead log grow without bound.

It knows nothing of what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

from claudeproxy.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.store.storage import CaptureStorage

T = TypeVar("T")

MAX_READERS = 4
"""Queries at the same time. They are disk reads and decompression; more would only compete with the recorder."""


class StoragePool:
    """A few open `CaptureStorage`, opened when needed. `open_storage` is called in a worker thread."""

    def __init__(self, open_storage: Callable[[], CaptureStorage], *, size: int = MAX_READERS) -> None:
        self._open = open_storage
        self._limiter = trio.CapacityLimiter(size)
        self._idle: list[CaptureStorage] = []
        self._closed = False

    async def run(self, query: Callable[[CaptureStorage], T]) -> T:
        """The result of `query` on a storage of its own for the time; what it raises comes through.

        Not cut short by a cancellation: a query that has begun ends first.
        """
        return await trio.to_thread.run_sync(self._run, query, limiter=self._limiter)

    def _run(self, query: Callable[[CaptureStorage], T]) -> T:
        # list.pop and list.append are atomic: no lock is needed.
        try:
            storage = self._idle.pop()
        except IndexError:
            storage = self._open()
        try:
            result = query(storage)
        except StorageError:
            storage.close()  # the file may have been replaced; the next call opens it anew
            raise
        except BaseException:
            self._give_back(storage)
            raise
        self._give_back(storage)
        return result

    def _give_back(self, storage: CaptureStorage) -> None:
        if self._closed:
            storage.close()
        else:
            self._idle.append(storage)

    def close(self) -> None:
        """Close what is idle; what is lent is closed when it comes back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
