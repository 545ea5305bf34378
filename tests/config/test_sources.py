from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.config.sources import environment_keys, nearest, read_file
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = ("bind_address", "upstream", "upstream_ca", "ca_cert_path", "home")


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode("latin-1"))
    return path


@pytest.mark.parametrize(
    "text",
    [
        "bind_address: 1\nupstream: x",
        "claude_proxy: {bind_address: 1, upstream: x}",
        "bind_address: 1\nclaude_proxy:\n  upstream: x",
    ],
)
def test_keys_may_stand_at_the_top_or_in_their_section(tmp_path: Path, text: str) -> None:
    assert read_file(_file(tmp_path, text), KNOWN) == {"bind_address": 1, "upstream": "x"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "claude_proxy:\n"])
def test_a_file_of_comments_sets_nothing(tmp_path: Path, text: str) -> None:
    assert read_file(_file(tmp_path, text), KNOWN) == {}


def test_null_for_a_derived_path_means_its_default(tmp_path: Path) -> None:
    assert read_file(_file(tmp_path, "ca_cert_path: null\nupstream: null"), KNOWN) == {"upstream": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bind_adress: 1", "unknown key 'bind_adress': did you mean bind_address"),
        ("claude_proxy: {zzz: 1}", "unknown key 'zzz': `claudeproxy config show`"),
        ("upstream: x\nclaude_proxy: {upstream: y}", "both"),
        ("home: /x", "--home or CLAUDEPROXY_HOME"),
        ("- a", "write keys and values"),
        ("1: a", "write keys and values"),
        ("claude_proxy: x", "write keys and values"),
        ("a: b: c", r"c\.yaml, line 1: mapping values"),
        ("a: \xff", "c.yaml"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_is_wrong_with_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_file(_file(tmp_path, text), KNOWN)


def test_yaml_tags_make_no_objects(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_file(_file(tmp_path, "upstream: !!python/object/apply:os.getcwd []"), KNOWN)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_file(tmp_path, KNOWN)


def test_variables_name_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROXY_UPSTREAM_CA", "x")
    monkeypatch.setenv("CLAUDEPROXY_CONFIG", "x")
    monkeypatch.setenv("CLAUDEPROXY_NOTHING", "")
    assert environment_keys(KNOWN) == {"upstream_ca": "CLAUDEPROXY_UPSTREAM_CA"}


def test_a_variable_that_names_no_key_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROXY_UPSTRAEM", "x")
    with pytest.raises(ConfigError, match="CLAUDEPROXY_UPSTRAEM: did you mean CLAUDEPROXY_UPSTREAM"):
        environment_keys(KNOWN)


@pytest.mark.parametrize("name", ["SERVICE_HOST", "SERVICE_PORT_API", "PORT", "PORT_8443_TCP_ADDR"])
def test_kubernetes_service_variables_are_not_ours(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"CLAUDEPROXY_{name}", "tcp://10.0.0.1:8443")
    assert environment_keys(KNOWN) == {}


def test_nearest_names_what_was_probably_meant() -> None:
    assert nearest("upstrem", KNOWN) == ": did you mean upstream?"
    assert nearest("qqq", KNOWN) == ": `claudeproxy config show` lists the known ones"
