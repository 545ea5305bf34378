"""A gate that lets a test hold back a stream's events and see how far it got, without a clock.

Apart from `replies` because it is the one thing a reply refers to that lives and changes.
"""

from __future__ import annotations

import trio


class Gate:
    """Opened write by write (`release`) or for good (`open`); tells how many writes came to it.

    One gate may serve several streams: what it counts and lets pass is the sum of their writes.
    """

    def __init__(self) -> None:
        self._allowed = 0
        self._open = False
        self._arrived = 0
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Gate arrived={self._arrived} allowed={'all' if self._open else self._allowed}>"

    @property
    def arrived(self) -> int:
        """How many writes have come to the gate, passed or waiting."""
        return self._arrived

    def release(self, count: int = 1) -> None:
        """Let the next `count` writes pass."""
        self._allowed += count
        self._notify()

    def open(self) -> None:
        """Let everything pass from now on."""
        self._open = True
        self._notify()

    async def wait_arrived(self, count: int) -> None:
        """Wait until `count` writes have come here: all but the last of them are then on their way."""
        while self._arrived < count:
            await self._changed.wait()

    async def enter(self) -> None:
        """Wait for leave to write; called by the mock before each write."""
        self._arrived += 1
        turn = self._arrived
        self._notify()
        while not self._open and self._allowed < turn:
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
