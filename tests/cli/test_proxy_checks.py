from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.tls.authority import CertificateAuthority, rotate
from claudeproxy_cli.findings import Context
from claudeproxy_cli.proxy_checks import authority, bypass, handshake, ports, settings, trust
from claudeproxy_cli.running import RunningServer, write_state
from tests.cli.test_running import answering

if TYPE_CHECKING:
    from pathlib import Path


def _context(home: Path, environment: dict[str, str] | None = None, **keys: object) -> Context:
    home.mkdir(exist_ok=True, mode=0o700)
    config = ClaudeProxyConfig.isolated(home=home, **keys)
    return Context(config=config, config_file=None, environment=environment or {}, directory=home)


def _authority(home: Path) -> None:
    home.mkdir(exist_ok=True, mode=0o700)
    CertificateAuthority.load_or_create_ca(home / "ca.crt", home / "ca.key")


def test_no_authority_yet_is_fine(home: Path) -> None:
    assert authority(_context(home)).status == "ok"
    assert trust(_context(home)).status == "ok"


def test_a_young_authority_is_fine_and_its_names_are_said(home: Path) -> None:
    _authority(home)
    found = authority(_context(home))
    assert found.status == "ok"
    assert "anthropic.com" in found.detail


@pytest.mark.parametrize(("age", "status"), [(330, "ok"), (340, "warn"), (370, "fail")])
def test_an_old_authority_is_warned_of_a_month_ahead(home: Path, age: int, status: str) -> None:
    home.mkdir(mode=0o700)
    born = datetime.now(UTC) - timedelta(days=age)
    rotate(home / "ca.crt", home / "ca.key", clock=lambda: born)
    found = authority(_context(home))
    assert found.status == status
    assert (found.remedy is None) == (status == "ok")


def test_a_host_that_is_not_covered_fails(home: Path) -> None:
    _authority(home)
    found = authority(_context(home, intercept_hosts=["anthropic.com", "gateway.example"]))
    assert found.status == "fail"
    assert "gateway.example" in found.detail
    assert "rotate" in str(found.remedy)


def test_who_trusts_the_certificate_is_said(home: Path) -> None:
    _authority(home)
    assert "nobody but the commands of `claudeproxy run`" in trust(_context(home)).detail
    found = trust(_context(home, {"NODE_EXTRA_CA_CERTS": str(home / "ca.crt"), "SSL_CERT_FILE": "/missing"}))
    assert found.detail == "trusted by NODE_EXTRA_CA_CERTS"


@pytest.mark.parametrize("value", ["http://127.0.0.1:8443", "127.0.0.1:8443"])
def test_a_shell_that_leads_to_us_without_trust_fails(home: Path, value: str) -> None:
    _authority(home)
    found = trust(_context(home, {"HTTPS_PROXY": value}))
    assert found.status == "fail"
    assert f"NODE_EXTRA_CA_CERTS={home}/ca.crt" in str(found.remedy)


def test_free_ports_are_fine_and_taken_ones_fail(home: Path) -> None:
    assert ports(_context(home, bind_address="127.0.0.1:0", api_address="127.0.0.1:0")).status == "ok"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = f"127.0.0.1:{listener.getsockname()[1]}"
        found = ports(_context(home, bind_address=taken, api_address="127.0.0.1:0"))
    assert found.status == "fail"
    assert taken in found.detail
    assert "--bind" in str(found.remedy)
    assert "--api" not in str(found.remedy)


def test_a_running_server_is_found(home: Path) -> None:
    _authority(home)
    context = _context(home)
    with answering("HTTP/1.1 200 OK\r\n\r\n") as port:
        here = ("127.0.0.1", port)
        write_state(context.home.state_file, RunningServer(pid=os.getpid(), proxy=here, api=here, version="1"))
        found = ports(context)
        assert found.status == "ok"
        assert f"process {os.getpid()}" in found.detail
        with pytest.raises(OSError, match=r"SSL|EOF|reset"):  # it says 200 and then knows no TLS
            handshake(context)


def test_a_server_that_hangs_up_fails_the_handshake(home: Path) -> None:
    _authority(home)
    context = _context(home)
    with answering("") as port:
        here = ("127.0.0.1", port)
        write_state(context.home.state_file, RunningServer(pid=os.getpid(), proxy=here, api=None, version="1"))
        with pytest.raises(OSError, match="closed the connection"):
            handshake(context)


def test_a_settings_file_that_overrides_the_environment_is_warned_of(home: Path) -> None:
    context = _context(home, {"CLAUDE_CONFIG_DIR": str(home)})
    assert settings(context).status == "ok"
    (home / "settings.json").write_text(json.dumps({"env": {"HTTPS_PROXY": "http://x:1"}}))
    found = settings(context)
    assert found.status == "warn"
    assert "HTTPS_PROXY" in found.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "localhost,.anthropic.com"),
        ("no_proxy", "*"),
        ("HTTPS_PROXY", "127.0.0.1:8443"),
        ("ALL_PROXY", "socks5://x:1"),
        ("ANTHROPIC_BASE_URL", "https://gateway.example"),
    ],
)
def test_whatever_leads_around_the_proxy_is_warned_of(home: Path, name: str, value: str) -> None:
    found = bypass(_context(home, {name: value}))
    assert found.status == "warn"
    assert name in found.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NO_PROXY", "localhost,.corp.example"),
        ("HTTPS_PROXY", "http://127.0.0.1:8443"),
        ("ANTHROPIC_BASE_URL", "http://127.0.0.1:8443"),
        ("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
    ],
)
def test_what_leads_to_the_proxy_is_fine(home: Path, name: str, value: str) -> None:
    assert bypass(_context(home, {name: value})).status == "ok"
