"""`claudeproxy serve --workers 2` as a process that gets signals: who drains, who ends, what is in the record."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from claudeproxy.config.home import Home
from claudeproxy.model import State
from claudeproxy.testing import Gate, Pace, always, says, text
from claudeproxy.testing.scripts import Replies
from claudeproxy_cli.attached import AttachedServer
from claudeproxy_cli.running import process_lives
from tests.cli.support import cli
from tests.support.service import (
    HEADERS,
    PATIENCE,
    ask,
    captured,
    command_serving,
    mocking,
    prompt,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.service import Running

ANSWER = "word by word " * 40


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def children(pid: int, module: str) -> list[int]:
    """The processes that this one started to run this module."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and module in (entry / "cmdline").read_text():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def until(condition: Callable[[], object]) -> None:
    """Other processes change it: there is nothing to be told by."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


class Stream:
    """A client with an answer under way, which comes no further than the gate lets it."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.body = b""
        self.broken = False
        self.pids: list[int] = []  # of the workers

    async def read(self, running: Running) -> None:
        try:
            async with running.client() as client:
                request = prompt("slow", stream=True)
                async with client.stream("POST", "/v1/messages", content=request, headers=HEADERS) as response:
                    self.body = await response.aread()
        except httpx.TransportError:
            self.broken = True


@asynccontextmanager
async def under_way(home: Path) -> AsyncIterator[tuple[Running, trio.Process, Stream]]:
    """A service with two workers, and a stream that has begun; it ends in the block."""
    stream = Stream(Gate())
    script = Replies().on(says("slow"), text(ANSWER, pace=Pace(gate=stream.gate))).on(lambda _: True, text("hi"))
    async with mocking(script) as mock, command_serving(home, mock.url, "--workers", "2") as running:
        assert running.process is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.read, running)
            stream.gate.release(2)
            await stream.gate.wait_arrived(3)
            await until(lambda: len(children(running.process.pid, "claudeproxy.workers")) == 3)  # one is spare
            stream.pids = children(running.process.pid, "claudeproxy.workers")
            yield running, running.process, stream


def refuses(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=PATIENCE):
            return False
    except OSError:
        return True


async def test_the_first_signal_drains_all_workers_and_leaves_nothing_behind(home: Path) -> None:
    async with under_way(home) as (running, process, stream):
        process.send_signal(signal.SIGTERM)
        await until(lambda: refuses(running.proxy))
        stream.gate.open()
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0
    assert b"message_stop" in stream.body
    assert not any(map(process_lives, stream.pids))
    assert not (home / "serve.json").exists()
    (pair,) = captured(home)
    assert (pair.request.state, pair.answer) == (State.COMPLETE, stream.body)
    assert list((home / "journal").glob("*/*.journal")) == []
    assert "Traceback" not in home.with_suffix(".log").read_text()


@pytest.mark.heavy
async def test_the_second_signal_ends_all_workers_at_once(home: Path) -> None:
    async with under_way(home) as (running, process, stream):
        process.send_signal(signal.SIGINT)
        await until(lambda: refuses(running.proxy))
        process.send_signal(signal.SIGINT)
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 128 + signal.SIGINT
        await until(lambda: stream.broken)
        await until(lambda: not any(map(process_lives, stream.pids)))
        # The recorder reads on until nobody is left to write, and then ends.
        await wait_captured(home, 1, lambda row: row.state is State.INTERRUPTED)


@pytest.mark.heavy
async def test_when_their_parent_is_killed_the_workers_drain(home: Path) -> None:
    async with under_way(home) as (running, process, stream):
        process.kill()
        await process.wait()
        await until(lambda: refuses(running.proxy))
        stream.gate.open()
        await until(lambda: stream.body)
        assert b"message_stop" in stream.body
        await until(lambda: not any(map(process_lives, stream.pids)))
        await wait_captured(home, 1, lambda row: row.state is State.COMPLETE)


async def test_a_port_that_is_taken_is_one_clear_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        options = ("--workers", 2, "--bind", address, "--api", "127.0.0.1:0")
        env = {"CLAUDEPROXY_LOG_LEVEL": "error"}
        result = await trio.to_thread.run_sync(lambda: cli("serve", "--home", home, *options, env=env))
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"claudeproxy: the proxy cannot listen on {address}")


@pytest.mark.parametrize(
    ("value", "connections", "said"),
    [
        ("0", "10", "workers (flag): input should be greater than or equal to 1"),
        ("65", "100", "workers (flag): input should be less than or equal to 64"),
        ("3", "2", "workers is 3 and max_connections 2: each needs one"),
        ("many", "10", "Invalid value for '--workers'"),
    ],
)
def test_a_number_that_cannot_be_is_a_usage_error(home: Path, value: str, connections: str, said: str) -> None:
    env = {"CLAUDEPROXY_MAX_CONNECTIONS": connections}
    result = cli("serve", "--home", home, "--workers", value, env=env)
    assert result.returncode == 2
    assert said in result.stderr


@pytest.mark.heavy
def test_the_proxy_of_run_is_one_process_whatever_the_file_says(home: Path) -> None:
    """It serves one command, which holds the socket and starts it again when it dies."""
    home.mkdir()
    (home / "config.yaml").write_text("workers: 3\n")
    server = AttachedServer.start(Home(path=home), None, environment=os.environ)
    try:
        assert children(server.pid, "claudeproxy.workers") == []
    finally:
        assert server.stop(PATIENCE)


@pytest.mark.heavy
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # httpx, of a body that it could not send
async def test_under_load_kills_of_workers_lose_and_double_nothing(home: Path) -> None:
    """Twenty clients on keep-alive connections; a worker is killed again and again; every request is recorded once."""
    reached: list[bytes] = []
    done: set[bytes] = set()
    stopping = False

    async def client(running: Running, number: int) -> None:
        part = 0
        while not stopping:
            try:
                async with running.client("connect" if number % 2 else "reverse") as one:
                    while not stopping:
                        part += 1
                        body = prompt(f"client {number} part {part}")
                        reached.append(body)
                        assert (await ask(one, body)).status_code == 200
                        done.add(body)
            except httpx.TransportError:
                continue

    async with mocking(always(text("hi"))) as mock, command_serving(home, mock.url, "--workers", "2") as running:
        assert running.process is not None
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(client, running, number)
            for life in range(5):
                count = len(done)
                await until(lambda count=count: len(done) > count + 50)
                async with running.rest() as rest:
                    said = (await rest.get("/api/claude/health")).json()["workers"]
                await until(lambda: len(children(running.process.pid, "claudeproxy.workers")) == 3)
                victim = said[life % 2]["pid"]
                if victim:
                    os.kill(victim, signal.SIGKILL)
            stopping = True
        await stop(running)
        upstream = [request.body for request in mock.received]
    pairs = captured(home)
    assert len({pair.request.correlation_id for pair in pairs}) == len(pairs)
    recorded = [pair.body for pair in pairs if pair.body]  # of some a worker got the head, and died
    assert len(set(recorded)) == len(recorded)
    assert set(upstream) <= set(recorded) <= set(reached)
    states = {pair.body: pair.request.state for pair in pairs}
    assert set(states.values()) <= {State.COMPLETE, State.INTERRUPTED}
    # A worker may die between an answer's last byte and the note that it ended: of each connection one, at each kill.
    assert sum(states[body] is State.INTERRUPTED for body in done) <= 5 * 20
    assert sum(states[body] is State.COMPLETE for body in done) > 100
