from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.model import BodyKept, RecordedBody
from claudeproxy_cli.attribution_checks import rules, unclassified
from claudeproxy_cli.findings import Context
from tests.cli.support import altered, fill

if TYPE_CHECKING:
    from pathlib import Path

IDENTITY = "You are Claude Code, Anthropic's official CLI for Claude."
HEADERS = ((b"user-agent", b"claude-cli/99.0.0 (external, cli)"),)


@pytest.fixture
def context(home: Path) -> Context:
    return Context(config=ClaudeProxyConfig.isolated(home=home), config_file=None, environment={}, directory=home)


def conversation(reminder: str) -> RecordedBody:
    """A request of a version that nobody has seen yet, with something new in it."""
    body = json.dumps(
        {
            "system": [{"type": "text", "text": IDENTITY}],
            "tools": [{"name": "Read"}],
            "messages": [{"role": "user", "content": "hello"}, {"role": "system", "content": reminder}],
        }
    ).encode()
    return RecordedBody(kept=BodyKept.WHOLE, data=body, length=len(body))


def test_without_rules_and_captures_all_is_well(context: Context) -> None:
    assert (rules(context).status, unclassified(context).status) == ("ok", "ok")
    assert rules(context).detail.endswith("built in")
    assert unclassified(context).detail == "no explained captures yet"


def test_ones_own_rules_are_counted(context: Context) -> None:
    context.home.path.mkdir()
    context.home.rules_file.write_text(
        "[{id: x, starts_with: 'abc', source: User, example: abcd, counter_example: b}]", encoding="utf-8"
    )
    assert rules(context).detail.startswith("1 of yours, ")


def test_rules_that_are_not_used_fail_with_the_reason(context: Context) -> None:
    context.home.path.mkdir()
    context.home.rules_file.write_text("rules: [{id: x, zzz: 1}, {id: y}]")
    found = rules(context)
    assert found.status == "fail"
    assert found.detail.startswith(f"{context.home.rules_file}: rule x: unknown field `zzz`")
    assert found.detail.endswith("(and 1 more)")
    assert "claudeproxy rules test" in str(found.remedy)


def test_what_every_rule_knows_is_no_share(home: Path, context: Context) -> None:
    known = conversation("Today's date is 2026-11-22.")
    fill(home, [altered(0, request_body=known, headers=HEADERS)])
    found = unclassified(context)
    assert (found.status, "claude-cli 99.0.0: 0.0%" in found.detail) == ("ok", True)


def test_a_growing_share_warns_and_says_how_to_find_it(home: Path, context: Context) -> None:
    new = conversation("A reminder of a kind that no rule has ever heard of. " * 20)
    fill(home, [altered(0, request_body=new, headers=HEADERS)])
    found = unclassified(context)
    assert found.status == "warn"
    assert "claude-cli 99.0.0: 9" in found.detail
    assert "claudeproxy query --source 'Framework: unclassified'" in str(found.remedy)
