from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.config.values import Address
from claudeproxy.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "claude-proxy-config.yaml"


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.load(tmp_path)
    assert (config.enabled, config.capture_enabled, config.capture_other_bodies) == (True, True, False)
    assert (config.bind_address, config.api_address) == ("127.0.0.1:8443", "127.0.0.1:3001")
    assert (config.retention_days, config.max_body_bytes) == (30, 64 << 20)
    assert config.intercept_hosts == ("anthropic.com", "claude.ai", "claude.com")
    assert config.api_hosts == ("api.anthropic.com",)
    assert (config.ca_cert_path, config.ca_key_path) == (tmp_path / "ca.crt", tmp_path / "ca.key")
    assert (config.database_path, config.journal_path) == (tmp_path / "captures.db", tmp_path / "journal")
    assert config.secret_path == tmp_path / "secret"
    assert (config.bind, config.api) == (Address(host="127.0.0.1", port=8443), Address(host="127.0.0.1", port=3001))


def test_every_key_has_a_description() -> None:
    assert [key for key, field in ClaudeProxyConfig.model_fields.items() if not field.description] == []


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("bind_address: 1001\napi_address: 1002\nidle_timeout: 5\nlog_level: debug\n")
    monkeypatch.setenv("CLAUDEPROXY_API_ADDRESS", "localhost:2002")
    monkeypatch.setenv("CLAUDEPROXY_IDLE_TIMEOUT", "6")
    config = ClaudeProxyConfig.load(tmp_path, idle_timeout=7, connect_timeout=None)
    assert (config.bind_address, config.api_address, config.idle_timeout) == ("127.0.0.1:1001", "localhost:2002", 7.0)
    assert config.origin("bind_address") == f"file {tmp_path / 'config.yaml'}"
    assert config.origin("api_address") == "env CLAUDEPROXY_API_ADDRESS"
    assert config.origin("idle_timeout") == "flag"
    assert config.origin("connect_timeout") == "default"
    assert config.origin("home") == "flag"


def test_the_home_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROXY_HOME", str(tmp_path))
    config = ClaudeProxyConfig.load()
    assert (config.home, config.origin("home")) == (tmp_path, "env CLAUDEPROXY_HOME")


def test_a_config_file_can_be_named_by_flag_or_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("retention_days: 3")
    assert ClaudeProxyConfig.load(tmp_path, other).retention_days == 3
    monkeypatch.setenv("CLAUDEPROXY_CONFIG", str(other))
    assert ClaudeProxyConfig.load(tmp_path).retention_days == 3
    with pytest.raises(ConfigError, match=r"cannot read .*missing"):
        ClaudeProxyConfig.load(tmp_path, tmp_path / "missing.yaml")


def test_lists_and_mappings_are_read_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text("intercept_hosts: [Anthropic.com]\nupstream_addresses: {api.x: 10.0.0.1}\n")
    monkeypatch.setenv("CLAUDEPROXY_API_HOSTS", "a.example, b.example")
    monkeypatch.setenv("CLAUDEPROXY_EXCLUDE_PROJECTS", '["/a, b"]')
    config = ClaudeProxyConfig.load(tmp_path)
    assert config.intercept_hosts == ("anthropic.com",)
    assert config.upstream_addresses == {"api.x": "10.0.0.1"}
    assert config.api_hosts == ("a.example", "b.example")
    assert config.exclude_projects == (Path("/a, b"),)
    monkeypatch.setenv("CLAUDEPROXY_UPSTREAM_ADDRESSES", "api.y=::1")
    assert ClaudeProxyConfig.load(tmp_path).upstream_addresses == {"api.y": "::1"}


