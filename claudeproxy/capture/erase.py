"""Overwrites what is recorded of journals: until a segment is full it would lie there beside the database.

Apart from `journal_reader`, which only deletes whole segments, because this is for what a person wants gone: after a
purge, and for exchanges that are not to be stored. Nobody reads before the cursor that the store keeps, so any process
may do it, beside a relay that writes and a recorder that reads.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_format import segment_path
from claudeproxy.private import open_private

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ZEROS = bytes(1 << 20)


class JournalEraser:
    """Erases under `root`; remembers how far it came, so that calling it again costs what is new."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._done: dict[str, tuple[int, int]] = {}

    def erase(self, cursors: Mapping[str, tuple[int, int]]) -> int:
        """Overwrite what lies before the cursors (owner: segment and offset); return how many bytes that were.

        Files that cannot be written are left for the next time. Segments before the cursor: the recorder deletes them.
        """
        total = 0
        for owner, (segment, end) in cursors.items():
            known = self._done.get(owner, (0, 0))
            begin = known[1] if known[0] == segment else 0
            if begin < end:
                with suppress(OSError):
                    total += _overwrite(segment_path(self._root / owner, segment), begin, end)
                    self._done[owner] = (segment, end)
        return total


def _overwrite(path: Path, begin: int, end: int) -> int:
    with os.fdopen(open_private(path, os.O_RDWR), "r+b") as file:
        end = min(end, file.seek(0, 2))
        file.seek(begin)
        for at in range(begin, end, len(_ZEROS)):
            file.write(_ZEROS[: end - at])
    return max(0, end - begin)
