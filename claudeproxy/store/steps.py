"""Long work in short transactions, and the space that it leaves.

Apart from `retention`, which says what is done, because this says how long anybody may be kept waiting for it: a step
is one transaction of some milliseconds, and after each comes a pause, in which whoever waits for the lock gets it
(waiters sleep between attempts, so a writer that never pauses starves them). Readers never wait.

What a step may take is counted in processor time as well. On a machine where four programs want each processor ten
milliseconds of the clock are two of work, most of them spent on what every step costs, however little it does.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from claudeproxy.store.database import file_size

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from claudeproxy.store.session import StorageSession

_STEP = 0.008  # seconds of the processor that a step aims at; capture may be kept waiting twelve times as long
_LONGEST = 0.02  # seconds of the clock, where others use the processor too
_SHORTEST_PAUSE = 0.003
_CHECKPOINT_WAIT = 20  # ms: while a checkpoint waits for readers, nobody can write
_CHECKPOINTS = 10  # attempts; a reader's query may take some tenths of a second


class Steps:
    """Transactions of one storage with pauses. `last` and `longest` are how long the lock was held, in seconds."""

    def __init__(self, storage: StorageSession, pause: Callable[[float], None]) -> None:
        self._storage = storage
        self._pause = pause
        self._began = (0.0, 0.0)
        self.last = 0.0
        self.longest = 0.0
        self.used = 0.0  # by the last step: its `share` at its end

    @contextmanager
    def step(self) -> Iterator[sqlite3.Connection]:
        """One transaction, then a pause.

        :raises StorageError: it was undone.
        """
        with self._storage.writing() as connection:
            self._began = (time.monotonic(), time.thread_time())
            yield connection
        self.last = time.monotonic() - self._began[0]
        self.longest = max(self.longest, self.last)
        self.used = self.share()
        self._pause(max(_SHORTEST_PAUSE, self.last / 2))

    def share(self) -> float:
        """How much of its time the step under way has had: 1.0 when it is to end."""
        clock, processor = self._began
        return max((time.monotonic() - clock) / _LONGEST, (time.thread_time() - processor) / _STEP)

    def give_back(self) -> None:
        """Shrink the file by its free pages, then the write-ahead log to nothing if no reader holds on to it."""
        while self._pragma("freelist_count"):
            with self.step() as connection:
                # One page at a time: the statement must be stepped once for each, and `sqlite3` steps it once.
                while self.share() < 1 and connection.execute("PRAGMA freelist_count").fetchone()[0]:
                    connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
        with self._storage.reading() as connection:
            timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
            try:
                connection.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_WAIT}")
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # nobody waits for this one
                for _ in range(_CHECKPOINTS):
                    if not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                        break
                    self._pause(0.1)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {timeout}")

    def used_bytes(self) -> int:
        """Bytes of the pages that hold something."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def file_bytes(self) -> int:
        """Bytes on disk: the database and its write-ahead log."""
        path = self._storage.path
        return file_size(path) + file_size(path.with_name(path.name + "-wal"))

    def _pragma(self, name: str) -> int:
        with self._storage.reading() as connection:
            return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
