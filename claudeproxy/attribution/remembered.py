"""A cache that is bounded by bytes.

Apart because blocks differ in size by five orders of magnitude: a bound on the number of entries would bound nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """A cache bounded by the bytes that its entries take; the least recently used goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def recall(self, key: K) -> V | None:
        """Return what is remembered under `key`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def remember(self, key: K, value: V, size: int) -> V:
        """Keep `value`, which takes about `size` bytes of memory, and return it."""
        self._held -= self._entries.pop(key, (value, 0))[1]
        self._entries[key] = value, size
        self._held += size
        while self._held > self._limit:
            _key, (_value, freed) = self._entries.popitem(last=False)
            self._held -= freed
        return value
