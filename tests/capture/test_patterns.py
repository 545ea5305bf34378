from __future__ import annotations

import pytest

from claudeproxy.capture.patterns import FIELDS, MAX_LENGTH, SecretRuleError, rule_of

GOOD: dict[str, object] = {
    "id": "acme-token",
    "starts_with": "acme_",
    "matches": "[a-z0-9]{20,40}",
    "example": "acme_" + "a" * 20,
    "counter_example": "acme_short",
}


def test_a_rule_reads_its_fields() -> None:
    rule = rule_of({**GOOD, "note": "our own"})
    assert (rule.id, rule.markers, rule.note) == ("acme-token", (b"acme_",), "our own")
    assert rule.most == 40 + 5 + 1
    assert rule.find(b"x acme_" + b"b" * 30, 2, b"acme_") == (2, 37)
    assert rule.find(b"acme_b", 0, b"acme_") is None
    assert rule_of({**GOOD, "starts_with": ["acme_", "ACME_"]}).markers == (b"acme_", b"ACME_")


def test_a_group_says_which_part_is_the_secret() -> None:
    rule = rule_of({**GOOD, "matches": "id: (?P<secret>[a-z]{20})"})
    assert rule.find(b"acme_id: " + b"b" * 20, 0, b"acme_") == (9, 29)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"id": ""}, "`id` is missing"),
        ({"id": "a b"}, "is no name"),
        ({"example": None}, "`example` is missing: text in which"),
        ({"mathces": "x"}, "unknown field `mathces`: did you mean `matches`"),
        ({"zzz": 1}, f"one of {', '.join(FIELDS)}"),
        ({"starts_with": "ab"}, "3 ASCII characters or more"),
        ({"starts_with": "äöü"}, "3 ASCII characters or more"),
        ({"starts_with": 12345}, "must be text"),
        ({"matches": "[a-z"}, "not a regular expression"),
        ({"matches": "[a-z]+"}, f"more than {MAX_LENGTH} bytes: write repetitions with an end"),
        ({"matches": "[a-z]{0,10}"}, "matches nothing at all"),
        ({"matches": 5}, "`matches` must be text"),
    ],
)
def test_what_cannot_be_used_is_told_with_the_remedy(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SecretRuleError) as caught:
        rule_of({**GOOD, **changes})
    assert said in str(caught.value)


def test_what_is_no_mapping_is_no_rule() -> None:
    with pytest.raises(SecretRuleError, match="a rule is a mapping"):
        rule_of("acme_")


def test_an_expression_that_runs_away_is_refused() -> None:
    with pytest.raises(SecretRuleError, match="repeats a repetition"):
        rule_of(GOOD, runs_away=lambda pattern: pattern.pattern == GOOD["matches"])
