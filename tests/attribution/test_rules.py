"""The rules' form: sources from names, versions, user rules first."""

from __future__ import annotations

import re

from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.rules import Rule, RuleSet
from claudeproxy.model import SourceType


def rule(name: str = "{who}", source: SourceType = SourceType.AGENT) -> Rule:
    return Rule(
        id="user.banner",
        pattern=re.compile(r"BANNER (?P<who>[\w:]+)?"),
        type=source,
        name=name,
        kind="notice",
        example="BANNER x",
        counter_example="x",
    )


def match(row: Rule, text: str) -> re.Match[str]:
    found = row.pattern.match(text)
    assert found is not None
    return found


def test_a_name_is_made_of_the_patterns_groups():
    """And what a plugin brought carries the plugin."""
    source = rule().source(match(rule(), "BANNER box:planner"))
    assert (source.name, source.plugin) == ("box:planner", "box")


def test_a_name_that_comes_out_empty_is_the_types():
    """A source has a name whatever the text says."""
    assert rule(source=SourceType.HOOK).source(match(rule(), "BANNER ")).name == "Hook"


def test_a_users_rule_is_tried_first_and_changes_the_version():
    """Changed rules mean that what was derived must be derived again."""
    extended = DEFAULT.extended(rule())
    found = extended.match("BANNER x")
    assert found is not None
    assert found[0].id == "user.banner"
    assert DEFAULT.match("BANNER x") is None
    assert extended.version != DEFAULT.version


def test_the_version_depends_on_the_rules_alone():
    """The same rules have the same version in every process; an example's wording is no part of it."""
    assert RuleSet(DEFAULT.rules).version == DEFAULT.version


def test_glued_matching_tries_only_what_is_glued():
    """Layout A glues some items to tool results, never an environment."""
    environment = next(row for row in DEFAULT if row.id == "environment").example
    assert DEFAULT.match(environment) is not None
    assert DEFAULT.match(environment, glued=True) is None
