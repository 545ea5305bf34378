"""Small symmetric systems in plain Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.accounting.linear import dot, solve, solve_nonnegative

NUMBERS = st.floats(-5, 5)


def gram(rows: list[list[float]], ridge: float) -> list[list[float]]:
    size = len(rows[0])
    return [[sum(r[i] * r[j] for r in rows) + (ridge if i == j else 0.0) for j in range(size)] for i in range(size)]


@given(
    st.lists(st.lists(NUMBERS, min_size=5, max_size=5), min_size=1, max_size=8),
    st.lists(NUMBERS, min_size=5, max_size=5),
)
def test_the_solution_solves(rows, right):
    matrix = gram(rows, 1.0)
    solution = solve(matrix, right)
    for row, wanted in zip(matrix, right, strict=True):
        assert dot(row, solution) == pytest.approx(wanted, abs=1e-6)


@given(
    st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=8),
    st.lists(NUMBERS, min_size=4, max_size=4),
)
def test_no_unknown_is_negative_and_none_that_is_free_wants_to_move(rows, right):
    matrix = gram(rows, 1.0)
    solution = solve_nonnegative(matrix, right)
    assert min(solution) >= 0
    for i, value in enumerate(solution):
        if value > 0:
            assert dot(matrix[i], solution) == pytest.approx(right[i], abs=1e-6)


def test_all_negative_is_all_zero():
    assert solve_nonnegative([[1.0, 0.0], [0.0, 1.0]], [-1.0, -2.0]) == [0.0, 0.0]


def test_a_singular_system_still_has_an_answer():
    assert len(solve([[1.0, 1.0], [1.0, 1.0]], [2.0, 2.0])) == 2
