from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.attribution.custom import overlay
from claudeproxy.attribution.names import USER, framework
from claudeproxy.attribution.spans import Claim, Span, cover

CLAIMS = [Claim(source=framework(name), kind="text", rule=name) for name in "abc"]
ABOVE = Claim(source=USER, kind="text", rule="above")


@given(
    bounds=st.lists(st.integers(0, 30), max_size=5),
    upper=st.lists(st.integers(0, 40), max_size=6, unique=True).map(sorted),
)
def test_what_is_laid_over_wins_and_the_rest_stays(bounds: list[int], upper: list[int]) -> None:
    """Character by character."""
    below = [Span(at, at + 7, CLAIMS[number % 3]) for number, at in enumerate(sorted(bounds))]
    base = cover(below, 0, 40)
    above = [Span(low, high, ABOVE) for low, high in zip(upper[::2], upper[1::2], strict=False)]
    found = overlay(base, above)
    assert [span.start for span in found] == [0, *(span.end for span in found[:-1])]
    assert found[-1].end == 40
    for at in range(40):
        (claim,) = (span.claim for span in found if span.start <= at < span.end)
        (under,) = (span.claim for span in base if span.start <= at < span.end)
        assert claim == (ABOVE if any(span.start <= at < span.end for span in above) else under)
