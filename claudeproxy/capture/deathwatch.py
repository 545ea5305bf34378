"""Knows what the recorder was at when it died: a body that kills it must not kill every one that comes after it.

Apart from the recorder because it has to be on disk before the danger: a few bytes are written before each exchange is
read, stored or explained, without a sync, for the file survives the death of the process. Whoever takes the recorder's
lock next reads them. A death is counted against the exchange that was at hand, and forgotten when that exchange has
come through: one that was there by chance, when somebody killed the process, has nothing to fear. What to do about
counts is not decided here.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.private import open_private, read_private, replace_private

if TYPE_CHECKING:
    from pathlib import Path

AT_NAME = "recorder.at"
DEATHS_NAME = "recorder.deaths"

# Deaths at the same exchange before it is believed to be the cause. Each costs a start of the recorder, about a second.
BELIEVED = 3

_SLOT = 160  # bytes: a stage and an id
_MAX_SUSPECTS = 256  # one that is never seen again stays on the list

STORING = "store"  # reading it from the journal, cutting it, writing it
EXPLAINING = "explain"  # everything that comes after


class Deathwatch:
    """Two small files under `root`, the journal's directory; only for the holder of the recorder's lock.

    A disk that cannot be written costs this knowledge and nothing else. Nothing here raises.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._descriptor: int | None = None
        self._deaths: dict[str, int] = {}

    def begin(self) -> None:
        """Find out at what the recorder before this one died, if it did. Called with the lock held, once."""
        with suppress(OSError, ValueError):
            found = json.loads(read_private(self._root / DEATHS_NAME))
            self._deaths = {str(key): int(count) for key, count in found.items()} if isinstance(found, dict) else {}
        with suppress(OSError):
            self._descriptor = open_private(self._root / AT_NAME, os.O_RDWR | os.O_CREAT)
            if suspect := os.read(self._descriptor, _SLOT).rstrip(b" \n").decode("ascii", "replace"):
                while len(self._deaths) >= _MAX_SUSPECTS:
                    del self._deaths[next(iter(self._deaths))]
                self._deaths[suspect] = self._deaths.pop(suspect, 0) + 1
                self._save()
                self.rest()

    def at(self, stage: str, key: str) -> None:
        """Say what is at hand: a stage of an exchange."""
        self._write(f"{stage} {key}".encode("ascii", "replace"))

    def rest(self) -> None:
        """Say that nothing is."""
        self._write(b"")

    def deaths(self, stage: str, key: str) -> int:
        """How often a recorder died at this stage of an exchange that has not come through since."""
        return self._deaths.get(f"{stage} {key}", 0)

    def suspects(self, stage: str) -> list[str]:
        """Whatever the recorder died at in this stage, often enough to be believed."""
        return [
            key.partition(" ")[2]
            for key, count in self._deaths.items()
            if count >= BELIEVED and key.startswith(f"{stage} ")
        ]

    def acquit(self, stage: str, key: str) -> None:
        """An exchange came through this stage, or will not be seen in it again."""
        if self._deaths.pop(f"{stage} {key}", None) is not None:
            self._save()

    def close(self) -> None:
        """Nothing is at hand any more."""
        self.rest()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, text: bytes) -> None:
        if self._descriptor is not None:
            with suppress(OSError):
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                os.write(self._descriptor, text[: _SLOT - 1].ljust(_SLOT - 1) + b"\n")

    def _save(self) -> None:
        path = self._root / DEATHS_NAME
        with suppress(OSError):
            if not self._deaths:
                path.unlink(missing_ok=True)
                return
            replace_private(path, json.dumps(self._deaths).encode("ascii"))
