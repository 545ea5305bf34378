"""What no single message shows: answers that come early, bodies that come late, requests that come in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from claudeproxy.proxy.relay import MAX_INFORMATIONAL
from tests.hygiene.answers import POISON
from tests.hygiene.parts import SMUGGLED
from tests.hygiene.support import PROBE, Recording, site
from tests.support.strict_http import read_response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD = b"POST @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n"


@pytest.mark.parametrize("way", ["reverse", "connect+tls"])
async def test_a_server_that_ignores_lengths_answers_a_hidden_request_to_nobody(way: str, upstream_ca: Path) -> None:
    """It answers the head at once, takes the body for a second request, and answers that when the next one comes."""
    answered, first = trio.Event(), True

    async def script(wire: Wire) -> None:
        nonlocal first
        if first:
            first = False
            await wire.read_head()
            await wire.send(OK)
            answered.set()
            await wire.read_until(SMUGGLED)
            await wire.read_head()  # never comes by this connection
            await wire.send(POISON)
        while True:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(PROBE), PROBE))

    async with site(way, script, upstream_ca) as here:
        client = await here.enter()
        await client.send(here.fill(HEAD) + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED))
        await answered.wait()
        assert (await client.read_until(b"ok")).endswith(OK)
        await client.send(SMUGGLED)
        other = await here.enter()
        for one in (client, other):
            answer, _ = read_response(await here.ask(one))
            assert answer.body == PROBE
        assert here.upstream.connections == 2
        first_record = (await here.proxy.tap.ended(3))[0]
        assert first_record.end_value.early_response
        assert first_record.request == SMUGGLED


@pytest.mark.parametrize("way", ["reverse", "connect+tls"])
async def test_who_waits_for_a_100_and_gets_an_answer_is_told_that_the_connection_ends(
    way: str, upstream_ca: Path
) -> None:
    """Whether its next bytes are the body or a request cannot be known."""

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(OK)
        await wire.wait_gone()

    async with site(way, script, upstream_ca) as here:
        client = await here.enter()
        await client.send(here.fill(HEAD) + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED))
        head, body = await client.read_message()
        assert b"\r\nConnection: close\r\n" in head
        assert body == b"ok"
        await client.send(SMUGGLED)
        assert await client.read_to_end() == b""
        assert here.upstream.connections == 1
        assert (await here.proxy.tap.only()).end_value.state is State.COMPLETE


async def test_a_thousand_informational_answers_are_passed_on_and_no_more(upstream_ca: Path) -> None:
    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INFORMATIONAL + OK)
        await wire.wait_gone()

    async with site("reverse", script, upstream_ca) as here:
        client = await here.enter()
        answer = await here.ask(client)
        assert answer.startswith(b"HTTP/1.1 102 ")
        assert (await client.read_until(b"ok")).count(b"HTTP/1.1 102 ") == MAX_INFORMATIONAL - 1
        assert len((await here.proxy.tap.only()).informational) == MAX_INFORMATIONAL


async def test_bytes_that_come_one_by_one_are_the_same_requests(upstream_ca: Path) -> None:
    upstream = Recording()
    async with site("reverse", upstream.script, upstream_ca) as here:
        client = await here.enter()
        chunks = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        sent = here.fill(HEAD + chunks + HEAD + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED)
        for at in range(len(sent)):
            await client.send(sent[at : at + 1])
        for _ in range(2):
            await client.read_message()
        assert [request.body for request in upstream.requests] == [SMUGGLED, SMUGGLED]
        assert [request.framing for request in upstream.requests] == ["chunked", "length"]
