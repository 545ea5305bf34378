from __future__ import annotations

import json
from pathlib import Path

import pytest

from claudeproxy_cli.client_settings import Shadow, find_shadows, settings_files


def _write(path: Path, env: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"env": env}))
    return path


def test_the_users_file_is_found_and_may_be_elsewhere(tmp_path: Path) -> None:
    assert settings_files(tmp_path, {"HOME": "/home/me"})[0] == Path("/home/me/.claude/settings.json")
    assert settings_files(tmp_path, {"CLAUDE_CONFIG_DIR": "/cfg"})[0] == Path("/cfg/settings.json")


def test_a_routing_variable_with_another_value_shadows_ours(tmp_path: Path) -> None:
    user = _write(tmp_path / "cfg" / "settings.json", {"HTTPS_PROXY": "http://other:1", "EDITOR": "vi"})
    environment = {"CLAUDE_CONFIG_DIR": str(tmp_path / "cfg"), "HTTPS_PROXY": "http://127.0.0.1:8443"}
    (shadow,) = find_shadows(tmp_path, environment)
    assert shadow == Shadow(path=user, name="HTTPS_PROXY", value="http://other:1")
    assert "other:1" not in str(shadow)
    assert find_shadows(tmp_path, {**environment, "HTTPS_PROXY": "http://other:1"}) == []


@pytest.mark.parametrize("name", ["settings.json", "settings.local.json"])
def test_project_files_count_from_below_too(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / "project" / ".claude" / name, {"ANTHROPIC_BASE_URL": "https://x"})
    below = tmp_path / "project" / "a" / "b"
    below.mkdir(parents=True)
    assert [shadow.path for shadow in find_shadows(below, {"HOME": str(tmp_path)})] == [path]


@pytest.mark.parametrize("text", ["", "[]", '{"env": []}', "{", '{"env": null}'])
def test_a_file_that_the_client_cannot_use_shadows_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    assert find_shadows(tmp_path, {"CLAUDE_CONFIG_DIR": str(tmp_path)}) == []
