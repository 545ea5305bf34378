"""How many connections each worker has, where all of them can see it: whose turn it is to take the next one.

Apart because it is shared memory: a small file without a name, mapped by every process, each of which writes its own
numbers and reads all. Nothing is locked. Numbers of 64 bits on their boundaries are not seen half written, and one that
is a moment old costs one connection more here than there.

The next connection is for the worker with the fewest; of several, for the one that waits longest. So two connections
are with two workers, and connections that come one after the other go round.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from typing import Final

_NUMBERS: Final = 3  # of each worker: whether it accepts, how many connections it has, when it took the last one
_HERE, _LOAD, _LAST = range(_NUMBERS)
_BYTES: Final = 8


class Board:
    """The numbers of all workers. One process makes it; the others get the descriptor, which is theirs to close."""

    def __init__(self, workers: int, descriptor: int | None = None) -> None:
        self.workers = workers
        size = workers * _NUMBERS * _BYTES
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(size))  # written and not only sized: a map of a file with holes dies on a full disk
                file.flush()
                descriptor = os.dup(file.fileno())
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, size)
        self._numbers = memoryview(self._map).cast("q")

    def close(self) -> None:
        """Let go of it in this process."""
        self._numbers.release()
        self._map.close()
        os.close(self.descriptor)

    def clear(self, worker: int) -> None:
        """This one is gone: nobody waits for it any more."""
        for number in range(_NUMBERS):
            self._numbers[worker * _NUMBERS + number] = 0

    def seat(self, worker: int) -> Seat:
        """The numbers as this worker uses them."""
        return Seat(self._numbers, worker, self.workers)


class Seat:
    """Implements `proxy.accepting.Turns` for one worker, and takes the number of its connections (`load`)."""

    def __init__(self, numbers: memoryview[int], worker: int, workers: int) -> None:
        self._numbers = numbers
        self._base = worker * _NUMBERS
        self._others = [other * _NUMBERS for other in range(workers) if other != worker]

    def begin(self) -> None:
        """From now on there is somebody here who accepts."""
        self._numbers[self._base + _HERE] = 1

    def end(self) -> None:
        """And from now on no longer."""
        self._numbers[self._base + _HERE] = 0

    def load(self, connections: int) -> None:
        """So many connections are open."""
        self._numbers[self._base + _LOAD] = connections

    def mine(self) -> bool:
        """Whether the next connection is for us."""
        mine = self._rank(self._base)
        return all(mine < self._rank(other) for other in self._others if self._numbers[other + _HERE])

    def taken(self) -> None:
        """We have taken one; the others see it before it is counted as open."""
        self._numbers[self._base + _LOAD] += 1
        self._numbers[self._base + _LAST] = time.monotonic_ns()

    def _rank(self, base: int) -> tuple[int, int, int]:
        return self._numbers[base + _LOAD], self._numbers[base + _LAST], base
