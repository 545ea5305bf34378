"""WebSocket upgrades on intercepted hosts: relayed byte for byte, recorded as a 101."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from tests.proxy.support import OK, request, running_proxy
from tests.support.raw_upstream import answering, raw_upstream

if TYPE_CHECKING:
    from tests.support.wire import Wire

FIELDS = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA==\r\n"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


@pytest.mark.parametrize("mode", ["connect+tls", "reverse"])
async def test_frames_go_both_ways_byte_for_byte_until_both_sides_are_through(mode: str) -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(SWITCH + b"\x81\x05hello")
        seen.append(await wire.read_exactly(11))
        await wire.send(b"\x88\x00")
        await wire.raw.send_eof()
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter(mode, "/v1/socket")
        await client.send(request("GET", target, host, fields=FIELDS))
        assert await client.read_head() == SWITCH
        assert await client.read_exactly(7) == b"\x81\x05hello"
        await client.send(b"\x81\x85mask!byte")
        await client.send(b"s")
        assert await client.read_to_end() == b"\x88\x00"
        await client.aclose()
        recorded = await proxy.tap.only()
        assert recorded.head is not None
        assert recorded.head.status_code == 101
        assert recorded.request == recorded.response == b""
        assert recorded.sent == b"\x81\x85mask!bytes"
        assert recorded.received == b"\x81\x05hello\x88\x00"
        assert recorded.end_value.state is State.COMPLETE
    assert b"Upgrade: websocket\r\n" in seen[0]
    assert b"Connection: Upgrade\r\n" in seen[0]
    assert seen[1] == b"\x81\x85mask!bytes"[:11]


async def test_a_refused_upgrade_is_an_answer_like_any_other() -> None:
    async with raw_upstream(answering(OK, OK)) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/socket")
        for _ in range(2):
            await client.send(request("GET", target, host, fields=FIELDS))
            assert await client.read_exactly(len(OK)) == OK


async def test_another_upgrade_is_not_passed_on() -> None:
    seen: list[bytes] = []

    async def script(wire: Wire) -> None:
        seen.append(await wire.read_head())
        await wire.send(OK)
        await wire.wait_gone()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/models")
        fields = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
        await client.send(request("GET", target, host, fields=fields))
        assert await client.read_exactly(len(OK)) == OK
    assert b"pgrade" not in seen[0]
    assert b"HTTP2" not in seen[0]


@pytest.mark.parametrize(("side", "state"), [("client", State.ABORTED_BY_CLIENT), ("upstream", State.CUT_BY_UPSTREAM)])
async def test_a_reset_says_whose_it_was_and_resets_the_other_side(side: str, state: State) -> None:
    goes, upstream_gone = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(SWITCH)
        if side == "upstream":
            await goes.wait()
            await wire.reset()
        else:
            await wire.wait_gone()
        upstream_gone.set()

    async with raw_upstream(script) as upstream, running_proxy(upstream.url) as proxy:
        client, target, host = await proxy.enter("reverse", "/v1/socket")
        await client.send(request("GET", target, host, fields=FIELDS))
        await client.read_head()
        goes.set()
        if side == "client":
            await client.reset()
        else:
            with pytest.raises(trio.BrokenResourceError):
                await client.read_to_end()
        await upstream_gone.wait()
        assert (await proxy.tap.only()).end_value.state is state
