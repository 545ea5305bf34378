"""Every trick of the corpus, sent by hand through the proxy to an upstream that keeps what it got."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest
import trio

from claudeproxy.model import State
from tests.hygiene.requests import TRICKS
from tests.hygiene.support import PROBE, Recording, Site, site
from tests.hygiene.trick import WAYS, Outcome, Trick, Verdict
from tests.support.strict_http import Message, NotHTTPError, read_request, read_response

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.wire import Wire

CASES = [pytest.param(way, trick, id=f"{way}-{trick.name}") for trick in TRICKS for way in trick.ways]


@pytest.mark.parametrize(("way", "trick"), CASES)
async def test_a_trick_is_refused_or_read_by_everybody_as_the_proxy_read_it(
    way: str, trick: Trick, upstream_ca: Path
) -> None:
    upstream = Recording()
    async with site(way, upstream.script, upstream_ca) as here:
        outcome = trick.elsewhere.get(way, trick.outcome)
        client = await here.enter()
        await _send(client, here.fill(trick.sent))
        if outcome.verdict is Verdict.PASSED:
            await _check_answers(client, outcome)
        else:
            await _check_refusal(client, outcome)
        sent_on = [bytes(one) for one in upstream.received]
        await _check_records(here, outcome)
        await _check_probe(here)
        assert not any(b"/smuggled" in request.start[1] for request in upstream.requests)
        if outcome.verdict is Verdict.REFUSED:
            assert sent_on == []
        elif outcome.verdict is Verdict.BROKEN:
            _check_incomplete(sent_on)
            assert len(upstream.requests) == 1  # the probe
        else:
            _check_sent_on(here, outcome, b"".join(sent_on))


async def _send(client: Wire, data: bytes) -> None:
    try:
        await client.send(data)
    except trio.BrokenResourceError:
        return  # refused before it was sent to its end


async def _check_answers(client: Wire, outcome: Outcome) -> None:
    for _ in outcome.bodies:
        head, _ = await client.read_message()
        assert head.startswith(b"HTTP/1.1 200 ")


async def _check_refusal(client: Wire, outcome: Outcome) -> None:
    """One answer of ours and the end: what follows a request that was refused is no request."""
    answer, rest = read_response(await client.read_to_end())
    assert rest == b""
    assert int(answer.start[0]) == outcome.status
    assert answer.values(b"connection") == [b"close"]
    assert b"claudeproxy: " in answer.body


def _check_incomplete(sent_on: list[bytes]) -> None:
    for data in sent_on:
        with pytest.raises(NotHTTPError):
            read_request(data)
        assert b"/smuggled" not in data


async def _check_records(here: Site, outcome: Outcome) -> None:
    count = {Verdict.REFUSED: 0, Verdict.BROKEN: 1, Verdict.PASSED: len(outcome.bodies)}[outcome.verdict]
    records = await here.proxy.tap.ended(count)
    ends = [record.end_value for record in records]
    if outcome.verdict is Verdict.BROKEN:
        assert [(end.state, end.error_kind) for end in ends] == [(State.ABORTED_BY_CLIENT, "protocol")]
        assert records[0].head is not None
        assert records[0].head.origin == "proxy"
    else:
        assert {end.state for end in ends} <= {State.COMPLETE}
        assert [record.request for record in records] == [*outcome.bodies][: len(records)]


async def _check_probe(here: Site) -> None:
    """The next request, by another connection, gets its own answer."""
    probe = await here.enter()
    answer, rest = read_response(await here.ask(probe))
    assert (answer.start[0], answer.body, rest) == (b"200", PROBE, b"")


def _check_sent_on(here: Site, outcome: Outcome, data: bytes) -> None:
    """Byte by byte what the upstream got: as many requests as there were, the same ones for three readers."""
    rest, messages = data, []
    while rest:
        message, rest = read_request(rest)
        messages.append(message)
    assert [message.body for message in messages] == list(outcome.bodies)
    assert messages[0].framing == outcome.framing
    assert _as_h11_reads(data) == [(m.start[0], m.start[1], m.body) for m in messages]
    first = messages[0]
    assert first.values(b"host") == [here.origin.encode()]
    lines = {name.lower() + b": " + value for name, value in first.fields}
    assert set(outcome.has) <= lines
    assert not {name.lower() for name, _ in first.fields} & set(outcome.lacks)
    _check_nothing_of_one_hop(first)


def _check_nothing_of_one_hop(message: Message) -> None:
    names = {name.lower() for name, _ in message.fields}
    assert not names & {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade"}


def _as_h11_reads(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    found: list[tuple[bytes, bytes, bytes]] = []
    while True:
        event = server.next_event()
        if isinstance(event, h11.Request):
            found.append((event.method, event.target, b""))
        elif isinstance(event, h11.Data):
            method, target, body = found[-1]
            found[-1] = (method, target, body + event.data)
        elif isinstance(event, h11.EndOfMessage):
            server.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            server.send(h11.EndOfMessage())
            server.start_next_cycle()
        else:
            assert event is h11.NEED_DATA
            return found


def test_every_way_in_is_tried() -> None:
    assert {way for trick in TRICKS for way in trick.ways} == set(WAYS)
    assert len({trick.name for trick in TRICKS}) == len(TRICKS)
