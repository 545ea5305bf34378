"""Every rule of the default table, against its own example and counter-example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution.containers import DIVIDERS
from claudeproxy.attribution.rulebook import DEFAULT

if TYPE_CHECKING:
    from claudeproxy.attribution.rules import Rule

RULES = [pytest.param(rule, id=rule.id) for rule in DEFAULT]


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_the_first_to_match_its_example(rule: Rule):
    """No earlier row takes the example away."""
    found = DEFAULT.match(rule.example)
    assert found is not None
    first, match = found
    if rule.id == "agents.listing-open":  # the fallback for a listing whose entries the strict rule does not know
        assert rule.pattern.match(rule.example)
        return
    assert first is rule
    assert rule.source(match).name


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_leaves_its_counter_example_alone(rule: Rule):
    """What only looks like the marker is not the item."""
    assert rule.pattern.match(rule.counter_example) is None


@pytest.mark.parametrize("rule", [param for param in RULES if param.values[0].closed])
def test_a_closed_rule_matches_its_example_to_the_end(rule: Rule):
    """A closed item is known whole."""
    match = rule.pattern.match(rule.example)
    assert match is not None
    assert match.end() == len(rule.example)


def test_ids_are_unique_and_dividers_exist():
    """A row can be named, and its divider found."""
    assert len({rule.id for rule in DEFAULT}) == len(DEFAULT.rules)
    assert {rule.divide for rule in DEFAULT} - {None} <= set(DIVIDERS)


def test_layouts_are_known():
    """Rows say for which layouts they serve."""
    assert all(rule.layouts and set(rule.layouts) <= set("ABC") for rule in DEFAULT)
