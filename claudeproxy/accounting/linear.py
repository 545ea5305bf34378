"""A little linear algebra in plain Python: symmetric systems of some 25 unknowns, with no unknown below zero.

Apart because it is mathematics and nothing else. NumPy would be a dependency of 20 MB for a matrix of 25 by 25, which
takes a millisecond like this.
"""

from __future__ import annotations

from math import sqrt
from operator import mul
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

Matrix: TypeAlias = "list[list[float]]"

_TINY = 1e-12


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the scalar product."""
    return float(sum(map(mul, left, right)))


def solve(matrix: Matrix, right: Sequence[float]) -> list[float]:
    """Solve a symmetric positive definite system by Cholesky's decomposition.

    Pivots that rounding pushed to zero or below are kept just above it.
    """
    size = len(right)
    factor: Matrix = []
    forward: list[float] = []
    for i in range(size):
        source = matrix[i]
        row: list[float] = []
        for j in range(i):
            other = factor[j]
            row.append((source[j] - sum(map(mul, row, other))) / other[j])
        row.append(sqrt(max(source[i] - sum(map(mul, row, row)), _TINY)))
        factor.append(row)
        forward.append((right[i] - sum(map(mul, row, forward))) / row[i])
    result = [0.0] * size
    for i in range(size - 1, -1, -1):
        value = (forward[i]) / factor[i][i]
        result[i] = value
        for j, coefficient in enumerate(factor[i][:i]):
            forward[j] -= coefficient * value
    return result


def solve_nonnegative(matrix: Matrix, right: Sequence[float]) -> list[float]:
    """Minimise the quadratic form with no unknown below zero, by putting the most negative ones to zero in turn.

    A ridge keeps the unknowns near a positive prior, so few ever reach zero and this simple active set is enough.
    """
    free = list(range(len(right)))
    while free:
        part = solve([[matrix[i][j] for j in free] for i in free], [right[i] for i in free])
        negative = [i for i, value in zip(free, part, strict=True) if value < 0]
        if not negative:
            result = [0.0] * len(right)
            for i, value in zip(free, part, strict=True):
                result[i] = value
            return result
        free = [i for i in free if i not in negative]
    return [0.0] * len(right)
