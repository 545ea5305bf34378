from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy_cli.ca import delete_bundles
from claudeproxy_cli.main import main
from claudeproxy_cli.trust import LinuxStore, install_plan, uninstall_plan
from tests.cli.support import cli, on_terminal

if TYPE_CHECKING:
    from pathlib import Path


def test_the_path_is_printed_and_the_certificate_made(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", "path", "--home", str(home)]) == 0
    assert capsys.readouterr().out == f"{home}/ca.crt\n"
    first = (home / "ca.crt").read_bytes()
    main(["ca", "path", "--home", str(home)])
    assert (home / "ca.crt").read_bytes() == first
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "ca.key").stat().st_mode & 0o777 == 0o600


def test_its_facts_are_shown_for_people_and_programs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ca", "show", "--home", str(home)]) == 0
    text = capsys.readouterr().out
    assert main(["ca", "show", "--home", str(home), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["path"] == f"{home}/ca.crt"
    assert "anthropic.com" in facts["covers"]
    assert 360 < facts["days_left"] <= 366
    assert facts["system_trusts_it"] is False
    assert facts["sha256"] in text
    assert "anthropic.com, claude.ai, claude.com" in text
    assert len(facts["sha256"]) == 32 * 3 - 1


def test_configured_names_and_places_are_honoured(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / "config.yaml").write_text(f"intercept_hosts: [gateway.example]\nca_cert_path: {tmp_path}/pub/my.crt\n")
    assert main(["ca", "show", "--home", str(home), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "gateway.example" in facts["covers"]
    assert facts["path"] == f"{tmp_path}/pub/my.crt"


def test_rotation_asks_first(home: Path) -> None:
    main(["ca", "path", "--home", str(home)])
    before = (home / "ca.crt").read_bytes()
    refused = cli("ca", "rotate", "--home", home, input="n\n")
    assert refused.returncode == 1
    assert "refuse the new one" in refused.stdout
    assert (home / "ca.crt").read_bytes() == before


def test_rotation_makes_another_certificate(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["ca", "path", "--home", str(home)])
    before = x509.load_pem_x509_certificate((home / "ca.crt").read_bytes())
    assert main(["ca", "rotate", "--yes", "--home", str(home)]) == 0
    assert x509.load_pem_x509_certificate((home / "ca.crt").read_bytes()) != before
    assert "ca install" in capsys.readouterr().out


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_dry_run_prints_the_commands_and_runs_none(home: Path, verb: str) -> None:
    result = cli("ca", verb, "--dry-run", "--home", home)
    if result.returncode:  # a system whose store we do not know
        assert "by hand" in result.stderr
        return
    assert result.stderr.startswith("store: ")
    assert result.stdout.startswith("  ")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="asks what happens without root")
def test_without_root_the_sudo_lines_are_said(home: Path) -> None:
    result = cli("ca", "install", "--home", home)
    assert result.returncode == 1
    assert "  sudo " in result.stdout or "by hand" in result.stderr


def test_a_system_that_is_not_known_gets_a_way_without_installation(home: Path, tmp_path: Path) -> None:
    """A command whose tools fail says which one, and exits with 1."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("install", "rm", "update-ca-certificates", "update-ca-trust"):
        (tools / name).write_text("#!/bin/sh\nexit 3\n")
        (tools / name).chmod(0o755)
    result = cli("ca", "install", "--home", home, env={"PATH": str(tools)})
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        ("claudeproxy: `install", "claudeproxy: this system", "this needs root")
    )


def test_facts_on_a_terminal_are_plain_lines(home: Path) -> None:
    code, text = on_terminal("ca", "show", "--home", home)
    assert code == 0
    assert "\x1b" not in text


def test_nothing_of_the_old_authority_stays_after_a_rotation(home: Path) -> None:
    """Neither its key nor its certificate is in any file of the home, and no draft of the new ones is left."""
    assert main(["ca", "path", "--home", str(home)]) == 0
    for name in ("ca-bundle.pem", "ca-bundle-0123456789ab.pem"):
        (home / name).write_bytes((home / "ca.crt").read_bytes())
    old = [
        part for name in ("ca.key", "ca.crt") for part in (home / name).read_bytes().split(b"-----") if len(part) > 90
    ]
    assert len(old) == 4  # a key, an intermediate, and the root twice
    assert main(["ca", "rotate", "--yes", "--home", str(home)]) == 0
    assert sorted(path.name for path in home.iterdir()) == ["ca.crt", "ca.key"]
    assert not [path for path in home.iterdir() for part in old if part in path.read_bytes()]
    assert (home / "ca.key").stat().st_mode & 0o777 == 0o600


def test_uninstalling_leaves_nothing_in_the_store_and_no_bundle(home: Path, tmp_path: Path) -> None:
    """The plan's own commands, with a store in a directory of ours in place of the system's."""
    assert main(["ca", "path", "--home", str(home)]) == 0
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    store = LinuxStore(name="test", anchors=str(anchors), refresh=("true",))
    for plan in (
        install_plan(home / "ca.crt", platform="linux", store=store),
        uninstall_plan(home / "ca.crt", sha1="00", platform="linux", store=store),
    ):
        assert plan is not None
        for command in plan.commands:
            subprocess.run(command, check=True)
        if plan.commands[0][0] == "install":
            assert [path.read_bytes() for path in anchors.iterdir()] == [(home / "ca.crt").read_bytes()]
    assert list(anchors.iterdir()) == []
    (home / "ca-bundle.pem").write_bytes((home / "ca.crt").read_bytes())
    delete_bundles(ClaudeProxyConfig.isolated(home=home))
    assert sorted(path.name for path in home.iterdir()) == ["ca.crt", "ca.key"]
