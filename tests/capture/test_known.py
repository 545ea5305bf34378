from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from claudeproxy.capture.finder import SecretFinder, check
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.patterns import FIELDS, rule_of

if TYPE_CHECKING:
    from claudeproxy.capture.patterns import SecretRule


def test_every_built_in_rule_finds_its_example_and_leaves_its_counter_example() -> None:
    assert check(KNOWN) == {}


@pytest.mark.parametrize("rule", KNOWN, ids=lambda rule: rule.id)
def test_every_marker_of_a_rule_is_looked_for(rule: SecretRule) -> None:
    finder = SecretFinder(KNOWN, key=bytes(16))
    for marker in rule.markers:
        example = rule.example.replace(rule.markers[0].decode(), marker.decode())
        assert [one.rule for one in finder.scan(example.encode())] == [rule.id]


@pytest.mark.parametrize("rule", KNOWN, ids=lambda rule: rule.id)
def test_no_rule_reaches_farther_than_it_says(rule: SecretRule) -> None:
    """`most` is the hold-back: an example with its longest form must still fit."""
    (found,) = SecretFinder([rule], key=bytes(16)).scan(rule.example.encode())
    assert found.length <= rule.most
    assert rule.note


def test_the_page_about_secrets_names_every_kind_and_field() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/secrets.md").read_text(encoding="utf-8")
    for rule in KNOWN:
        markers = ", ".join(f"`{marker.decode()}`" for marker in rule.markers)
        assert f"| `{rule.id}` | {markers} | {rule.note} |" in page
    assert page.count("\n| `") == len(KNOWN) + len(FIELDS) + 3  # the modes
    for field, meaning in FIELDS.items():
        assert f"| `{field}` | {meaning} |" in page


def test_the_rule_on_the_page_holds() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/reference/secrets.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if one.startswith("rules:")]
    assert check([rule_of(row) for row in yaml.safe_load(block)["rules"]]) == {}
