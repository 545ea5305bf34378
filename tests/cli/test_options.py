from __future__ import annotations

from pathlib import Path

import pytest
import typer

from claudeproxy.config import find_home
from claudeproxy.config.home import Home
from claudeproxy.errors import ConfigError
from claudeproxy_cli.options import Format, home_flag, load_config, output_format, reader_home


def test_people_get_tables_and_pipes_get_lines() -> None:
    assert output_format(as_json=False, jsonl=False, csv=False, terminal=True) is Format.TABLE
    assert output_format(as_json=False, jsonl=False, csv=False, terminal=False) is Format.LINES
    assert output_format(as_json=False, jsonl=True, csv=False, terminal=True) is Format.JSONL


def test_two_formats_are_a_usage_error() -> None:
    with pytest.raises(typer.BadParameter, match="one of --json, --jsonl and --csv"):
        output_format(as_json=True, jsonl=False, csv=True, terminal=True)


def test_reading_needs_no_configuration_file_but_a_named_one_must_be_there(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    (home / "config.yaml").write_text("nonsense: [")
    assert reader_home(home, None) == Home(path=home)
    with pytest.raises(ConfigError, match="no such file"):
        reader_home(home, tmp_path / "missing.yaml")


def test_suggested_commands_name_the_home_only_when_it_is_not_the_default(home: Path) -> None:
    assert home_flag(find_home()) == ""
    assert home_flag(Home(path=home)) == f" --home {home}"
    assert home_flag(Home(path=Path("/a b"))) == " --home '/a b'"


def test_flags_reach_the_configuration(home: Path) -> None:
    assert load_config(home, None, bind_address="9999", upstream=None).bind_address == "127.0.0.1:9999"
