"""Pieces laid end to end over stretches; division in proportion is tested with its first user, accounting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.sansio.sharing import lay


@given(st.lists(st.integers(0, 100), max_size=10), st.lists(st.integers(0, 100), max_size=5))
def test_each_piece_and_each_stretch_is_covered_whole(pieces, lengths):
    lengths = [*lengths, max(0, sum(pieces) - sum(lengths))]
    pieces = [*pieces, sum(lengths) - sum(pieces)]
    laid = lay(pieces, lengths)
    assert [sum(taken) for taken in laid] == pieces
    assert [sum(column) for column in zip(*laid, strict=True)] == lengths


def test_a_piece_may_lie_across_stretches():
    assert lay([2, 0, 5], [3, 0, 4]) == [(2, 0, 0), (0, 0, 0), (1, 0, 4)]


@pytest.mark.parametrize(("pieces", "lengths"), [([1], [2]), ([-1, 1], [0]), ([0], [-1, 1])])
def test_what_does_not_cover_is_refused(pieces, lengths):
    with pytest.raises(ValueError, match="do not cover"):
        lay(pieces, lengths)
