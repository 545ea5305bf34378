from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from claudeproxy_cli.running import (
    RunningServer,
    answers,
    find_server,
    healthy,
    process_lives,
    reachable,
    read_state,
    remove_state,
    url,
    write_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = RunningServer(pid=os.getpid(), proxy=("127.0.0.1", 8443), api=("::1", 3001), version="0.1.0")

# A server that answers each connection with the text that it was given, in a process of its own.
ANSWERING = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.settimeout(0.05)
    try:
        connection.recv(4096)
        connection.sendall(sys.argv[1].encode())
    except OSError:
        pass
    connection.close()
"""


@contextmanager
def answering(text: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", ANSWERING, text], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_state_is_read_back_and_private(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    write_state(path, SERVER)
    assert read_state(path) == SERVER
    assert path.stat().st_mode & 0o777 == 0o600
    write_state(path, RunningServer(pid=1, proxy=("h", 1), api=None, version="1", particular=True))
    assert read_state(path) == RunningServer(pid=1, proxy=("h", 1), api=None, version="1", particular=True)
    assert [p.name for p in tmp_path.iterdir()] == ["serve.json"]


def test_only_its_owner_takes_a_state_back(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    write_state(path, SERVER)
    remove_state(path, SERVER.pid + 1)
    assert path.exists()
    remove_state(path, SERVER.pid)
    assert not path.exists()
    remove_state(path, SERVER.pid)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": "x", "proxy": [], "api": null, "version": ""}', "null"])
def test_a_file_that_is_no_state_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "serve.json").write_text(text)
    assert find_server(tmp_path / "serve.json") is None


def test_urls_always_have_a_scheme_and_an_address_that_can_be_reached() -> None:
    assert SERVER.proxy_url == "http://127.0.0.1:8443"
    assert SERVER.api_url == "http://[::1]:3001"
    assert RunningServer(pid=1, proxy=("h", 1), api=None, version="").api_url is None
    assert reachable(("0.0.0.0", 1)) == ("127.0.0.1", 1)
    assert url(("::", 1)) == "http://[::1]:1"


def test_processes_live_or_not() -> None:
    assert process_lives(os.getpid())
    assert not process_lives(dead_process())


def test_a_closed_port_answers_nobody() -> None:
    port = free_port()
    assert not answers(("127.0.0.1", port))
    assert not healthy(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HTTP/1.1 200 OK\r\n\r\n", True),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", True),
        ("HTTP/1.1 404 Not Found\r\n\r\n", False),
        ("SSH-2.0-other", False),
        ("", False),
    ],
)
def test_only_our_own_api_counts_as_healthy(text: str, *, expected: bool) -> None:
    with answering(text) as port:
        assert healthy(("127.0.0.1", port)) is expected


def test_a_server_is_found_while_it_lives_and_answers(tmp_path: Path) -> None:
    path = tmp_path / "serve.json"
    with answering("HTTP/1.1 200 OK\r\n\r\n") as port:
        here = ("127.0.0.1", port)
        living = RunningServer(pid=os.getpid(), proxy=here, api=here, version="1")
        write_state(path, living)
        assert find_server(path) == living
        write_state(path, RunningServer(pid=os.getpid(), proxy=here, api=None, version="1"))
        assert find_server(path) is not None
        write_state(path, RunningServer(pid=dead_process(), proxy=here, api=here, version="1"))
        assert find_server(path) is None
        write_state(path, RunningServer(pid=os.getpid(), proxy=("127.0.0.1", free_port()), api=here, version="1"))
        assert find_server(path) is None


def test_a_dead_servers_port_in_other_hands_is_no_server(tmp_path: Path) -> None:
    with answering("HTTP/1.1 404 Not Found\r\n\r\n") as port:
        here = ("127.0.0.1", port)
        write_state(tmp_path / "s", RunningServer(pid=os.getpid(), proxy=here, api=here, version="1"))
        assert find_server(tmp_path / "s") is None
