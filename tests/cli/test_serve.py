from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.errors import ConfigError
from claudeproxy_cli.running import RunningServer, answers, find_server
from claudeproxy_cli.serve import banner, export, first_error
from tests.cli.support import COMMAND, cli

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = RunningServer(pid=1, proxy=("127.0.0.1", 8443), api=("127.0.0.1", 3001), version="9.9")


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], RunningServer]]:
    command = [*COMMAND, "serve", "--home", str(home), "--bind", "127.0.0.1:0", "--api", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            server = find_server(home / "serve.json")
            assert server is not None, first
            assert first.startswith(f"claudeproxy {server.version}: proxy on {server.proxy_url}, API on")
            yield process, server
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_nothing_behind(home: Path, number: signal.Signals) -> None:
    with serving(home) as (process, server):
        assert server.pid == process.pid
        with urllib.request.urlopen(f"{server.api_url}/api/claude/health", timeout=30) as answer:
            assert answer.status == 200
        assert answers(server.proxy)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "stopping" in errors
    assert not (home / "serve.json").exists()
    assert not answers(server.proxy)
    modes = {path.name: path.stat().st_mode & 0o077 for path in home.iterdir() if path.name != "ca.crt"}
    assert set(modes.values()) == {0}


def test_the_second_signal_does_not_wait(home: Path) -> None:
    with serving(home) as (process, server), socket.create_connection(server.proxy) as client:
        client.sendall(b"CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: api.anthropic.com:443\r\n\r\n")
        client.recv(100)  # a tunnel that stays open keeps the first signal waiting
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "stopping" in line:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(8) in {0, 128 + signal.SIGINT}
    assert not (home / "serve.json").exists()


@pytest.mark.parametrize("option", ["--bind", "--api"])
def test_a_port_that_is_taken_is_one_clear_line(home: Path, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        other = {"--bind": "--api", "--api": "--bind"}[option]
        env = {"CLAUDEPROXY_LOG_LEVEL": "error"}
        result = cli("serve", "--home", home, option, address, other, "127.0.0.1:0", env=env)
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("claudeproxy: the ")
    assert address in line


def test_a_second_server_on_the_same_port_is_told_of_the_first(home: Path) -> None:
    with serving(home) as (process, server):
        address = f"{server.proxy[0]}:{server.proxy[1]}"
        result = cli("serve", "--home", home, "--bind", address, "--api", "127.0.0.1:0")
        assert result.returncode == 1
        assert f"Process {process.pid} serves already, on {server.proxy_url}" in result.stderr
        assert find_server(home / "serve.json") == server  # and the first is still found


@pytest.mark.heavy
def test_the_first_server_is_found_again_when_a_second_one_has_ended(home: Path) -> None:
    with serving(home) as (_, first):
        with serving(home) as (process, second):
            assert find_server(home / "serve.json") == second != first
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        assert find_server(home / "serve.json") == first


def test_a_flag_that_cannot_be_used_is_a_usage_error(home: Path) -> None:
    result = cli("serve", "--home", home, "--upstream", "gateway.example")
    assert result.returncode == 2
    assert "upstream (flag): write it with its scheme" in result.stderr


def test_the_banner_says_how_to_use_it(home: Path) -> None:
    config = ClaudeProxyConfig.isolated(home=home)
    lines = banner(config, SERVER).splitlines()
    assert lines == [
        "claudeproxy 9.9: proxy on http://127.0.0.1:8443, API on http://127.0.0.1:3001",
        "to use it:",
        "  export HTTPS_PROXY=http://127.0.0.1:8443",
        f"  export NODE_EXTRA_CA_CERTS={home}/ca.crt",
        f"or without either:  claudeproxy run --home {home} -- claude",
        f"to look:  claudeproxy query --home {home}",
    ]


def test_the_banner_says_what_is_off_and_what_is_open(home: Path) -> None:
    def said(**keys: object) -> str:
        return banner(ClaudeProxyConfig.isolated(home=home, **keys), SERVER)

    assert "nothing is decrypted" in said(enabled=False)
    assert "nothing is stored" in said(capture_enabled=False)
    closed = said(bind_address="0.0.0.0:8443", proxy_auth="me:dummy")
    assert "http://USER:PASSWORD@127.0.0.1:8443" in closed
    assert "dummy" not in closed


@pytest.mark.skipif(os.name == "nt", reason="POSIX shells")
def test_exports_survive_a_shell() -> None:
    assert export("A", "b c") == "export A='b c'"


def test_the_error_that_matters_is_found_in_any_group() -> None:
    ours = ConfigError("ours")
    nested = BaseExceptionGroup("a", [ValueError("x"), BaseExceptionGroup("b", [KeyError("k"), ours])])
    assert first_error(nested) is ours
    other = OSError(98, "in use")
    assert first_error(BaseExceptionGroup("a", [BaseExceptionGroup("b", [other])])) is other


def test_a_home_is_a_path() -> None:
    assert isinstance(Path.home(), Path)
