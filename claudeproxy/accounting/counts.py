"""Token counts that were made before: a turn sends its whole history again, and counting is what costs.

Apart from `tokens`, which counts, so that a counter stays a pure function of its text.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Sizes of texts already counted: a turn sends its whole history again. 40 bytes an entry, so some 5 MB at the most.
MAX_COUNTED_TEXTS = 65_536


class CachedCounts:
    """Token counts by text, remembered by hash, least recently used forgotten first.

    By Python's own hash with the length: strings keep theirs, and the texts of a known block are the same objects in
    every request, so that a turn does not hash its history again. It is keyed at random in each process.
    """

    def __init__(self, count_many: Callable[[Sequence[str]], list[int]], *, size: int = MAX_COUNTED_TEXTS) -> None:
        self._count_many = count_many
        self._size = size
        self._known: OrderedDict[tuple[int, int], int] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order; only texts not seen lately are tokenized."""
        keys = [(hash(text), len(text)) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            self._known.update(zip(missing, self._count_many(list(missing.values())), strict=True))
        counts = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return counts
