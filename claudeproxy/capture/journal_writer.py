"""The relay's end of the journal: plain appends that cannot raise and never wait for a disk to sync.

Apart from `tap`, which knows what an exchange is; this knows files. An append is one ``writev``: it stalls the event
loop least of all ways tried (0.8 ms at worst at 100 MB/s; mmap 29 ms). What could not be written whole is truncated
back, so that a segment is always a row of whole records, at most the last one torn by the death of the process.
It never reads a record and never deletes a segment: that is the recorder's part.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_format import (
    HEADER_BYTES,
    LOCK_NAME,
    MAX_PAYLOAD,
    RecordType,
    encode_header,
    header_seed,
    segment_path,
    segments,
)
from claudeproxy.capture.locks import FileLock
from claudeproxy.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from claudeproxy.model import Buffer

SEGMENT_BYTES = 64 << 20

# What may wait on disk while the recorder is away or a long stream pins its segments: some thousand requests of 500 KB.
MAX_BYTES = 2 << 30

# Bodies are left out while the disk has less than this, so that the database has room to catch up.
MIN_FREE_BYTES = 256 << 20

# Beyond `max_bytes` heads and ends still go in, up to this share of it: rows without bodies beat no rows.
_HEAD_RESERVE = 16

# How often the disk is asked what is still held and free, in seconds: it costs some 30 us.
_SURVEY_INTERVAL = 0.5

# Ends that could not be written yet; each is about 1 KiB.
_MAX_OWED = 4096

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_UPGRADED = (RecordType.WEBSOCKET_SENT, RecordType.WEBSOCKET_RECEIVED)
_BODIES = frozenset((RecordType.REQUEST_BODY, RecordType.RESPONSE_BODY, *_UPGRADED))


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatistics:
    """Counts since the writer began. `bytes_held` as of the last look at the disk, plus what was written since."""

    owner: str
    records: int
    bytes_written: int
    bytes_held: int
    failed_writes: int
    owed_ends: int
    lost_ends: int
    last_error: str | None


class JournalWriter:
    """Appends records to ``root/<owner>/``; one for a relay process, not thread-safe.

    `max_bytes` bounds what lies on disk unconsumed; `wake` is called, and must not block, when an exchange ended.
    JournalError from the constructor when the directory cannot be made; afterwards nothing raises.
    """

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        max_bytes: int = MAX_BYTES,
        min_free_bytes: int = MIN_FREE_BYTES,
        wake: Callable[[], None] | None = None,
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._wake = wake
        self._descriptor: int | None = None
        self._segment = -1
        self._size = 0
        self._exchange = 0
        self._gone = -1  # the last exchange whose beginning was deleted
        self._held = 0
        self._free = min_free_bytes
        self._surveyed = 0.0
        self._records = self._bytes_written = self._failed_writes = self._lost_ends = 0
        self._last_error: str | None = None
        self._owed: deque[tuple[int, int, bytes]] = deque()
        self._closed = False
        try:
            self._begin()
            self._survey()
        except OSError as exc:
            raise JournalError(f"cannot keep a journal in {root}: {exc.strerror}; check owner and space") from exc

    def __repr__(self) -> str:
        return f"<JournalWriter {self.owner} segment={self._segment} held={self._held}>"

    def _begin(self) -> None:
        """Make a directory under a name that was never used. A recorder that cleans up may be faster: then another."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            self.owner = f"{stamp}-{os.getpid()}-{secrets.token_hex(4)}"
            self._directory = self._root / self.owner
            self._directory.mkdir(mode=0o700)
            self._lock = FileLock(self._directory / LOCK_NAME)
            with suppress(FileNotFoundError):
                if self._lock.acquire():
                    return

    def another(self, *, max_bytes: int) -> JournalWriter:
        """A journal beside this one, of this process too. JournalError as from the constructor."""
        sizes = {"segment_bytes": self._segment_bytes, "max_bytes": min(max_bytes, self._max_bytes)}
        return JournalWriter(self._root, **sizes, min_free_bytes=self._min_free_bytes, wake=self._wake)

    def new_exchange(self) -> int:
        """A number for the next exchange."""
        self._exchange += 1
        return self._exchange

    def has_room(self, expected: int) -> bool:
        """Whether bodies of about `expected` bytes should be taken at all, asked once at an exchange's beginning."""
        if time.monotonic() - self._surveyed > _SURVEY_INTERVAL:
            with suppress(OSError):
                self._survey()
        return self._held + expected <= self._max_bytes and self._free - expected >= self._min_free_bytes

    def append(self, kind: RecordType, exchange: int, payload: Buffer) -> bool:
        """Append one record (a body of more than MAX_PAYLOAD: several); False when it is not, or not all, there."""
        if len(payload) > MAX_PAYLOAD:
            if kind not in _BODIES:
                return False
            view = memoryview(payload)
            pieces = (view[start : start + MAX_PAYLOAD] for start in range(0, len(view), MAX_PAYLOAD))
            return all(self.append(kind, exchange, piece) for piece in pieces)
        if self._owed:
            self._pay()
        limit = self._max_bytes if kind in _BODIES else self._max_bytes + self._max_bytes // _HEAD_RESERVE
        if self._held + HEADER_BYTES + len(payload) > limit and not self._relieved(len(payload), limit):
            return False
        return self._write(kind, exchange, time.monotonic_ns(), payload)

    def append_end(self, exchange: int, payload: bytes) -> bool:
        """Append an END record, or keep it in memory until it can be: without it the exchange would stay open.

        False when the exchange's beginning is in a file that somebody deleted: nothing of it can be recorded.
        """
        with suppress(OSError):
            self._notice_deletion()
        if exchange <= self._gone:
            return False
        if not self.append(RecordType.END, exchange, payload):
            if len(self._owed) < _MAX_OWED:
                self._owed.append((exchange, time.monotonic_ns(), payload))
            else:
                self._lost_ends += 1
        if self._wake is not None:
            self._wake()
        return True

    def _notice_deletion(self) -> None:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self._abandon()  # whatever went there is gone: begin another file
            self._gone, self._last_error = self._exchange, "the journal was deleted"

    def _pay(self) -> None:
        while self._owed:
            exchange, instant, payload = self._owed[0]
            if not self._write(RecordType.END, exchange, instant, payload):
                return
            self._owed.popleft()

    def _relieved(self, length: int, limit: int) -> bool:
        """Look whether the recorder has freed something, at most every half second."""
        if time.monotonic() - self._surveyed < _SURVEY_INTERVAL:
            return False
        with suppress(OSError):
            self._survey()
        return self._held + HEADER_BYTES + length <= limit

    def _survey(self) -> None:
        self._surveyed = time.monotonic()
        self._notice_deletion()
        self._free = shutil.disk_usage(self._directory).free
        held = 0
        for segment in segments(self._directory):
            with suppress(FileNotFoundError):
                held += segment_path(self._directory, segment).stat().st_size
        self._held = held

    def _write(self, kind: RecordType, exchange: int, instant: int, payload: Buffer) -> bool:
        total = HEADER_BYTES + len(payload)
        try:
            if self._descriptor is None or self._size >= self._segment_bytes:
                self._rotate()
            assert self._descriptor is not None
            header = encode_header(kind, exchange, instant, payload, seed=self._seed)
            written = _write_both(self._descriptor, header, payload)
        except OSError as exc:
            self._failed(f"{exc.strerror}")
            return False
        if written != total:
            self._failed(f"{written} of {total} bytes written: the disk is full")
            return False
        self._size += total
        self._held += total
        self._records += 1
        self._bytes_written += total
        return True

    def _failed(self, reason: str) -> None:
        self._failed_writes += 1
        self._last_error = reason
        if self._descriptor is not None:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError:
                self._abandon()  # the reader skips the torn end of a segment that has a successor

    def _rotate(self) -> None:
        if self._closed:
            raise OSError(0, "the journal is closed")
        self._abandon()
        try:
            self._open_next()
        except FileNotFoundError:
            # The directory was deleted under us. Begin a new life: what was open is lost, what comes is not.
            self._lock.release()
            self._begin()
            self._segment = -1
            self._open_next()

    def _open_next(self) -> None:
        path = segment_path(self._directory, self._segment + 1)
        self._descriptor = os.open(path, _FLAGS, 0o600)
        self._segment += 1
        self._size = 0
        self._seed = header_seed(self.owner, self._segment)

    def _abandon(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def close(self) -> None:
        """Let go of files and lock: from now on the recorder takes this owner for dead and cleans up behind it."""
        if self._closed:
            return
        self._pay()
        self._abandon()
        self._closed = True
        unused = not segments(self._directory)
        self._lock.release(unlink=unused)
        if unused:
            with suppress(OSError):
                self._directory.rmdir()

    def statistics(self) -> WriterStatistics:
        """What was written, what waits, what failed."""
        return WriterStatistics(
            owner=self.owner,
            records=self._records,
            bytes_written=self._bytes_written,
            bytes_held=self._held,
            failed_writes=self._failed_writes,
            owed_ends=len(self._owed),
            lost_ends=self._lost_ends,
            last_error=self._last_error,
        )


if hasattr(os, "writev"):

    def _write_both(descriptor: int, header: bytes, payload: Buffer) -> int:
        return os.writev(descriptor, (header, payload))

else:  # pragma: no cover (Windows)

    def _write_both(descriptor: int, header: bytes, payload: Buffer) -> int:
        return os.write(descriptor, header + payload)
