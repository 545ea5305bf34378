"""A service with two workers, its parent in this process: who gets what, and what a death costs. Real processes."""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import pytest
import trio

from claudeproxy.capture.pause import PauseFile
from claudeproxy.errors import ClaudeProxyError
from claudeproxy.model import State
from claudeproxy.testing import Gate, Pace, always, says, text
from claudeproxy.testing.scripts import Replies
from claudeproxy.translating import relay_settings
from claudeproxy.workers import keeping
from claudeproxy.workers.pool import WorkerError, WorkerPool
from tests.support.service import (
    HEADERS,
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
    from collections.abc import Callable, Mapping

    from claudeproxy.store.values import CapturedRequest
    from tests.support.service import Running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def health(running: Running) -> Mapping[str, object]:
    assert running.service is not None
    return running.service.health()


def workers(running: Running) -> list[dict[str, int]]:
    return cast("list[dict[str, int]]", health(running)["workers"])


def number(running: Running, part: str, name: str) -> int:
    return cast("Mapping[str, int]", health(running)[part])[name]


async def until(condition: Callable[[], object]) -> None:
    """Other processes change it: there is nothing to be told by."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_connections_go_round_and_health_adds_up_what_they_did(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, recorder="process", workers=2) as running:
        async with running.client() as one, running.client("connect") as other:
            for client in (one, other, one, other):
                assert (await ask(client, prompt(f"{client is one}"))).status_code == 200
            await until(lambda: number(running, "capture", "open") == 0)
            await until(lambda: number(running, "proxy", "exchanges_total") == 4)
            assert [worker["connections"] for worker in workers(running)] == [1, 1]
            assert [worker["exchanges_total"] for worker in workers(running)] == [2, 2]
        assert number(running, "proxy", "connections_total") == 2
        assert health(running)["status"] == "ok"
        for part in range(2):  # one after the other, each gone before the next comes
            async with running.client() as client:
                await ask(client, prompt(f"short {part}"))
            seen = 3 + part
            await until(lambda seen=seen: number(running, "proxy", "connections_total") == seen)
            await until(lambda: number(running, "proxy", "connections") == 0)
        assert [worker["connections_total"] for worker in workers(running)] == [2, 2]
    pairs = captured(home)
    assert Counter(pair.request.state for pair in pairs) == {State.COMPLETE: 6}
    assert len({pair.request.correlation_id for pair in pairs}) == 6
    assert list((home / "journal").glob("*/*.journal")) == []  # both journals were read to their end


async def test_a_worker_that_is_killed_is_replaced_and_takes_nobody_with_it(home: Path) -> None:
    gate = Gate()
    slow = text("word by word " * 40, pace=Pace(gate=gate))
    script = Replies().on(says("slow"), slow).on(lambda _: True, text("hi"))
    whole: dict[int, bytes] = {}
    broken: list[int] = []

    async def stream(running: Running, number: int) -> None:
        try:
            async with (
                running.client() as client,
                client.stream(
                    "POST", "/v1/messages", content=prompt(f"slow {number}", stream=True), headers=HEADERS
                ) as r,
            ):
                whole[number] = await r.aread()
        except httpx.TransportError:
            broken.append(number)

    async with mocking(script) as mock, serving(home, mock.url, recorder="process", workers=2) as running:
        async with trio.open_nursery() as nursery:
            for one in range(4):
                nursery.start_soon(stream, running, one)
            gate.release(8)
            await gate.wait_arrived(9)
            await until(lambda: number(running, "proxy", "exchanges") == 4)
            dead = workers(running)[0]["pid"]
            os.kill(dead, signal.SIGKILL)
            await until(lambda: len(broken) == 2)
            async with running.client() as client:  # somebody accepts all the while
                assert (await ask(client, prompt("meanwhile"))).status_code == 200
            await until(lambda: workers(running)[0]["serves"] and workers(running)[0]["pid"] != dead)
            # The others live on; the recorder notices that the journal's writer is dead, and says what it left.
            await until(lambda: Counter(row.state for row in rows(home))[State.INTERRUPTED] == 2)
            gate.open()
        assert workers(running)[0]["restarts"] == 1
        async with running.client() as first, running.client() as second:
            for client in (first, second):
                assert (await ask(client, prompt("after"))).status_code == 200
        # Numbers are a quarter of a second old; those of the dead one are in the sum, what was open there is not.
        await until(lambda: number(running, "proxy", "exchanges_total") == 7)
        await until(lambda: number(running, "proxy", "exchanges") == 0)
        assert number(running, "capture", "exchanges") == 7
        assert health(running)["status"] == "ok"
    assert len(whole) == 2
    pairs = captured(home)
    assert len(pairs) == 7
    states = {pair.body: pair.request.state for pair in pairs if b"slow" in pair.body}
    assert states == {
        prompt(f"slow {one}", stream=True): State.COMPLETE if one in whole else State.INTERRUPTED for one in range(4)
    }


def rows(home: Path) -> list[CapturedRequest]:
    return [pair.request for pair in captured(home, verify=False)]


@pytest.mark.heavy
async def test_one_that_hangs_does_not_keep_the_service_from_ending(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And while it hangs, the other one takes the connections that were its turn."""
    monkeypatch.setattr(keeping, "LATE_SECONDS", 0.1)
    keys = {"recorder": "process", "workers": 2, "drain_seconds": 0.0}
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, **keys) as running:  # type: ignore[arg-type]
        os.kill(workers(running)[0]["pid"], signal.SIGSTOP)
        for part in range(3):
            async with running.client() as client:
                assert (await ask(client, prompt(f"{part}"))).status_code == 200
    assert len(captured(home)) == 3


