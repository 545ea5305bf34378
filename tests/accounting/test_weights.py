"""Token weights: learned from sums of groups towards a shipped prior."""

from __future__ import annotations

import json
import random

import pytest

from claudeproxy.accounting.features import FEATURES, NUMBER, STRUCTURE
from claudeproxy.accounting.weights import STAGES, TokenWeights, prior

FIRST_CLASS = len(STRUCTURE)


def groups(number: int, seed: int = 7) -> list[list[int]]:
    chance = random.Random(seed)
    return [
        [chance.choice([0, 0, 1, 2]) for _ in STRUCTURE] + [chance.randrange(200) for _ in range(NUMBER - FIRST_CLASS)]
        for _ in range(number)
    ]


def bill(counts: list[int], truth: list[float]) -> int:
    return round(sum(c * w for c, w in zip(counts, truth, strict=True)))


def test_before_any_bill_the_weights_are_the_shipped_ones():
    assert TokenWeights("old").values == prior("old")
    assert len(prior("new")) == len(FEATURES)
    assert sum(prior("new")[FIRST_CLASS:]) > sum(prior("old")[FIRST_CLASS:])


def test_bills_teach_a_tokenizer_that_is_not_the_prior():
    chance = random.Random(3)
    truth = [w * chance.uniform(0.7, 1.3) for w in prior("old")]
    weights = TokenWeights("old")
    lessons, exam = groups(120)[:100], groups(120)[100:]
    for counts in lessons:
        weights.learn(counts, bill(counts, truth), 0.0)
    for counts in exam:
        assert weights.size(counts) == pytest.approx(bill(counts, truth), rel=0.01)
    assert weights.error < 0.05


def test_the_first_bill_puts_a_wrong_family_right():
    """A model of no known name starts as "new"; one bill of an old tokenizer is enough to see that."""
    weights = TokenWeights("new")
    first, second = groups(2)
    weights.learn(first, bill(first, list(prior("old"))), 0.0)
    assert weights.size(second) == pytest.approx(bill(second, list(prior("old"))), rel=0.03)
    assert weights.family == "old"


def test_a_gross_mismatch_teaches_nothing():
    weights = TokenWeights("old")
    for counts in groups(5):
        weights.learn(counts, bill(counts, list(prior("old"))), 0.0)
    before = weights.values
    counts = groups(1, seed=9)[0]
    assert not weights.learn(counts, 10 * bill(counts, list(prior("old"))), 0.0)
    assert not weights.learn(counts, -4, 0.0)
    assert weights.values == before
    assert weights.mismatches == 2


def test_weights_never_fall_below_zero():
    weights = TokenWeights("old")
    for counts in groups(30):
        weights.learn(counts, max(1, round(0.8 * sum(counts[FIRST_CLASS : FIRST_CLASS + 3]))), 0.0)
    assert min(weights.values) >= 0


def test_the_error_falls_with_lessons_and_rises_with_surprises():
    weights = TokenWeights("old")
    cold = weights.error
    for counts in groups(60):
        weights.learn(counts, bill(counts, list(prior("old"))), 0.0)
    warm = weights.error
    assert warm < cold / 3
    counts = groups(1, seed=11)[0]
    weights.learn(counts, round(1.3 * bill(counts, list(prior("old")))), 0.0)
    assert weights.error > warm


def test_what_was_learned_survives_as_plain_values():
    weights = TokenWeights("new")
    for counts in groups(20):
        weights.learn(counts, bill(counts, list(prior("old"))), 4.0)
    again = TokenWeights.from_state(json.loads(json.dumps(weights.to_state())))
    assert again.values == pytest.approx(weights.values)
    assert (again.family, again.equations, again.error) == (weights.family, weights.equations, weights.error)
    assert again.stage == weights.stage == 1


def test_state_with_other_features_is_refused():
    state = TokenWeights("old").to_state() | {"features": ["letters"]}
    with pytest.raises(ValueError, match="rebuild"):
        TokenWeights.from_state(state)


def test_stages_follow_the_number_of_lessons():
    weights = TokenWeights("old")
    stages = set()
    for counts in groups(STAGES[-1] + 1):
        weights.learn(counts, bill(counts, list(prior("old"))), 0.0)
        stages.add(weights.stage)
    assert stages == {0, 1, 2}
