from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.testing.conversations import demo_conversation
from tests.cli.support import cli, on_terminal

if TYPE_CHECKING:
    from pathlib import Path


def test_it_shows_what_query_and_show_show(tmp_path: Path) -> None:
    code, text = on_terminal("demo", env={"NO_COLOR": "1", "TMPDIR": str(tmp_path)})
    assert code == 0, text
    assert "$ claudeproxy query\ntime" in text
    assert "where the context came from" in text
    assert {"MCP: atlas", "MCP: issue_tracker", "Skill: press-labels"} <= {
        line.split("  ")[0] for line in text.splitlines()
    }
    assert "unclassified" not in text  # its client is invented, but what it says of itself is known
    assert max(map(len, text.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []  # and leaves nothing behind


def test_it_is_for_people_whatever_it_is_piped_to() -> None:
    text = cli("demo").stdout
    assert "time      id" in text
    assert "where the context came from" in text
    assert text.splitlines()[-1] == "now your own:  claudeproxy run -- claude"


def test_what_is_kept_can_be_looked_at(home: Path) -> None:
    result = cli("demo", "--home", home)
    assert result.returncode == 0, result.stderr
    assert f"claudeproxy query --home {home}" in result.stdout
    rows = json.loads(cli("query", "--home", home, "--json", "--limit", "100").stdout)
    assert len(rows) == len(demo_conversation())
    assert {row["state"] for row in rows} == {"complete"}
    assert {row["status_code"] for row in rows} == {200}
    body = cli("show", rows[-1]["id"], "--home", home, "--body").stdout
    assert body.encode() == demo_conversation()[0].body


def test_it_takes_a_configuration(home: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("log_level: loud")
    result = cli("demo", "--home", home, "--config", tmp_path / "c.yaml")
    assert result.returncode == 2
    assert "log_level" in result.stderr
