"""Where an exchange's time went: `latency_ms` is the upstream's, `proxy_latency_ms` is ours, and neither is both."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.support.service import ask, captured, prompt, serving, wait_captured

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DELAY = 0.4  # seconds
SLACK_US = 150_000  # between the instants of two tasks on a machine that does other things too

ANSWER = b'{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)


@asynccontextmanager
async def slow_upstream(thinking: list[float]) -> AsyncIterator[str]:
    """An upstream that thinks for `DELAY` seconds; how long each request really waited is put into the list."""

    async def answer(stream: trio.SocketStream) -> None:
        request = b""
        while b'"stream": false}' not in request:  # the end of the body that `prompt` makes
            request += await stream.receive_some()
        had = time.perf_counter()
        await trio.sleep(DELAY)
        thinking.append(time.perf_counter() - had)
        await stream.send_all(HEAD + ANSWER)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mode", ["reverse", "connect"])
async def test_the_upstreams_delay_is_latency_and_none_of_it_is_ours(home: Path, mode: str) -> None:
    thinking: list[float] = []
    async with slow_upstream(thinking) as url, serving(home, url) as running:
        async with running.client(mode) as client:
            began = time.perf_counter()
            await ask(client, prompt("take your time"))
            elapsed_us = (time.perf_counter() - began) * 1e6
        await wait_captured(home, 1)
    (pair,) = captured(home)
    response, instants = pair.whole, pair.request.instants
    assert response.latency_us is not None
    assert response.latency_us >= thinking[0] * 1e6 - SLACK_US
    assert response.latency_us + response.proxy_latency_us + pair.request.connect_us <= elapsed_us
    assert response.proxy_latency_us <= elapsed_us - thinking[0] * 1e6 + SLACK_US
    assert response.latency_ms == round(response.latency_us / 1000)
    # The five instants, in their order.
    assert instants.request_initiated <= (instants.proxy_received or 0) <= (instants.forwarded or 0)
    assert (instants.forwarded or 0) < (instants.response_received or 0) <= (instants.delivered or 0)
