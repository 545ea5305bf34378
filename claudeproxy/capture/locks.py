"""File locks that the system releases when their holder dies, however it dies.

Apart because the two systems call them differently: ``flock`` on POSIX, ``msvcrt.locking`` on Windows. A lock says
that its holder lives, nothing more; it is never waited for.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_format import LOCK_NAME
from claudeproxy.private import open_private

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform == "win32":  # pragma: no cover (run on Windows)
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class FileLock:
    """An exclusive lock on a file, made if need be. `acquire()` is False when another holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, *, create: bool = True) -> bool:
        """Take the lock if it is free. OSError when the file cannot be opened."""
        if self._descriptor is not None:
            return True
        descriptor = open_private(self._path, os.O_RDWR | (os.O_CREAT if create else 0))
        if _try_lock(descriptor) and self._still_there(descriptor):
            self._descriptor = descriptor
            return True
        os.close(descriptor)
        return False

    def _still_there(self, descriptor: int) -> bool:
        """Whether the path still names the file that was locked: a cleaner may have been faster."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self, *, unlink: bool = False) -> None:
        """Give it back, and remove the file when it is of no more use."""
        if self._descriptor is not None:
            if unlink and os.name != "nt":
                # While still held, so that nobody locks a file that is about to go.
                with suppress(FileNotFoundError):
                    self._path.unlink()
            os.close(self._descriptor)
            self._descriptor = None
            if unlink and os.name == "nt":  # pragma: no cover (an open file cannot be removed there)
                with suppress(OSError):
                    self._path.unlink()


def owner_alive(root: Path, owner: str) -> bool:
    """Whether the relay process that wrote (or writes) ``root/owner`` lives; False when its journal is gone."""
    lock = FileLock(root / owner / LOCK_NAME)
    try:
        if not lock.acquire(create=False):
            return True
    except FileNotFoundError:
        return False
    except OSError:
        return True  # unreadable, so not ours to judge: never declare a living owner dead
    lock.release()
    return False
