"""Whole numbers divided in proportion, so that the parts add up to the whole: largest remainder (Hamilton's method).

Apart because tokens and money are shared by the same rule, and everything that this product adds up rests on it.
Integers only where it matters: weights may be fractions, the parts never are.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def share(total: int, weights: Sequence[float]) -> list[int]:
    """Divide `total` (0 or more) in proportion to `weights`; the parts are whole, not negative and sum to `total`.

    What is left after rounding down goes to the largest remainders, the earlier one first where they tie, so the same
    call gives the same parts everywhere. Weights that are negative or not finite count as 0; when all are 0 the parts
    are equal. No weights and a total of 0 give no parts.

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


def share_segments(
    block_tokens: Sequence[int], segment_sizes: Sequence[Sequence[float]], *, overhead: int = 0
) -> tuple[list[list[int]], int]:
    """Divide each block's tokens among its segments in proportion to their local sizes.

    `block_tokens` and `segment_sizes` are aligned; the result has one list for each block, and what belongs to no
    segment: `overhead` and the tokens of blocks that have none. All of it together is what came in.
    """
    parts: list[list[int]] = []
    rest = overhead
    for tokens, sizes in zip(block_tokens, segment_sizes, strict=True):
        parts.append(share(tokens, sizes) if sizes else [])
        rest += 0 if sizes else tokens
    return parts, rest


# Weights become integers in this unit: every comparison of remainders is then exact, on every machine.
_UNIT = 1 << 20


def _ratio(weight: float) -> int:
    if isinstance(weight, int):
        return max(0, weight) * _UNIT
    return round(weight * _UNIT) if isfinite(weight) and weight > 0 else 0
