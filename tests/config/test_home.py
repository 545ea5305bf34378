from __future__ import annotations

import os
from pathlib import Path

import pytest

from claudeproxy.config.home import Home, find_home
from claudeproxy.errors import ConfigError


def test_home_is_in_the_users_directory_unless_told_otherwise(tmp_path: Path) -> None:
    assert find_home(None, {}).path == Path.home() / ".claude-proxy"
    assert find_home(None, {"CLAUDEPROXY_HOME": str(tmp_path)}).path == tmp_path
    assert find_home(tmp_path / "flag", {"CLAUDEPROXY_HOME": str(tmp_path)}).path == tmp_path / "flag"


def test_an_empty_variable_counts_as_unset() -> None:
    assert find_home(None, {"CLAUDEPROXY_HOME": ""}).path == Path.home() / ".claude-proxy"


def test_home_is_absolute_and_knows_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_home(Path("here"), {}).path == tmp_path / "here"
    assert find_home(Path("~/there"), {}).path == Path.home() / "there"


def test_a_home_that_nobody_can_tell_is_an_error_with_a_remedy() -> None:
    """As in a container whose user has no entry and no HOME."""
    with pytest.raises(ConfigError, match="set HOME, or give --home or CLAUDEPROXY_HOME"):
        find_home(Path("~no-such-user/there"), {})


def test_everything_lies_in_the_home(tmp_path: Path) -> None:
    home = Home(path=tmp_path)
    names = {
        path.name
        for path in (
            home.config_file,
            home.database,
            home.journal,
            home.ca_cert,
            home.ca_key,
            home.secret,
            home.bundle,
            home.state_file,
            home.log_file,
        )
        if path.parent == tmp_path
    }
    assert names == {
        "config.yaml",
        "captures.db",
        "journal",
        "ca.crt",
        "ca.key",
        "secret",
        "ca-bundle.pem",
        "serve.json",
        "run.log",
    }


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_home_is_made_closed_and_an_open_one_is_closed(tmp_path: Path) -> None:
    home = Home(path=tmp_path / "new" / "home")
    home.create()
    assert home.path.stat().st_mode & 0o777 == 0o700
    home.path.chmod(0o755)
    home.create()
    assert home.path.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_made_is_a_configuration_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot use .*file/home as home: .* --home"):
        Home(path=tmp_path / "file" / "home").create()