def test_an_empty_variable_takes_the_setting_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDEPROXY_UPSTREAM", "")
    assert ClaudeProxyConfig.load(tmp_path).upstream is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bind_address": "nowhere"}, r"^bind_address \(flag\): .*127\.0\.0\.1:8443"),
        ({"bind_address": True}, r"^bind_address \(flag\)"),
        ({"retention_days": 0}, r"retention_days \(flag\): .*the default is 30"),
        ({"max_body_bytes": "big"}, r"max_body_bytes \(flag\): .*2GiB"),
        ({"log_level": "loud"}, r"log_level \(flag\): .*'warning'.*the default is info"),
        ({"upstream": "gateway.example"}, r"upstream \(flag\): .*http://HOST:PORT"),
        ({"proxy_auth": "user"}, r"proxy_auth \(flag\): write USER:PASSWORD"),
        ({"intercept_hosts": []}, r"intercept_hosts \(flag\)"),
        ({"prices": [{"models": "m", "output": "dear"}]}, r"prices \(flag\): .*US dollars"),
        ({"alert_session_cost": "much"}, r"alert_session_cost \(flag\): .*US dollars, such as 5"),
        ({"alert_session_cost": 0}, r"alert_session_cost \(flag\): .*US dollars"),
        ({"upstream_addresses": {"a": "b"}}, r"upstream_addresses \(flag\): .*IP address"),
        ({"api_address": "0.0.0.0:3001"}, "api_token"),
        ({"bind_address": "0.0.0.0:8443"}, "reached from other machines.*set proxy_auth"),
        ({"bind_address": "192.0.2.1:8443"}, "have them recorded as yours: set proxy_auth, or listen on 127.0.0.1"),
        ({"secrets": "maybe"}, r"secrets \(flag\): .*'report'.*the default is off"),
        ({"api_address": "127.0.0.1:8443"}, "two ports"),
        ({"bind_adress": "x"}, r"bind_adress \(flag\): unknown key: did you mean bind_address"),
    ],
)
def test_a_value_that_cannot_be_used_names_key_and_remedy(
    tmp_path: Path, flags: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ClaudeProxyConfig.load(tmp_path, **flags)


def test_every_mistake_is_told_at_once_and_none_of_their_consequences(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ClaudeProxyConfig.load(tmp_path, bind_address="x", idle_timeout="long")
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["bind_address", "idle_timeout"]


@pytest.mark.parametrize("value", ["dummy", ["sk-dummy-secret"], {"dummy": 1}])
def test_no_error_shows_a_secret(tmp_path: Path, value: object) -> None:
    for key in ClaudeProxyConfig.secret_keys:
        with pytest.raises(ConfigError) as caught:
            ClaudeProxyConfig.load(tmp_path, **{key: value})
        assert "dummy" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_secrets_are_masked_and_proxies_keep_their_host(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.load(
        tmp_path,
        api_token="a-dummy-api-token",
        proxy_auth="me:dummy",
        upstream_proxy="http://me:dummy@corp.example:3128",
    )
    assert config.shown("api_token") == "****"
    assert config.shown("proxy_auth") == "****"
    assert config.shown("upstream_proxy") == "http://****@corp.example:3128"
    assert config.upstream_proxy is not None
    assert config.upstream_proxy.get_secret_value() == "http://me:dummy@corp.example:3128"
    assert "dummy" not in repr(config)


def test_values_for_showing_are_plain(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.load(tmp_path)
    assert config.shown("ca_cert_path") == str(tmp_path / "ca.crt")
    assert config.shown("api_hosts") == ["api.anthropic.com"]
    assert config.shown("upstream_proxy") is None


def test_an_isolated_configuration_sees_neither_file_nor_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text("retention_days: 3")
    monkeypatch.setenv("CLAUDEPROXY_LOG_LEVEL", "debug")
    config = ClaudeProxyConfig.isolated(home=tmp_path, idle_timeout=1)
    assert (config.retention_days, config.log_level, config.idle_timeout) == (30, "info", 1.0)
    assert ClaudeProxyConfig(home=tmp_path).log_level == "debug"


def test_the_configuration_cannot_change(tmp_path: Path) -> None:
    config = ClaudeProxyConfig.load(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        config.enabled = False  # type: ignore[misc]


def test_the_example_has_every_key_at_its_default_and_says_how_to_get_to_the_proxy(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    keys = yaml.safe_load(text)["claude_proxy"]
    assert list(keys) == [key for key in keys if key in ClaudeProxyConfig.model_fields]
    assert set(ClaudeProxyConfig.model_fields) - set(keys) == {"home"}
    example, default = ClaudeProxyConfig.load(tmp_path, EXAMPLE), ClaudeProxyConfig.load(tmp_path)
    assert example.model_dump() == default.model_dump()
    assert "claudeproxy ca install" in text
    assert "export HTTPS_PROXY=http://127.0.0.1:8443" in text


def test_the_example_explains_every_key() -> None:
    lines = EXAMPLE.read_text().splitlines()
    keys = [f"  {key}:" for key in ClaudeProxyConfig.model_fields if key != "home"]
    unexplained = [
        line
        for before, line in itertools.pairwise(lines)
        if line.startswith(tuple(keys)) and not before.startswith("  # ") and "ca_key_path" not in line
    ]
    assert unexplained == []
