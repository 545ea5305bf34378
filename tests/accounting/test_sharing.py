"""Largest remainder: whole parts, never negative, always the whole."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.accounting.sharing import share_segments
from claudeproxy.sansio.sharing import share

WEIGHTS = st.lists(st.floats(min_value=0, max_value=1e9) | st.integers(0, 10**6), min_size=1, max_size=30)


@given(st.integers(0, 10**15), WEIGHTS)
def test_the_parts_are_the_whole(total, weights):
    parts = share(total, weights)
    assert sum(parts) == total
    assert len(parts) == len(weights)
    assert min(parts) >= 0


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any))
def test_no_part_is_a_whole_token_away_from_its_proportion(total, weights):
    for part, weight in zip(share(total, weights), weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


def test_the_largest_remainders_get_what_is_left_and_the_first_of_equals_comes_first():
    assert share(10, [1, 1, 1]) == [4, 3, 3]
    assert share(5, [5, 3, 2]) == [3, 1, 1]
    assert share(100, [99, 1, 0]) == [99, 1, 0]


def test_without_weights_all_share_alike():
    assert share(7, [0, 0, 0]) == [3, 2, 2]


def test_weights_that_are_no_numbers_weigh_nothing():
    assert share(6, [1.0, math.nan, -5.0, math.inf]) == [6, 0, 0, 0]


@pytest.mark.parametrize(("total", "weights"), [(-1, [1.0]), (1, [])])
def test_what_cannot_be_divided_is_refused(total, weights):
    with pytest.raises(ValueError, match="cannot divide"):
        share(total, weights)


def test_nothing_among_nobody_is_nothing():
    assert share(0, []) == []


@given(
    st.lists(st.tuples(st.integers(0, 10**5), st.lists(st.floats(0, 1e6), max_size=5)), max_size=8), st.integers(0, 99)
)
def test_segments_and_overhead_add_up_to_the_blocks(blocks, overhead):
    """Tokens of a block without segments are overhead: nothing is lost."""
    parts, rest = share_segments([t for t, _ in blocks], [w for _, w in blocks], overhead=overhead)
    assert sum(map(sum, parts)) + rest == sum(t for t, _ in blocks) + overhead
    for (tokens, weights), part in zip(blocks, parts, strict=True):
        assert sum(part) == (tokens if weights else 0)
