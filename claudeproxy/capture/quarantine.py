"""Where exchanges go that cannot be recorded at all, so that those behind them can.

Apart from the journal because nothing reads here: an exchange is set aside when storing it has failed, or killed the
recorder, several times even without looking into it. Its records stay what they were, one small journal an exchange
under the version of the code that failed; another version gives them back to the journal once, and tries again.
Bounded in number and bytes; what finds no room is counted as discarded.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_format import RecordType, encode_header, header_seed, segment_path
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.private import open_private

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from claudeproxy.capture.journal_reader import Position

# A fault that meets every exchange must not fill the disk: these are some hundred requests of 500 KB to look into.
MAX_BYTES = 256 << 20
MAX_EXCHANGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an exchange is in a journal: its number there, where its first record begins; its correlation_id."""

    directory: Path
    number: int
    start: Position
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineStatistics:
    """What lies there now."""

    exchanges: int
    bytes: int


class Quarantine:
    """Exchanges set aside under `root`; `version` is the code's, of which each is tried by another one only once."""

    def __init__(
        self, root: Path, version: str, *, max_bytes: int = MAX_BYTES, max_exchanges: int = MAX_EXCHANGES
    ) -> None:
        self._root = root
        self._version = version
        self._max_bytes = max_bytes
        self._max_exchanges = max_exchanges

    def take(self, place: Place) -> bool:
        """Copy an exchange's records from its journal; False when there is no room for them, or they are gone.

        Taking the same one again changes nothing.
        """
        name = f"{place.directory.name}-{place.number}"
        target = self._root / self._version / name
        if target.is_dir():
            return True
        taken = self.statistics()
        if taken.exchanges >= self._max_exchanges:
            return False
        temporary = self._root / f".{name}"
        try:
            temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            if self._copy(place, temporary, header_seed(name, 0), self._max_bytes - taken.bytes):
                temporary.rename(target)
                return True
        except OSError:
            pass  # a full disk, a journal that was deleted: as if there were no room
        shutil.rmtree(temporary, ignore_errors=True)
        return False

    def _copy(self, place: Place, directory: Path, seed: int, room: int) -> bool:
        """Write the records of one exchange as a journal of their own; whether there were any and all had room."""
        path = segment_path(directory, 0)
        copied = 0
        with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
            for record in JournalReader(place.directory, position=place.start).records(final=True):
                if record.exchange != place.number:
                    continue
                header = encode_header(record.type, record.exchange, record.instant, record.payload, seed=seed)
                copied += file.write(header) + file.write(record.payload)
                if copied > room:
                    return False
                if record.type is RecordType.END:
                    break
        return copied > 0

    def give_back(self, journal: Path) -> int:
        """Move what another version of the code set aside into the journals, to be tried again; how many."""
        given = 0
        for directory in self._directories():
            if directory.parent.name != self._version:
                with suppress(OSError):
                    shutil.move(directory, journal / directory.name)
                    given += 1
        return given

    def expire(self, before: float) -> int:
        """Delete what was set aside before an instant (seconds since the epoch); how many."""
        expired = [one for one in self._directories() if one.stat().st_mtime < before]
        for directory in expired:
            shutil.rmtree(directory, ignore_errors=True)
        return len(expired)

    def statistics(self) -> QuarantineStatistics:
        """Count what lies there: looks at the disk."""
        directories = list(self._directories())
        size = 0
        for directory in directories:
            with suppress(OSError):
                size += segment_path(directory, 0).stat().st_size
        return QuarantineStatistics(exchanges=len(directories), bytes=size)

    def _directories(self) -> Iterator[Path]:
        with suppress(OSError):
            for version in sorted(self._root.iterdir()):
                if version.is_dir() and not version.name.startswith("."):
                    yield from sorted(one for one in version.iterdir() if one.is_dir())
