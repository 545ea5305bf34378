"""The books of one exchange: instants stay in order, whichever task has its turn first."""

from __future__ import annotations

import time
from typing import cast

import pytest
import trio
import trio.testing

from claudeproxy.model import EntryMode, Origin, State
from claudeproxy.proxy.entry import Route
from claudeproxy.proxy.exchange import Exchange
from claudeproxy.proxy.upstream import UpstreamConnection
from claudeproxy.sansio.headers import RequestHead
from tests.proxy.support import MemoryTap

ORIGIN = Origin(scheme="https", host="api.anthropic.com", port=443)
HEAD = RequestHead(
    method="POST", target="/v1/messages", http_version="1.1", headers=((b"Host", b"x"), (b"Content-Length", b"4"))
)
ROUTE = Route(
    mode=EntryMode.CONNECT,
    origin=ORIGIN,
    target="/v1/messages",
    url="https://api.anthropic.com/v1/messages",
    upstream_url="https://api.anthropic.com/v1/messages",
    record=True,
    host=None,
)


@pytest.mark.parametrize("early", [False, True])
async def test_an_answer_that_is_read_before_the_sender_has_its_turn_again_is_not_early(early: bool) -> None:
    """Giving the last byte away and noting it are apart by a turn of the loop, in which the answer may be read.

    An answer that came before the last piece was given is early all the same.
    """
    tap = MemoryTap()
    now = time.monotonic_ns()
    exchange = Exchange(HEAD, ROUTE, tap, begun=now, now=now)
    sending, peer = trio.testing.memory_stream_pair()
    exchange.upstream = UpstreamConnection(ORIGIN, sending, cast("trio.SocketStream", sending))
    await exchange.send_head()
    wire, _ = exchange.take(b"body", time.monotonic_ns())
    if early:
        exchange.response_received = time.monotonic_ns()

    arrive = sending.send_stream.send_all_hook
    assert arrive is not None

    async def answer_is_read() -> None:
        await arrive()
        exchange.response_received = exchange.response_received or time.monotonic_ns()
        await trio.lowlevel.checkpoint()

    sending.send_stream.send_all_hook = answer_is_read
    await exchange.send_body(wire, time.monotonic_ns())
    exchange.settle(State.COMPLETE)
    exchange.finish()
    assert (await peer.receive_some()).endswith(b"\r\n\r\n" + b"body")
    end = tap.exchanges[0].end_value
    assert end.early_response is early
    assert end.forwarded is not None
    assert end.response_received is not None
    assert (end.forwarded <= end.response_received) is not early
