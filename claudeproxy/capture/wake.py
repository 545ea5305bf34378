"""A pipe that tells the recorder that something ended: one byte, never waited for by the one who writes it.

Apart so that relay and recorder need not be in one process: either end may be inherited. Losing a wake-up costs one
poll interval and nothing else, so a full pipe is simply left full.
"""

from __future__ import annotations

import os
import select
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def notify(descriptor: int) -> None:
    """Write a byte into a non-blocking pipe; a full or closed one is no matter."""
    with suppress(OSError):
        os.write(descriptor, b"\0")


def wait(descriptor: int | None, seconds: float) -> bool:
    """Wait for a byte, then take all there are; False when none came within `seconds`.

    Raises EOFError when the other end is closed: whoever would write is gone or has said that this was all.
    """
    if descriptor is None or sys.platform == "win32":
        time.sleep(seconds)  # select() knows only sockets on Windows
        return False
    poller = select.poll()  # select() cannot wait for a descriptor beyond 1,023, epoll not for a file
    poller.register(descriptor, select.POLLIN)
    if not poller.poll(seconds * 1000):
        return False
    if not os.read(descriptor, 65536):
        raise EOFError
    return True


class WakePipe:
    """Both ends of a pipe within one process. `notify` never blocks or raises; `wait` as the function of that name."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        if hasattr(os, "set_blocking"):
            os.set_blocking(self.write_end, False)
            os.set_blocking(self.read_end, False)

    def notify(self) -> None:
        """Wake whoever waits."""
        notify(self.write_end)

    def wait(self, seconds: float) -> bool:
        """Wait to be woken. Raises EOFError when the writing end is closed."""
        return wait(self.read_end, seconds)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.write_end)
        os.close(self.read_end)


def input_ended() -> Callable[[], bool]:  # pragma: no cover (run on Windows)
    """Whether standard input has ended, on Windows: select() cannot tell there, so a thread waits for it."""
    import threading  # noqa: TID251 - see above

    ended = threading.Event()

    def drain() -> None:
        while os.read(0, 4096):
            pass
        ended.set()

    threading.Thread(target=drain, daemon=True).start()
    return ended.is_set
