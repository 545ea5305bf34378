"""The recorder's end of one owner's journal: records from a position on, whatever state the files are in.

Apart from `recorder`, which knows what records mean. A torn end is waited for while its writer lives and left behind
when it is dead or has begun the next segment; a record that is damaged in the middle is skipped to the next good
header and counted. It never raises on what it reads, only OSError when the system refuses a file.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

from claudeproxy.capture.journal_format import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    Header,
    RecordType,
    decode_header,
    find_header,
    header_seed,
    segment_path,
    segments,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from claudeproxy.capture.locks import FileLock

Position: TypeAlias = tuple[int, int]
"""Segment number and byte offset in it: the JournalCursor that the store keeps for each owner."""

Span: TypeAlias = tuple[int, int, int]
"""Where a record's payload lies: segment number, byte offset, length."""

# Read at once; a record always fits.
_CHUNK = 4 * (MAX_PAYLOAD + HEADER_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One good record. `payload` is a view of the reader's buffer: copy what is to stay."""

    type: RecordType
    exchange: int
    instant: int  # time.monotonic_ns() of the writer
    payload: memoryview
    start: Position  # of the header
    span: Span  # of the payload


class JournalReader:
    """Reads one owner's directory from `position` on; `position` is always behind the last record given out."""

    def __init__(self, directory: Path, *, position: Position = (0, 0)) -> None:
        self.directory = directory
        self.owner = directory.name
        self.position = position
        self.damaged = 0  # records or stretches that were skipped
        self._suspect: Position | None = None  # where this reading found damage at the living end
        self._suspected_before: Position | None = None  # where the reading before it did

    def __repr__(self) -> str:
        return f"<JournalReader {self.owner} at {self.position}>"

    def records(self, *, final: bool) -> Iterator[Record]:
        """All whole records there are now; `final` when the writer is dead, so that nothing will be added."""
        self._suspected_before, self._suspect = self._suspect, None
        while True:
            numbers = segments(self.directory)
            later = next((number for number in numbers if number > self.position[0]), None)
            if self.position[0] in numbers:
                before = self.position
                # Whether there is a later segment was asked before reading: so this one is complete if there is.
                yield from self._chunk(settled=final or later is not None)
                if self.position != before:
                    continue
            if later is None:
                return
            self.position = (later, 0)

    def _chunk(self, *, settled: bool) -> Iterator[Record]:
        segment, base = self.position
        with segment_path(self.directory, segment).open("rb") as file:
            file.seek(base)
            data = file.read(_CHUNK)
        seed, view, at = header_seed(self.owner, segment), memoryview(data), 0
        while at + HEADER_BYTES <= len(data):
            header = decode_header(data, at, seed=seed)
            end = at + HEADER_BYTES + (0 if header is None else header.length)
            if end > len(data):
                return  # the rest is in the next chunk, or will be written, or never was
            payload = view[at + HEADER_BYTES : end]
            if header is not None and crc32(payload) == header.payload_crc:
                self.position = (segment, base + end)
                yield _record(header, payload, segment, base + at)
                at = end
                continue
            if not settled and self._suspected_before != (segment, base + at):
                # It may be a write that is just being taken back: believe it the second time.
                self._suspect = (segment, base + at)
                return
            # The length of a good header can be trusted; otherwise look for the next one.
            at = end if header is not None else self._resync(data, at, seed)
            self.position = (segment, base + at)
            self.damaged += 1

    @staticmethod
    def _resync(data: bytes, at: int, seed: int) -> int:
        found = find_header(data, at + 1, seed=seed)
        # Without one all but a header's length can be left behind: one may begin at the end of what was read.
        return max(at + 1, len(data) - HEADER_BYTES + 1) if found is None else found

    def payload(self, spans: Sequence[Span]) -> bytes:
        """The payloads at `spans`, joined. OSError when a segment is gone."""
        parts: list[bytes] = []
        for segment, group in groupby(spans, key=itemgetter(0)):
            with segment_path(self.directory, segment).open("rb", buffering=1 << 18) as file:
                for _, offset, length in group:
                    file.seek(offset)
                    parts.append(file.read(length))
        return b"".join(parts)

    def forget(self, segment: int) -> None:
        """Delete the segments before `segment`; one that cannot be deleted now is tried again the next time."""
        for number in segments(self.directory):
            if number < segment:
                with suppress(OSError):
                    segment_path(self.directory, number).unlink()

    def remove(self, lock: FileLock) -> None:
        """Delete the whole journal of a dead owner. `lock` is its lock, held, so that nobody comes to life in it."""
        self.forget(1 << 62)
        with suppress(OSError):
            lock.release(unlink=True)
            self.directory.rmdir()


def _record(header: Header, payload: memoryview, segment: int, offset: int) -> Record:
    return Record(
        type=header.type,
        exchange=header.exchange,
        instant=header.instant,
        payload=payload,
        start=(segment, offset),
        span=(segment, offset + HEADER_BYTES, header.length),
    )
