"""Starting and starting again; a recorder that dies in between. Kills under load: tests/integrity/kills.py."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.errors import ConfigError, DatabaseVersionError
from claudeproxy.model import State
from claudeproxy.service import ClaudeProxy
from claudeproxy.supervisor import RecorderProcess
from claudeproxy.testing import always, text
from tests.support.service import (
    PATIENCE,
    ask,
    captured,
    configuration,
    mocking,
    prompt,
    serving,
    wait_captured,
)

if TYPE_CHECKING:
    from pathlib import Path


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


@pytest.mark.heavy
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
