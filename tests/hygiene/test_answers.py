"""Every trick of an upstream: what its client gets, and that the next client gets nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest
import trio

from claudeproxy.model import State
from tests.hygiene.answers import TRICKS
from tests.hygiene.support import PROBE, Site, site
from tests.hygiene.trick import AnswerTrick, Reply
from tests.support.strict_http import Message, NotHTTPError, read_response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.wire import Wire

WAYS = ("reverse", "connect+tls")


class Trickster:
    """Answers the first request as the trick says, every later one cleanly."""

    def __init__(self, trick: AnswerTrick) -> None:
        self._trick = trick
        self._first = True
        self.go_on = trio.Event()  # the client has its answer
        self.done = trio.Event()  # what comes later is out

    async def script(self, wire: Wire) -> None:
        if self._first:
            self._first = False
            await wire.read_head()
            await wire.send(self._trick.answer)
            if self._trick.closes:
                return
            if self._trick.later:
                await self.go_on.wait()
                try:
                    await wire.send(self._trick.later)
                finally:
                    self.done.set()
        while True:
            head, _ = await wire.read_message()
            target = head.split(b" ")[1]
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


@pytest.mark.parametrize(
    ("way", "trick"), [pytest.param(way, trick, id=f"{way}-{trick.name}") for trick in TRICKS for way in WAYS]
)
async def test_a_trick_of_the_upstream_reaches_nobody_but_its_own_client(
    way: str, trick: AnswerTrick, upstream_ca: Path
) -> None:
    upstream = Trickster(trick)
    async with site(way, upstream.script, upstream_ca) as here:
        client = await here.enter()
        await client.send(here.fill(trick.method.encode() + b" @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n"))
        kept = await _check_client(client, trick)
        record = await here.proxy.tap.only()
        states = {Reply.PASSED: State.COMPLETE, Reply.CUT: State.CUT_BY_UPSTREAM, Reply.REFUSED: State.UPSTREAM_ERROR}
        assert record.end_value.state is states[trick.reply]
        assert record.end_value.error_kind in (None, "protocol", "closed")
        upstream.go_on.set()
        if trick.later:
            await upstream.done.wait()
            await _arrived(here)
        other = await here.enter()
        for one in [client, other] if kept else [other]:
            answer, rest = read_response(await here.ask(one))
            assert (answer.body, rest) == (PROBE, b"")
        assert here.upstream.connections == (1 if trick.reused else 2)


async def _arrived(here: Site) -> None:
    """Wait until what the upstream sent unasked can be read by the proxy, or its connection was closed already."""
    pool = here.proxy.server._context.pool
    with trio.fail_after(5):
        while any(not idle.is_stale() for group in pool._idle.values() for idle in group):  # noqa: ASYNC110
            await trio.sleep(0.001)  # a socket's buffer has no event


async def _check_client(client: Wire, trick: AnswerTrick) -> bool:
    """Judge what the client gets; whether its connection goes on."""
    if trick.reply is Reply.PASSED:
        return await _check_passed(client, trick)
    try:
        data = await client.read_to_end()
    except trio.BrokenResourceError:  # reset: what came is not taken for whole
        assert trick.reply is Reply.CUT
        return False
    while data.startswith(b"HTTP/1.1 103 "):
        data = data.partition(b"\r\n\r\n")[2]
    if trick.reply is Reply.CUT:
        with pytest.raises(NotHTTPError):
            read_response(data)
        assert b"poisoned" not in data
        return False
    answer, rest = read_response(data)
    assert (answer.start[0], rest) == (b"502", b"")
    assert answer.values(b"connection") == [b"close"]
    return False


async def _check_passed(client: Wire, trick: AnswerTrick) -> bool:
    head = await client.read_head()
    while head.startswith(b"HTTP/1.1 103 "):
        assert b"content-length" not in head.lower()
        head = await client.read_head()
    closes = b"\r\nConnection: close\r\n" in head
    if closes:
        data = head + await client.read_to_end()
    elif b"chunked" in head and trick.method != "HEAD":
        data = head + await client.read_until(b"0\r\n\r\n")
    else:
        data = head + await client.read_exactly(len(trick.body))
    answer, rest = read_response(data, method=trick.method)
    assert (answer.body, rest) == (trick.body, b"")
    assert _as_h11_reads(data, trick.method) == trick.body
    _check_fields(answer, trick)
    return not closes


def _check_fields(answer: Message, trick: AnswerTrick) -> None:
    names = {name.lower() for name, _ in answer.fields}
    assert not names & set(trick.lacks)
    assert set(trick.has) <= {name.lower() + b": " + value for name, value in answer.fields}
    assert not names & {b"keep-alive", b"upgrade", b"proxy-authenticate", b"te"}


def _as_h11_reads(data: bytes, method: str) -> bytes:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Data):
            body += event.data
    return body
