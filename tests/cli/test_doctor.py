from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy_cli.doctor import as_text, run_checks
from claudeproxy_cli.findings import Check, Context, Status
from tests.cli.support import cli, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

FREE = {"CLAUDEPROXY_BIND_ADDRESS": "127.0.0.1:0", "CLAUDEPROXY_API_ADDRESS": "127.0.0.1:0"}
NAMES = ["configuration", "versions", "permissions", "descriptors", "authority", "trust", "ports", "handshake", "clock"]
NAMES += ["disk", "database", "capture", "record", "rules", "unclassified", "settings", "bypass"]


def test_a_fresh_machine_passes_every_check_and_the_handshake_is_real(home: Path) -> None:
    result = cli("doctor", "--home", home, "--json", env=FREE)
    found = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(found) == NAMES
    assert [row for row in found.values() if row["status"] == "fail"] == []
    assert result.returncode == 0
    assert "TLSv1.3 as api.anthropic.com, certificate verified against our CA" in found["handshake"]["detail"]
    assert not home.exists()  # it looks, and changes nothing


def test_what_fails_is_code_1_and_a_broken_configuration_does_not_stop_the_rest(home: Path) -> None:
    home.mkdir(mode=0o755)
    (home / "config.yaml").write_text("bind_adress: x")
    code, text = on_terminal("doctor", "--home", home, env={"NO_COLOR": "1"})
    assert code == 1
    assert "fail  configuration" in text
    assert "did you mean bind_address" in " ".join(text.split())
    assert "fail  permissions" in text
    assert "-> chmod go=" in text
    assert "bypass" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_check_that_cannot_be_made_is_a_finding(home: Path) -> None:
    fill(home, [])
    (home / "captures.db").write_bytes(b"no database at all" * 100)
    (home / "ca.key").write_text("no key")
    context = Context(config=ClaudeProxyConfig.isolated(home=home), config_file=None, environment={}, directory=home)
    found = {check.name: check for check in run_checks(context)}
    assert found["database"].status == "fail"
    assert found["authority"].status == "fail"
    assert found["handshake"].status == "fail"


@pytest.mark.parametrize(("status", "code"), [(Status.OK, 32), (Status.WARN, 33), (Status.FAIL, 31)])
def test_colour_tells_the_status_and_nothing_else(status: Status, code: int) -> None:
    check = Check(name="x", status=status, detail="de\x1b[0mtail", remedy="cure")
    colored = as_text(check, color=True, width=80)
    assert colored.startswith(f"\x1b[{code}m{status}")
    assert colored.count("\x1b") == 2
    assert "\x1b" not in as_text(check, color=False, width=80)


def test_long_findings_are_wrapped_and_remedies_are_shown_where_they_are_needed() -> None:
    text = as_text(Check(name="x", status=Status.WARN, detail="word " * 40, remedy="cure " * 30), color=False, width=60)
    assert max(map(len, text.splitlines())) <= 60
    assert "-> cure" in text
    assert "->" not in as_text(Check(name="x", status=Status.OK, detail="d", remedy="cure"), color=False, width=60)
