"""Covering a text with claims."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.attribution.names import framework
from claudeproxy.attribution.spans import NOBODY, Claim, Span, cover

CLAIMS = [Claim(source=framework(name), kind="text", rule="r") for name in "abc"]
spans = st.lists(st.builds(Span, st.integers(-5, 25), st.integers(-5, 25), st.sampled_from(CLAIMS)), max_size=8)


@given(spans=spans, start=st.integers(0, 10), length=st.integers(0, 15))
def test_cover_tiles_whatever_it_is_given(spans, start, length):
    """Overlapping, empty, reversed, outside: the result covers the text once, in order, neighbours differing."""
    out = cover(spans, start, start + length)
    at = start
    for number, span in enumerate(out):
        assert span.start == at < span.end
        assert number == 0 or out[number - 1].claim != span.claim
        at = span.end
    assert at == start + length or (not out and length == 0)


def test_gaps_go_to_the_rest_and_the_first_of_two_wins():
    """What begins first keeps what it has."""
    first, second, _third = CLAIMS
    assert cover([Span(4, 8, second), Span(2, 6, first)], 0, 10) == [
        Span(0, 2, NOBODY),
        Span(2, 6, first),
        Span(6, 8, second),
        Span(8, 10, NOBODY),
    ]
