from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution import DEFAULT
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.cli.support import cli, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

RULES = """
rules:
  - id: gateway
    applies_to: tools
    matches: 'mcp__proxy__(?P<inner>[a-z0-9]+)__.+'
    source: "MCP: {inner}"
    via: proxy
    example: mcp__proxy__context7__get_docs
    counter_example: mcp__context7__get_docs
  - id: team.banner
    starts_with: "Team notice:"
    source: "Hook: banner"
    kind: notice
    layouts: C
    example: "Team notice: be kind"
    counter_example: "A Team notice: be kind"
"""
BODY = {"messages": [{"role": "user", "content": "own-prompt"}], "tools": [{"name": "mcp__proxy__context7__get"}]}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "my-rules.yaml"
    file.write_text(RULES)
    return file


def test_the_list_shows_ones_own_rules_first_and_where_they_stand(home: Path, rules: Path) -> None:
    home.mkdir()
    (home / "rules.yaml").write_text(RULES)
    result = cli("rules", "list", "--home", home, "--json")
    found = json.loads(result.stdout)
    assert result.returncode == 0
    assert [row["id"] for row in found][:3] == ["gateway", "team.banner", DEFAULT.rules[0].id]
    assert len(found) == len(DEFAULT.rules) + 2
    gateway, banner, built_in = found[:3]
    assert (gateway["source"], gateway["via"], gateway["applies_to"]) == ("MCP: {inner}", "proxy", "tools")
    assert (banner["layouts"], banner["kind"], banner["origin"]) == ("C", "notice", str(home / "rules.yaml"))
    assert (built_in["origin"], built_in["applies_to"]) == ("built in", "text")
    assert "Team" in banner["pattern"]


def test_the_list_says_what_is_not_used_and_shows_the_rest(home: Path) -> None:
    home.mkdir()
    (home / "rules.yaml").write_text("rules: [{id: x}]")
    result = cli("rules", "list", "--home", home)
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == len(DEFAULT.rules)
    assert f"not used: {home / 'rules.yaml'}: rule x: `source` is missing" in result.stderr
    code, text = on_terminal("rules", "list", "--home", home)
    assert code == 0
    assert max(map(len, text.splitlines()[1:5])) <= 80


def test_files_of_the_configuration_count_too(home: Path, rules: Path) -> None:
    result = cli("rules", "test", "--home", home, env={"CLAUDEPROXY_RULES_FILES": str(rules)})
    assert result.returncode == 0
    assert [line.split("\t")[:2] for line in result.stdout.splitlines()] == [["ok", "gateway"], ["ok", "team.banner"]]


def test_a_file_whose_rules_hold_passes(rules: Path) -> None:
    result = cli("rules", "test", rules, "--json")
    assert result.returncode == 0
    assert {row["result"] for row in json.loads(result.stdout)} == {"ok"}


def test_a_file_with_a_wrong_rule_fails_with_the_reason_and_the_remedy(rules: Path) -> None:
    rules.write_text(RULES.replace('example: "Team notice: be kind"\n    counter', 'example: "x"\n    counter'))
    result = cli("rules", "test", rules)
    assert result.returncode == 1
    assert result.stdout.startswith("fail\tteam.banner\tthe example does not match: mend one of the two")


def test_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    result = cli("rules", "test", tmp_path / "missing.yaml")
    assert result.returncode == 1
    assert "cannot be read (No such file or directory)" in result.stdout


def test_a_narrow_terminal_shows_the_remedy_whole(tmp_path: Path) -> None:
    code, text = on_terminal("rules", "test", tmp_path / "missing.yaml")
    assert code == 1
    assert "create it, or take it out of rules_files" in text


def test_without_rules_it_says_how_to_write_one(home: Path) -> None:
    result = cli("rules", "test", "--home", home)
    assert (result.returncode, result.stdout) == (0, "")
    assert "docs/howto/write-a-rule.md" in result.stderr


def test_a_body_shows_which_rule_claims_what(rules: Path, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text(json.dumps(BODY))
    result = cli("rules", "test", rules, "--body", body, "--json")
    assert result.returncode == 0
    claims = {claim["json_path"]: claim for claim in json.loads(result.stdout)["claims"]}
    assert claims["$.messages[0].content"]["rule"] == "user.prompt"
    assert claims["$.tools[0].name"]["label"] == "MCP: context7"
    assert claims["$.tools[0].name"]["via"] == "proxy"
    piped = cli("rules", "test", rules, "--body", "-", input=json.dumps(BODY))
    assert "own-prompt" in piped.stdout


def test_a_captured_request_shows_which_rule_claims_what(captured: Path) -> None:
    with CaptureStorage(captured / "captures.db", read_only=True) as storage:
        request = storage.query_requests(RequestFilters(limit=1)).rows[0]
    result = cli("rules", "test", "--request", request.id[:12], "--home", captured, "--json")
    assert result.returncode == 0
    document = json.loads(result.stdout)
    assert document["client"] == request.identity.client
    assert {"User", "Framework"} <= {claim["source_type"] for claim in document["claims"]}


def test_what_cannot_be_shown_says_so(home: Path, captured: Path) -> None:
    assert cli("rules", "test", "--request", "nonsense", "--home", captured).returncode == 1
    missing = cli("rules", "test", "--body", home / "missing.json")
    assert (missing.returncode, "cannot read" in missing.stderr) == (1, True)
    both = cli("rules", "test", "--request", "a", "--body", "b")
    assert (both.returncode, "give one of" in both.stderr) == (2, True)
