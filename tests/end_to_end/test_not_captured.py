"""What a person does not want recorded is not: pauses, and directories that are excluded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing import always, text
from claudeproxy.testing.conversations import demo_conversation
from claudeproxy_cli.main import main
from tests.support.service import (
    PATIENCE,
    ask,
    captured,
    command_serving,
    mocking,
    prompt,
    send,
    serving,
    stop,
    wait_captured,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    import pytest

    from tests.support.service import Running

TURN = demo_conversation()[0]
SESSION = {"X-Claude-Code-Session-Id": dict(TURN.headers)[b"X-Claude-Code-Session-Id"].decode()}
SECRET = "heliotrope"


def command(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def on_disk(home: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())


async def told(client: httpx.AsyncClient, words: str) -> None:
    assert (await ask(client, prompt(words))).status_code == 200


async def health(running: Running) -> dict[str, object]:
    async with running.rest() as rest:
        found: dict[str, object] = (await rest.get("/api/claude/health")).json()
        return found


async def test_a_pause_holds_for_every_proxy_of_a_home(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also for one that starts meanwhile. Nothing of what is asked then reaches journal or database."""
    async with mocking(always(text("hi"))) as mock:
        async with serving(home, mock.url) as first, first.client() as one:
            await told(one, "before")
            command("pause", "--home", home)
            async with command_serving(home, mock.url) as second, second.client() as two:
                for client in (one, two):
                    await told(client, SECRET)
                assert SECRET.encode() not in on_disk(home)
                for running in (first, second):
                    report = await health(running)
                    assert report["paused"] is not None
                    assert report["not_captured_in_pauses"] == 1
                command("resume", "--home", home)
                await told(two, "after")
                assert (await health(second))["paused"] is None
                await wait_captured(home, 2)
                await stop(second)
        assert len(mock.received) == 4
    bodies = [pair.body for pair in captured(home)]
    assert [b"before" in bodies[0], b"after" in bodies[1], len(bodies)] == [True, True, 2]


async def test_an_exchange_that_began_before_a_pause_is_captured_whole(home: Path) -> None:
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url) as running, running.client() as client:
        body = prompt("before")

        async def slowly():
            yield body[:10]
            with trio.fail_after(PATIENCE):  # a pause may be quicker than a head on its way
                while running.service.health()["proxy"]["exchanges"] != 1:  # noqa: ASYNC110
                    await trio.sleep(0.01)
            await trio.to_thread.run_sync(command, "pause", "--home", home)
            yield body[10:]

        answer = await client.post(
            "/v1/messages", content=slowly(), headers={"content-type": "application/json", "x-api-key": "dummy"}
        )
        assert answer.status_code == 200
        await wait_captured(home, 1)
    (pair,) = captured(home)
    assert pair.body == prompt("before")
    assert pair.whole.status_code == 200


async def test_what_an_excluded_directory_asks_is_relayed_and_not_stored(home: Path) -> None:
    """The session's other requests too: a count before it says where it is, telemetry after."""
    async with mocking(always(text("hi"))) as mock:
        async with (
            serving(home, mock.url, recorder="process", exclude_projects=["/home/robin"]) as running,
            running.client() as client,
        ):
            count = json.dumps({"model": "m", "messages": [{"role": "user", "content": SECRET}]}).encode()
            await send(client, "POST", "/v1/messages/count_tokens", count, **SESSION)
            for turn in demo_conversation()[:3]:
                assert (await ask(client, turn.body, **SESSION)).status_code == 200
            await send(client, "POST", "/api/event_logging/batch", b"{}", **SESSION)
            await told(client, "elsewhere")
            with trio.fail_after(30):
                while True:
                    recorder = (await health(running))["recorder"]
                    assert isinstance(recorder, dict)
                    if (
                        recorder.get("excluded", 0) >= 4 and recorder["stored"] >= 1
                    ):  # the count may have been stored first
                        break
                    await trio.sleep(0.02)
        assert len(mock.received) == 6
    (pair,) = captured(home)
    assert b"elsewhere" in pair.body
    left = on_disk(home)
    assert b"herbarium" not in left
    assert SECRET.encode() not in left
