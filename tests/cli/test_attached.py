from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from claudeproxy.config.home import Home
from claudeproxy_cli.attached import MAX_LOG_BYTES, AttachedServer, StartError
from claudeproxy_cli.running import answers

if TYPE_CHECKING:
    from pathlib import Path


def test_a_server_listens_until_it_is_stopped(home: Path) -> None:
    home.mkdir()
    server = AttachedServer.start(Home(path=home), None, environment=os.environ)
    try:
        assert server.address[0] == "127.0.0.1"
        assert answers(server.address)
        assert not (home / "serve.json").exists()  # nobody else is to depend on it
    finally:
        assert server.stop(30)
    assert not answers(server.address)
    assert (home / "run.log").stat().st_mode & 0o777 == 0o600


def test_it_ends_with_whoever_started_it_even_by_sigkill(home: Path) -> None:
    home.mkdir()
    code = (
        "import os, sys, signal; from pathlib import Path; from claudeproxy.config.home import Home;"
        "from claudeproxy_cli.attached import AttachedServer;"
        "server = AttachedServer.start(Home(path=Path(sys.argv[1])), None, environment=os.environ);"
        "print(server.address[1], server._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    output = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=False).stdout
    port = int(output.split()[0])
    with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        assert connection.recv(1) == b""  # it hangs up when it has noticed
    assert not answers(("127.0.0.1", port))


def test_a_configuration_that_cannot_be_used_is_told_in_one_line(home: Path) -> None:
    home.mkdir()
    with pytest.raises(StartError, match=r"^upstream \(env CLAUDEPROXY_UPSTREAM\): .*https://HOST:PORT$"):
        AttachedServer.start(Home(path=home), None, environment={**os.environ, "CLAUDEPROXY_UPSTREAM": "nonsense"})


def test_a_port_that_is_taken_is_told_in_one_line(home: Path) -> None:
    home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(StartError, match=rf"^the proxy cannot listen on {address}: .*in use"):
            AttachedServer.start(Home(path=home), None, environment=os.environ, flags=("--bind", address))


def test_a_server_that_says_nothing_points_at_its_log(home: Path) -> None:
    home.mkdir()
    with pytest.raises(StartError, match=r"ended before it listened; its log is .*run\.log"):
        AttachedServer.start(Home(path=home), None, environment=os.environ, flags=("--no-such-flag",))
    assert "No such option" in (home / "run.log").read_text()


def test_the_log_does_not_grow_for_ever(home: Path) -> None:
    home.mkdir()
    (home / "run.log").write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    with pytest.raises(StartError):
        AttachedServer.start(Home(path=home), None, environment=os.environ, flags=("--no-such-flag",))
    assert (home / "run.log").stat().st_size < 10_000
    assert (home / "run.old.log").stat().st_size > MAX_LOG_BYTES


def test_a_home_that_cannot_be_written_cannot_start_one(home: Path) -> None:
    with pytest.raises(StartError, match="cannot write"):
        AttachedServer.start(Home(path=home), None, environment=os.environ)
