from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy_cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def configured(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    home.mkdir()
    (home / "config.yaml").write_text("idle_timeout: 5\nupstream_proxy: http://me:dummypass@corp.example:3128\n")
    monkeypatch.setenv("CLAUDEPROXY_API_TOKEN", "a-dummy-token-of-mine")
    monkeypatch.setenv("CLAUDEPROXY_UPSTREAM_ADDRESSES", "api.x=10.0.0.1")
    return str(home)


def test_every_key_is_shown_with_where_it_came_from(configured: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--home", configured]) == 0
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()}
    assert list(rows) == list(ClaudeProxyConfig.model_fields)
    assert rows["idle_timeout"] == ["5.0", f"file {configured}/config.yaml"]
    assert rows["home"] == [configured, "flag"]
    assert rows["enabled"] == ["true", "default"]
    assert rows["max_body_bytes"] == ["64MiB", "default"]
    assert rows["upstream"] == ["(none)", "default"]
    assert rows["upstream_addresses"] == ["api.x=10.0.0.1", "env CLAUDEPROXY_UPSTREAM_ADDRESSES"]
    assert rows["intercept_hosts"][0] == "anthropic.com, claude.ai, claude.com"


@pytest.mark.parametrize("form", ["--json", "--jsonl", "--csv", "--explain"])
def test_no_form_shows_a_secret(configured: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--home", configured, form]) == 0
    out = capsys.readouterr().out
    assert "dummy" not in out
    assert "http://****@corp.example:3128" in out


def test_json_has_values_in_their_own_types(configured: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "show", "--home", configured, "--json"])
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["max_body_bytes"]["value"] == 64 << 20
    assert rows["upstream_addresses"]["value"] == {"api.x": "10.0.0.1"}
    assert rows["enabled"]["value"] is True
    assert "doubts" in rows["enabled"]["description"]


def test_csv_can_be_read(configured: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "show", "--home", configured, "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[1] == {"key": "enabled", "value": "true", "origin": "default"}


def test_keys_are_explained_on_demand(configured: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "show", "--home", configured, "--explain"])
    out = capsys.readouterr().out
    assert "retention_days: 30  (default)\n    Days that captures are kept; applied once a day." in out
