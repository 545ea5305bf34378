"""What other people's clients see of an exchange, and the record of it; faults on the wire are in tests/integrity."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from claudeproxy.testing import (
    always,
    overloaded,
    rate_limited,
    server_error,
    text,
)
from tests.support.service import ask, captured, mocking, prompt, raw, send, serving

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.testing.replies import Answer
    from tests.support.service import Mode


@pytest.mark.parametrize("mode", ["reverse", "connect"])
@pytest.mark.parametrize(
    ("answer", "status", "error_type"),
    [
        (text("fine"), 200, None),
        (rate_limited(), 429, "rate_limit_error"),
        (server_error(), 500, "api_error"),
        (overloaded(), 529, "overloaded_error"),
    ],
)
async def test_every_status_reaches_the_client_and_the_record(
    home: Path, mode: Mode, answer: Answer, status: int, error_type: str | None
) -> None:
    async with mocking(always(answer)) as mock, serving(home, mock.url) as running:
        async with running.client(mode) as client:
            response = await ask(client, prompt("hello"))
    assert response.status_code == status
    (pair,) = captured(home)
    assert pair.request.state is State.COMPLETE
    assert pair.whole.status_code == status
    assert pair.whole.error_type == error_type
    assert pair.whole.origin == "upstream"
    assert pair.answer == raw(response)
    assert pair.whole.request_id_header == response.headers["request-id"]
    if status == 429:
        assert response.headers["retry-after"] == dict(pair.whole.headers)["retry-after"] == "1"


@pytest.mark.parametrize("mode", ["reverse", "connect"])
async def test_an_upstream_that_is_down_is_a_502_in_the_apis_own_shape(home: Path, mode: Mode) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with serving(home, f"http://127.0.0.1:{port}") as running, running.client(mode) as client:
        response = await ask(client, prompt("hello"))
    assert response.status_code == 502
    said = json.loads(raw(response))
    assert (said["type"], said["error"]["type"]) == ("error", "api_error")
    assert said["error"]["message"].startswith("claudeproxy: no answer from the upstream (refused)")
    (pair,) = captured(home)
    assert (pair.request.state, pair.request.error_kind) == (State.UPSTREAM_ERROR, "refused")
    assert (pair.whole.status_code, pair.whole.origin) == (502, "proxy")
    assert pair.answer == raw(response)
    assert pair.body == prompt("hello")


async def test_what_is_unknown_passes_through_and_is_recorded(home: Path) -> None:
    """HEAD /, count_tokens, an endpoint of the future, a telemetry path: forwarded as they are."""
    async with mocking(always(text("hi"))) as mock, serving(home, mock.url) as running:
        async with running.client("connect") as client:
            head = await send(client, "HEAD", "/")
            count = await send(client, "POST", "/v1/messages/count_tokens?beta=true", prompt("count me"))
            future = await send(client, "PATCH", "/v9/thoughts/7?deep=yes", b'{"think": "hard"}')
            telemetry = await send(client, "POST", "/api/event_logging/v2/batch", b'{"who": "me"}')
        seen = [(request.method, request.target, request.body) for request in mock.received]
    assert seen == [
        ("HEAD", "/", b""),
        ("POST", "/v1/messages/count_tokens?beta=true", prompt("count me")),
        ("PATCH", "/v9/thoughts/7?deep=yes", b'{"think": "hard"}'),
        ("POST", "/api/event_logging/v2/batch", b'{"who": "me"}'),
    ]
    assert (head.status_code, raw(head)) == (200, b"")
    assert json.loads(raw(count))["input_tokens"] > 0
    assert future.status_code == telemetry.status_code == 404
    pairs = captured(home)
    assert [(pair.request.method, pair.request.url) for pair in pairs] == [
        (method, f"https://api.anthropic.com{target}") for method, target, _ in seen
    ]
    assert [pair.request.body_kept for pair in pairs] == ["empty", "whole", "policy", "policy"]
    assert pairs[1].body == prompt("count me")
    assert pairs[1].request.total_tokens
    assert pairs[3].body == b""
