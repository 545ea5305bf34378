"""Half of a rival's maximum: figures are medians over rounds of each round's percentile."""

from __future__ import annotations

import pytest
from load import Sample
from openloop import figures, table


def sample(*milliseconds: float, lost: int = 0) -> Sample:
    whole = [value / 1000 for value in milliseconds]
    return Sample(whole=whole, sent=len(whole) + lost, failed=lost, seconds=1.0)


def test_a_figure_is_the_median_of_the_rounds_percentiles():
    found = figures([sample(*range(1, 101)), sample(*range(2, 201, 2), lost=3), sample(*range(3, 301, 3))])
    assert found["p50_ms"] == pytest.approx(102)
    assert found["p99_ms"] == pytest.approx(200)
    assert found["most_ms"] == pytest.approx(300)
    assert (found["sent"], found["failed"]) == (303, 3)


def test_a_round_without_any_answer_has_no_percentiles_and_is_still_told():
    found = figures([sample(1), sample(lost=4)])
    assert "p99_ms" not in found
    assert found["failed"] == 4
    assert "4.0" in table([{"mode": "reverse", "kind": "json", "rival": "x", "contender": "x", **found}])
