"""One request for a size for each new model and set of tools, with the caller's key, and nobody waits for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.capture.pause import PauseFile
from claudeproxy.model import Accuracy, EntryMode
from claudeproxy.proxy.calibration import count_request
from claudeproxy.testing import ErrorReply, always, text
from tests.support.service import KEY, PATIENCE, ask, captured, mocking, prompt, send, serving, wait_captured

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.testing import MockUpstream, ReceivedRequest

TOOLS = [{"name": "Read", "description": "Reads a file. " * 30, "input_schema": {"type": "object"}}]
COUNT = "/v1/messages/count_tokens?beta=true"


def counts(mock: MockUpstream) -> list[ReceivedRequest]:
    return [one for one in mock.received if "count_tokens" in one.target]


async def reached(mock: MockUpstream, number: int) -> None:
    """Wait for one of all requests that reach the API, ours among them."""
    with trio.fail_after(PATIENCE):
        await mock.wait_request(number)


@pytest.mark.parametrize("mode", ["reverse", "connect"])
async def test_a_new_model_or_set_of_tools_is_asked_for_once(tmp_path: Path, mode) -> None:
    home = tmp_path / "home"
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, calibrate=True) as running:
        async with running.client(mode) as client:
            await ask(client, prompt("my secret plan", tools=TOOLS))
            await reached(mock, 2)
            await ask(client, prompt("and on", tools=TOOLS, system="Another day."))
            await ask(client, prompt("another", model="claude-haiku-4-5", tools=TOOLS))
            await reached(mock, 5)
        await wait_captured(home, 5)
    pairs = captured(home)
    ours = [pair for pair in pairs if pair.request.entry_mode is EntryMode.CALIBRATION]
    assert [json.loads(pair.body)["model"] for pair in ours] == ["claude-opus-5-5", "claude-haiku-4-5"]
    for pair, request in zip(ours, counts(mock), strict=True):
        assert request.target == COUNT
        assert dict(request.headers)[b"x-api-key"] == KEY.encode()
        assert dict(pair.request.headers)["x-api-key"] == "[REDACTED]"
        asked = json.loads(pair.body)
        assert (asked["tools"], asked["system"]) == (TOOLS, "Answer briefly.")
        assert asked["messages"] == [{"role": "user", "content": "."}]
        assert (pair.request.identity.request_class, pair.request.accuracy) == ("count_tokens", Accuracy.EXACT)
        assert pair.request.total_tokens == json.loads(pair.answer)["input_tokens"]


async def test_what_it_learns_sizes_the_next_prompt(tmp_path: Path) -> None:
    found = count_request(prompt("go", tools=TOOLS))
    assert found is not None
    ledger = TokenLedger("claude-opus-5-5")
    before = ledger.predict(prompt("go", tools=TOOLS))
    ledger.observe_count(found[1], 2 * ledger.predict(found[1]).total)
    assert ledger.predict(prompt("go", tools=TOOLS)).total > 1.5 * before.total


async def test_without_the_key_nothing_is_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url) as running:
        async with running.client() as client:
            await ask(client, prompt("go", tools=TOOLS))
        await wait_captured(home, 1)
    assert counts(mock) == []


@pytest.mark.parametrize("key", ["enabled", "capture_enabled"])
async def test_where_nothing_is_captured_nothing_is_asked(tmp_path: Path, key: str) -> None:
    off = {key: False}
    async with mocking(always(text("hi"))) as mock, serving(tmp_path, mock.url, calibrate=True, **off) as running:
        async with running.client() as client:
            await ask(client, prompt("go", tools=TOOLS))
            await ask(client, prompt("go on", tools=TOOLS))
    assert counts(mock) == []


async def test_while_capture_is_paused_nothing_is_asked_and_after_it_what_comes_then(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url, calibrate=True) as running:
        pause = PauseFile(_pause_file(home))
        pause.pause(now=1, until=None)
        async with running.client() as client:
            await ask(client, prompt("go", tools=TOOLS))
            pause.resume()
            await ask(client, prompt("go on", model="claude-haiku-4-5", tools=TOOLS))
            await reached(mock, 3)
        await wait_captured(home, 2)
    assert [json.loads(request.body)["model"] for request in counts(mock)] == ["claude-haiku-4-5"]


def _pause_file(home: Path) -> Path:
    from claudeproxy.config.home import Home

    return Home(path=home).pause_file


async def test_of_what_failed_or_is_no_message_nothing_is_asked(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refusing = always(ErrorReply(status_code=529, error_type="overloaded_error", message="no"))
    async with mocking(refusing) as mock, serving(home, mock.url, calibrate=True) as running:
        async with running.client() as client:
            await ask(client, prompt("go", tools=TOOLS))
            await send(client, "GET", "/v1/models")
        await wait_captured(home, 2)
    assert counts(mock) == []


def test_of_a_body_that_is_no_request_there_is_no_size():
    assert count_request(b"junk") is count_request(b"{}") is count_request(b"\xff") is None
    bare = count_request(b'{"model":"m","messages":[]}')
    assert bare is not None
    assert json.loads(bare[1]) == {"model": "m", "messages": [{"role": "user", "content": "."}]}


def test_it_is_known_by_its_model_and_tools_and_not_by_its_system_prompt():
    keys = [
        (count_request(prompt("x", **more)) or (b"",))[0]
        for more in ({}, {"system": "y"}, {"tools": TOOLS}, {"model": "m"})
    ]
    assert keys[0] == keys[1]
    assert len({*keys}) == 3
