"""Starting, starting again, and every way to die in between: nothing that reached the upstream is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from claudeproxy.errors import ConfigError, DatabaseVersionError
from claudeproxy.model import State
from claudeproxy.service import ClaudeProxy
from claudeproxy.supervisor import RecorderProcess
from claudeproxy.testing import Gate, Pace, always, says, text
from claudeproxy.testing.scripts import Replies
from tests.support.service import (
    HEADERS,
    PATIENCE,
    ask,
    captured,
    command_serving,
    configuration,
    kill_group,
    mocking,
    prompt,
    raw,
    serving,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Running


async def test_the_authority_and_its_key_are_the_same_after_a_restart(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock:
        files = []
        for _ in range(2):
            async with serving(home, mock.url) as running, running.client("connect") as client:
                assert (await ask(client, prompt("hello"))).status_code == 200
                files.append([(home / name).read_bytes() for name in ("ca.crt", "ca.key", "secret")])
    assert files[0] == files[1]
    first, second = captured(home)
    assert first.request.api_key_hash == second.request.api_key_hash


async def test_a_database_of_a_newer_version_is_refused_in_one_sentence(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url):
        pass
    with closing(sqlite3.connect(home / "captures.db")) as database:
        database.execute("UPDATE _sqlite_migrations SET name = '9999_of_the_future' WHERE rowid = 1")
        database.commit()
    with pytest.raises(DatabaseVersionError, match="was written by a newer claudeproxy"):
        await ClaudeProxy(configuration(home)).run()


@pytest.mark.parametrize("key", ["bind_address", "api_address"])
async def test_a_port_that_is_taken_is_a_configuration_error_that_names_it(home: Path, key: str) -> None:
    from claudeproxy.api.entry import serve

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        taken = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cannot listen on {taken}"):
            await ClaudeProxy(configuration(home, **{key: taken}), serve).run()


async def _pid(host: RecorderProcess) -> int:
    """The service does not wait for its recorder, so neither does it for the process to be there."""
    with trio.fail_after(PATIENCE):
        while host.pid is None:  # noqa: ASYNC110
            await trio.sleep(0.01)
    return host.pid


async def test_a_recorder_that_is_killed_is_started_again_and_nothing_is_lost(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, recorder="process") as running:
        host = running.service._recorder if running.service else None
        assert isinstance(host, RecorderProcess)
        async with running.client() as client:
            for number in range(3):
                os.kill(await _pid(host), signal.SIGKILL)
                for part in range(5):
                    body = prompt(f"{number} {part}")
                    assert (await ask(client, body)).status_code == 200
                await wait_captured(home, 5 * (number + 1))
                assert host.restarts == number + 1
    pairs = captured(home)
    assert {pair.request.state for pair in pairs} == {State.COMPLETE}
    assert [pair.body for pair in pairs] == [prompt(f"{n} {p}") for n in range(3) for p in range(5)]


async def test_a_recorder_that_is_killed_at_the_very_end_gets_another_life(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, recorder="process") as running:
        host = running.service._recorder if running.service else None
        assert isinstance(host, RecorderProcess)
        async with running.client() as client:
            await ask(client, prompt("first"))
            await wait_captured(home, 1)  # so that it is up
            pid = await _pid(host)
            os.kill(pid, signal.SIGSTOP)
            await ask(client, prompt("last"))
            os.kill(pid, signal.SIGKILL)
    assert [pair.body for pair in captured(home)] == [prompt("first"), prompt("last")]


CLIENTS = 4


async def _journal_is_read(home: Path) -> None:
    """Only the living relay's journal is left: what the dead one wrote is recorded and cleaned up."""
    with trio.fail_after(PATIENCE):
        while len([entry for entry in (home / "journal").iterdir() if entry.is_dir()]) > 1:  # noqa: ASYNC110
            await trio.sleep(0.02)


async def _hammer(running: Running, number: int, answered: dict[bytes, bytes]) -> None:
    """Ask one thing after another until the proxy is gone."""
    with suppress(httpx.TransportError):
        async with running.client("connect" if number % 2 else "reverse") as client:
            for part in range(10_000):
                body = prompt(f"client {number} part {part}", stream=bool(part % 2))
                answered[body] = raw(await ask(client, body))


async def test_a_service_killed_under_load_loses_nothing_that_reached_the_upstream(home: Path) -> None:
    """SIGKILL to relay and recorder at once. What was streaming then is `interrupted`, with what had come of it."""
    gate = Gate()
    held = text("This answer never ends. " * 20, pace=Pace(gate=gate))
    script = Replies().on(says("hold"), held).on(lambda _: True, text("Answered."))
    answered: dict[bytes, bytes] = {}
    open_bodies = {prompt(f"hold {number}", stream=True) for number in range(4)}
    async with mocking(script) as mock:
        async with command_serving(home, mock.url) as running, trio.open_nursery() as nursery:

            async def hold(body: bytes, *, task_status: trio.TaskStatus[None]) -> None:
                """Started when the answer's head is here; what a client has seen is in the journal."""
                with suppress(httpx.TransportError):
                    async with (
                        running.client() as client,
                        client.stream("POST", "/v1/messages", content=body, headers=HEADERS) as response,
                    ):
                        task_status.started()
                        await response.aread()

            for body in open_bodies:
                await nursery.start(hold, body)
            for number in range(CLIENTS):
                nursery.start_soon(_hammer, running, number, answered)
            with trio.fail_after(PATIENCE):
                await mock.wait_message(60)
            assert running.process is not None
            kill_group(running.process.pid)
            await running.process.wait()
        async with command_serving(home, mock.url) as running:
            await _journal_is_read(home)
            reached = {request.body for request in mock.messages}
            await stop(running)
    everything = captured(home)
    pairs = {pair.body: pair for pair in everything}
    assert pairs.keys() >= reached >= answered.keys() | open_bodies
    # The journal is written before the upstream: at most one request of each client was begun and never got there.
    begun_only = [pair for pair in everything if pair.body not in reached]
    assert {pair.request.state for pair in begun_only} <= {State.INTERRUPTED}
    assert len(everything) == len(reached) + len(begun_only) <= len(answered) + len(open_bodies) + CLIENTS
    assert len({pair.request.owner for pair in everything}) == 1
    for body in open_bodies:
        assert pairs[body].request.state is State.INTERRUPTED
        assert pairs[body].request.status_code == 200
    for body, answer in answered.items():
        assert pairs[body].answer == answer
    # The end is written after the last byte was delivered: a client may have had all when the relay died in between.
    cut_short = [body for body in answered if pairs[body].request.state is not State.COMPLETE]
    assert {pairs[body].request.state for body in cut_short} <= {State.INTERRUPTED}
    assert len(cut_short) <= CLIENTS
