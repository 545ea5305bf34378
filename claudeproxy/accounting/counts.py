"""Sizes of texts for dividing a block among its segments, and counts that were made before.

Apart from `tokens` and `classes`, which count, so that those stay pure functions of a text. A turn sends its whole
history again, and counting is what costs: a text is counted once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.accounting.classes import count_classes
from claudeproxy.accounting.features import STRUCTURE
from claudeproxy.accounting.linear import dot
from claudeproxy.accounting.weights import prior

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Sizes of texts already counted: a turn sends its whole history again. 200 bytes an entry, so some 3 MB at the most.
MAX_COUNTED_TEXTS = 16_384


def text_sizes(texts: Sequence[str]) -> list[int]:
    """Return the local size of each text in tokens, by the shipped weights; 0 only for one without any.

    These are weights for dividing a block's tokens among its segments, where only proportions count. Learned weights
    would be a little better and change with each bill, and segments are kept once for all requests and models.
    """
    weights = prior("new")[len(STRUCTURE) :]
    sizes = [dot(count_classes(text), weights) for text in texts]
    return [max(1, round(size)) if size else 0 for size in sizes]


class CachedCounts:
    """Token counts by text, remembered by hash; all is forgotten when it is too much.

    By Python's own hash with the length: strings keep theirs, and the texts of a known block are the same objects in
    every request, so that a turn does not hash its history again. It is keyed at random in each process.
    """

    def __init__(self, count_many: Callable[[Sequence[str]], list[int]], *, size: int = MAX_COUNTED_TEXTS) -> None:
        self._count_many = count_many
        self._size = size
        self._known: dict[tuple[int, int], int] = {}

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order; only texts not seen lately are tokenized."""
        keys = [(hash(text), len(text)) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            if len(self._known) + len(missing) > self._size:
                self._known.clear()
                missing = dict(zip(keys, texts, strict=True))
            self._known.update(zip(missing, self._count_many(list(missing.values())), strict=True))
        return [self._known[key] for key in keys]
