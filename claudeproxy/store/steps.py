"""Long work in short transactions, and the space that it leaves.

Apart from `retention`, which says what is done, because this says how long anybody may be kept waiting for it: a step
is one transaction of some milliseconds, and after each comes a pause, in which whoever waits for the lock gets it
(waiters sleep between attempts, so a writer that never pauses starves them). Readers never wait.

A step looks at the clock between its parts and ends early enough for its commit, as long as the last ones took. What it
may take is counted in processor time as well. On a machine where four programs want each processor ten milliseconds of
the clock are two of work, most of them spent on what every step costs, however little it does.

What a step has written goes from the write-ahead log into the file after it, without the lock. SQLite would leave that
to whoever's commit finds it long: to the recorder's, which would wait for the disk to take it.
"""

from __future__ import annotations

import math
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
_FORGOTTEN = 0.9  # what is left with each step of the longest commit
_LONG_LOG = 0.8  # of the write-ahead log's length at which others' commits move it: then it is to begin anew
_SHORT_LOG = 1_000_000  # bytes of it that may stay there: most deletions write less
_RESTART_WAIT = 5  # ms: while a checkpoint waits for readers, nobody can write; there is another after the next step
_TRUNCATE_WAIT = 20  # ms, likewise; what it leaves stays in the log
_CHECKPOINTS = 10  # attempts; a reader's query may take some tenths of a second


class Steps:
    """Transactions of one storage with pauses. `last` and `longest` are how long the lock was held, in seconds."""

    def __init__(self, storage: StorageSession, pause: Callable[[float], None]) -> None:
        self._storage = storage
        self._pause = pause
        self._log = storage.path.with_name(f"{storage.path.name}-wal")
        self._began = (0.0, 0.0)
        self._commit = 0.0  # seconds of the clock that the next one may take
        self.last = 0.0
        self.longest = 0.0

    @contextmanager
    def step(self) -> Iterator[sqlite3.Connection]:
        """One transaction, then a pause.

        :raises StorageError: it was undone.
        """
        with self._storage.writing() as connection:
            self._began = (time.monotonic(), time.thread_time())
            yield connection
            worked = time.monotonic()
        ended = time.monotonic()
        self.last = ended - self._began[0]
        self.longest = max(self.longest, self.last)
        self._commit = min(max(ended - worked, self._commit * _FORGOTTEN), _LONGEST / 2)  # something must get done
        self._checkpoint()
        self._pause(max(_SHORTEST_PAUSE, self.last / 2))

    def share(self) -> float:
        """How much of its time the step under way has had: 1.0 when it is to end."""
        clock, processor = self._began
        took = time.monotonic() - clock + self._commit
        return max(took / _LONGEST, (time.thread_time() - processor) / _STEP)

    def give_back(self, seconds: float = math.inf) -> bool:
        """Shrink the file by its free pages, then the write-ahead log to nothing if no reader holds on to it.

        Takes about so many `seconds` at the most; tells whether all pages were given back.
        """
        until = time.monotonic() + seconds
        while self._pragma("freelist_count"):
            if time.monotonic() >= until:
                return False
            with self.step() as connection:
                # One page at a time: the statement must be stepped once for each, and `sqlite3` steps it once.
                while self.share() < 1 and connection.execute("PRAGMA freelist_count").fetchone()[0]:
                    connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
        self._checkpoint()
        for _ in range(_CHECKPOINTS):
            if self._empty_log("TRUNCATE", _TRUNCATE_WAIT) or time.monotonic() >= until:
                break
            self._pause(0.1)
        return True

    def used_bytes(self) -> int:
        """Bytes of the pages that hold something."""
        return (self._pragma("page_count") - self._pragma("freelist_count")) * self._pragma("page_size")

    def file_bytes(self) -> int:
        """Bytes on disk: the database and its write-ahead log."""
        return file_size(self._storage.path) + file_size(self._log)

    def _checkpoint(self) -> None:
        """Move the log into the file, for which nobody waits, and let it begin anew when it has become long."""
        if file_size(self._log) < _SHORT_LOG:  # as long as it has ever been: beginning anew does not shorten it
            return
        with self._storage.reading() as connection:
            pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
            others = connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
            if pages < _LONG_LOG * others:
                return
            # By itself it begins anew only when nobody wrote while it was moved. Only then, too, does SQLite wait for
            # the disk to take the file: what came meanwhile is little, and moved again that is not left for the lock.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._empty_log("RESTART", _RESTART_WAIT)

    def _empty_log(self, how: str, wait: int) -> bool:
        """Move what is left of it while nobody writes; tell whether no reader held on to it."""
        with self._storage.reading() as connection:
            timeout = connection.execute("PRAGMA busy_timeout").fetchone()[0]
            began = time.monotonic()
            try:
                connection.execute(f"PRAGMA busy_timeout = {wait}")
                return not connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()[0]
            finally:
                self.longest = max(self.longest, time.monotonic() - began)
                connection.execute(f"PRAGMA busy_timeout = {timeout}")

    def _pragma(self, name: str) -> int:
        with self._storage.reading() as connection:
            return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
