"""The proxy behind one address when its process dies. All of `run` round it: tests/integrity/test_supervision.py."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import TYPE_CHECKING

from claudeproxy.config.home import Home
from claudeproxy_cli import kept
from claudeproxy_cli.attached import AttachedServer, StartError
from claudeproxy_cli.kept import KeptServer, open_listener
from claudeproxy_cli.running import answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SECONDS = 60  # a bound for failures


class Starts:
    """Starts real processes, as long as it may; counts."""

    def __init__(self, home: Path, *, times: int = 99) -> None:
        home.mkdir(exist_ok=True)
        self._home = Home(path=home)
        self._times = times
        self.count = 0

    def __call__(self, listener: socket.socket | None, address: tuple[str, int]) -> AttachedServer:
        assert listener is not None
        self.count += 1
        if self.count > self._times:
            raise StartError("no more")
        return AttachedServer.start(self._home, None, environment=os.environ, listener=listener)


def keep(starts: Starts, said: list[str]) -> KeptServer:
    listener = open_listener(("127.0.0.1", 0))
    server = starts(listener, ("127.0.0.1", 0))
    return KeptServer(starts, address=server.address, pid=server.pid, server=server, listener=listener, say=said.append)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def exchange(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=SECONDS) as connection:
        connection.sendall(ASK)
        return connection.recv(100)


def test_a_client_that_comes_while_nobody_serves_is_answered_by_the_next_process(home: Path) -> None:
    said: list[str] = []
    proxy = keep(starts := Starts(home), said)
    try:
        os.kill(proxy.pids[0], signal.SIGKILL)
        assert exchange(proxy.address).startswith(b"HTTP/1.1 ")
        until(lambda: len(said) == 1)
        assert starts.count == len(proxy.pids) == 2
        assert proxy.pids[0] != proxy.pids[1]
        assert said[0].startswith("the proxy ended (SIGKILL) and was started again on the same port")
    finally:
        assert proxy.stop(SECONDS)
    assert not answers(proxy.address)


def test_one_that_cannot_be_started_any_more_is_given_up_and_clients_are_told_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "MOST_DEATHS", 3)
    said: list[str] = []
    proxy = keep(starts := Starts(home, times=1), said)
    try:
        os.kill(proxy.pids[0], signal.SIGKILL)
        until(lambda: len(said) == 2)
        assert said[0] == "the proxy ended (SIGKILL) and cannot be started again now: no more"
        assert said[1].startswith("the proxy died or did not start 3 times in a row")
        assert exchange(proxy.address).startswith(b"HTTP/1.1 503 ")
        assert starts.count == 4  # with the first, that went well
    finally:
        proxy.stop(SECONDS)
    assert not answers(proxy.address)


def test_one_that_is_stopped_is_not_started_again(home: Path) -> None:
    said: list[str] = []
    proxy = keep(starts := Starts(home), said)
    assert proxy.own
    assert proxy.stop(SECONDS)
    assert (starts.count, said) == (1, [])


def test_somebody_elses_that_nobody_can_replace_is_said_once_and_seen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "LOOK_SECONDS", 0.01)
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        address = theirs.getsockname()[:2]
        proxy = KeptServer(None, address=address, pid=1, server=None, listener=None, say=said.append)
    until(lambda: bool(said))
    with socket.create_server(address):  # its port is free for whoever starts it again
        assert not proxy.own
    assert proxy.stop(SECONDS)
    assert set(said) == {"the proxy no longer answers; start `claudeproxy serve` again as it was started"}
