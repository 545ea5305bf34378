"""Which of several headings that look alike are the client's: those that keep the order in which it sorts names.

Apart because the order is that of another language's `localeCompare`, told here by a key for what names hold. A text
between two genuine headings may quote any heading; a quotation rarely fits between its neighbours, and what does not
fit is not the client's.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

SORTED_SINCE = (2, 1)  # of the client's versions (measured: 2.0 keeps the order of the configuration)
MAX_HEADINGS = 400  # the search is quadratic: of more, the last are looked at

_PUNCTUATION = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"  # the order of the Unicode Collation Algorithm's root
_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_Key: TypeAlias = "tuple[tuple[tuple[int, str], ...], str]"


def is_at_least(version: str | None, least: tuple[int, ...]) -> bool:
    """Tell whether a client's version is known and not below another."""
    found = _NUMBERS.match(version or "")
    return found is not None and tuple(int(part or 0) for part in found.groups()) >= least


def collation_key(name: str) -> _Key:
    """Return a key that sorts names as the client does: punctuation, digits, letters; case decides between equals."""
    plain = "".join(ch for ch in unicodedata.normalize("NFKD", name) if not unicodedata.combining(ch)).casefold()
    weights = tuple(
        (0, chr(_PUNCTUATION.index(ch))) if ch in _PUNCTUATION else (1 if ch.isdigit() else 2, ch) for ch in plain
    )
    return weights, name.swapcase()


def in_order(headings: Sequence[re.Match[str]]) -> list[re.Match[str]]:
    """Return the most headings whose names (group ``name``) ascend, the first always among them; of equals the last."""
    first, *rest = headings
    items = [(collation_key(match["name"]), match) for match in (first, *rest[-MAX_HEADINGS:])]
    longest = [1] * len(items)  # from each heading on
    following = [0] * len(items)
    for here in range(len(items) - 1, -1, -1):
        for there in range(len(items) - 1, here, -1):
            if items[here][0] < items[there][0] and longest[there] + 1 > longest[here]:
                longest[here], following[here] = longest[there] + 1, there
    chosen = [0]
    while following[chosen[-1]]:
        chosen.append(following[chosen[-1]])
    return [items[number][1] for number in chosen]
