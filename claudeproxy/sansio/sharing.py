"""Whole numbers divided in proportion, and laid end to end, so that the parts add up to the whole.

Apart because tokens and money are divided by the same two rules wherever they are: when a bill is settled
(`accounting`) and whenever what was settled is read again (`store`). Integers only where it matters: weights may be
fractions, the parts never are.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def share(total: int, weights: Sequence[float]) -> list[int]:
    """Divide `total` (0 or more) in proportion to `weights`; the parts are whole, not negative and sum to `total`.

    Largest remainder (Hamilton's method): what is left after rounding down goes to the largest remainders, the earlier
    one first where they tie, so the same call gives the same parts everywhere. Weights that are negative or not finite
    count as 0; when all are 0 the parts are equal. No weights and a total of 0 give no parts.

    :raises ValueError: when `total` is negative, or is to be divided among nobody.
    """
    if total < 0 or (total and not weights):
        raise ValueError(f"cannot divide {total} among {len(weights)}")
    ratios = [_ratio(weight) for weight in weights]
    whole = sum(numerator for numerator in ratios)
    if whole == 0:
        ratios, whole = [1] * len(ratios), len(ratios)
    parts, remainders = [], []
    for ratio in ratios:
        part, remainder = divmod(total * ratio, whole)
        parts.append(part)
        remainders.append(remainder)
    missing = total - sum(parts)
    if missing:
        for index in sorted(range(len(parts)), key=lambda i: -remainders[i])[:missing]:
            parts[index] += 1
    return parts


def lay(pieces: Sequence[int], lengths: Sequence[int]) -> list[tuple[int, ...]]:
    """Lay `pieces` end to end over stretches of these `lengths`; return how much of each piece lies in each stretch.

    :raises ValueError: when the two are not equally long, or anything is negative.
    """
    if sum(pieces) != sum(lengths) or any(piece < 0 for piece in pieces) or any(length < 0 for length in lengths):
        raise ValueError(f"pieces of {sum(pieces)} do not cover stretches of {sum(lengths)}")
    left = list(lengths)
    current = 0
    laid = []
    for piece in pieces:
        taken = [0] * len(left)
        while piece:
            while not left[current]:
                current += 1
            taken[current] = part = min(piece, left[current])
            left[current] -= part
            piece -= part
        laid.append(tuple(taken))
    return laid


# Weights become integers in this unit: every comparison of remainders is then exact, on every machine.
_UNIT = 1 << 20


def _ratio(weight: float) -> int:
    if isinstance(weight, int):
        return max(0, weight) * _UNIT
    return round(weight * _UNIT) if isfinite(weight) and weight > 0 else 0
