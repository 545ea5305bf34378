from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.insight.estimates import estimate


def of(*ratings):
    return estimate(count=len(ratings), total=sum(ratings), squares=sum(r * r for r in ratings))


def test_nothing_said_is_no_opinion_with_a_wide_interval():
    nothing = of()
    assert nothing.rating == 0.0
    assert nothing.low == pytest.approx(-nothing.high)
    assert nothing.high > 0.4
    assert nothing.count == 0


def test_three_perfect_ratings_do_not_outrank_three_hundred_good_ones():
    assert of(1, 1, 1).low < of(*[0.5, -0.1] * 150).low
    assert of(1, 1, 1).rating < of(*[1, 0] * 150).rating


def test_with_many_ratings_the_estimate_is_their_average():
    many = of(*[0.8, 0.6] * 5000)
    assert many.rating == pytest.approx(0.7, abs=0.001)
    assert many.high - many.low < 0.02


@given(st.lists(st.floats(min_value=-1, max_value=1), max_size=30))
def test_the_estimate_lies_in_its_interval_and_nearer_to_zero_than_the_average(ratings):
    found = of(*ratings)
    assert -1 <= found.low <= found.rating <= found.high <= 1
    if ratings:
        assert abs(found.rating) <= abs(sum(ratings) / len(ratings)) + 1e-12


@given(st.integers(min_value=1, max_value=200), st.sampled_from([-1.0, -0.5, 0.5, 1.0]))
def test_more_of_the_same_narrows_the_interval(count, rating):
    fewer, more = of(*[rating] * count), of(*[rating] * (count + 1))
    assert more.high - more.low < fewer.high - fewer.low or count < 3
