"""Figures: marks are round numbers, a logarithmic axis is one, what has no place is left out."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from plot import Line, Panel, decades, figure, short, ticks


@pytest.mark.parametrize(
    ("top", "expected"), [(0, [0, 1]), (7, [0, 1, 2, 3, 4, 5, 6, 7]), (90, [0, 20, 40, 60, 80, 100])]
)
def test_marks_of_a_linear_axis_are_round_and_reach_the_top(top: float, expected: list[float]):
    assert ticks(top) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(1, 1000, [1, 10, 100, 1000]), (0.3, 20, [0.1, 1, 10, 100]), (5, 5, [1, 10]), (10, 10, [10, 100])],
)
def test_marks_of_a_logarithmic_axis_are_powers_of_ten_around_the_values(
    low: float, high: float, expected: list[float]
):
    assert decades(low, high) == pytest.approx(expected)


def test_large_numbers_are_said_shortly():
    assert [short(value) for value in (0.1, 1, 20_000, 1_500_000)] == ["0.1", "1", "20k", "1.5M"]


def places(text: str) -> list[tuple[float, float]]:
    """Where the dots of a figure are."""
    found = ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}circle")
    return [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in found]


def drawn(points: list[tuple[float, float] | None], logarithmic: str = "") -> str:
    panel = Panel(title="a & b", x="n", y="ms", lines=[Line(name="one", points=points)], logarithmic=logarithmic)
    return figure("title", [panel])


def test_equal_factors_are_equal_distances_on_logarithmic_axes():
    (x1, y1), (x2, y2), (x3, y3) = places(drawn([(1, 1), (10, 10), (100, 100)], "xy"))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)


def test_equal_differences_are_equal_distances_on_linear_axes():
    (x1, y1), (x2, y2), (x3, y3) = places(drawn([(0, 0), (10, 10), (20, 20)]))
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.2)


def test_what_is_not_above_zero_breaks_a_line_on_a_logarithmic_axis():
    text = drawn([(1, 5), (10, -1), (100, 5), None, (1000, 5)], "xy")
    assert len(places(text)) == 3
    assert max(path.count("M") for path in re.findall(r'd="([^"]*)"', text)) == 3


def test_a_panel_without_points_can_be_drawn():
    assert places(drawn([], "xy")) == places(drawn([])) == []