@pytest.mark.heavy
async def test_a_pause_holds_for_all_of_them(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, workers=2) as running:
        pause = PauseFile(configuration(home).paths.pause_file)
        pause.pause(now=1, until=None)
        async with running.client() as one, running.client() as other:
            for client in (one, other):
                await ask(client, prompt("not for the record"))
            await until(lambda: health(running)["not_captured_in_pauses"] == 2)
            assert sum(worker["exchanges_total"] > 0 for worker in workers(running)) == 2
            pause.resume()
            for client in (one, other):
                await ask(client, prompt("for the record"))
        await wait_captured(home, 2)


@pytest.mark.heavy
async def test_one_that_cannot_be_started_again_is_said_and_tried_until_it_can(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "FIRST_PAUSE", 0.01)
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, workers=2) as running:
        key = (home / "ca.key").read_bytes()
        (home / "ca.key").write_text("no key")
        os.kill(workers(running)[1]["pid"], signal.SIGKILL)
        await until(lambda: workers(running)[1]["restarts"] >= 2)
        assert health(running)["status"] == "degraded"
        async with running.client() as client:  # the other one serves
            assert (await ask(client, prompt("hello"))).status_code == 200
        (home / "ca.key").write_bytes(key)
        await until(lambda: all(worker["serves"] for worker in workers(running)))
        assert health(running)["status"] == "ok"
    assert len(captured(home)) == 1


@pytest.mark.parametrize("said", [r"ca\.key", "worker 1 did not serve within 0 seconds"])
async def test_workers_that_do_not_even_start_are_one_sentence(
    home: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(home, capture_enabled=False)
    settings = relay_settings(config)
    pool = WorkerPool(settings, 2)
    config.paths.create()
    await pool.prepare()
    if "key" in said:
        (home / "ca.key").write_text("no key")
    else:
        monkeypatch.setattr(keeping, "START_SECONDS", 0.001)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with pytest.raises(WorkerError, match=said) as caught:
        try:
            await pool.run(listeners, None)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
    assert isinstance(caught.value, ClaudeProxyError)
    assert "\n" not in str(caught.value)
    assert not pool.healthy


async def test_where_nothing_is_captured_they_relay_all_the_same_and_show_no_secret(home: Path) -> None:
    """Others on the machine can list a process's arguments: settings come through a pipe."""
    given = {"proxy-authorization": "Basic " + b64encode(b"me:dummy-password").decode()}
    async with mocking(always(text("hi"))) as mock:
        off, auth = False, "me:dummy-password"
        async with serving(home, mock.url, workers=2, capture_enabled=off, proxy_auth=auth) as running:
            for worker in workers(running):
                process = Path(f"/proc/{worker['pid']}")
                assert b"dummy" not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            async with running.client() as client:
                assert (await ask(client, prompt("hello"), **given)).status_code == 200
                assert (await ask(client, prompt("hello"))).status_code == 407
            await until(lambda: number(running, "proxy", "exchanges_total") > 0)
            assert health(running)["capture"] is None
    assert not (home / "journal").exists()
