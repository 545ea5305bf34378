"""The client goes away, or breaks its own request: at every point of an exchange, in every way into the proxy."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.integrity.drive import LIMIT, Fault, asks, drive, each, goes_on, leaves, named, politely
from tests.integrity.house import WAYS
from tests.support.faulty_client import Seen, Ways, send_until_stuck
from tests.support.faulty_upstream import LAST_CHUNK, chunk, head, message, reads_and_waits, reads_no_further, says
from tests.support.service import prompt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.integrity.drive import Client, Scene
    from tests.support.faulty_client import Farewell
    from tests.support.faulty_upstream import Meeting, Script
    from tests.support.wire import Wire

EVENTS = message("One word after the other")
BEGUN = b"".join(EVENTS[:4])
WHOLE = b"".join(EVENTS)

PARTIAL = "`aborted_by_client` (client_closed); request partial"
GONE = "`aborted_by_client` (client_closed); request whole"
LARGE = prompt("x" * 32_000_000)


def floods(meeting: Meeting) -> Script:
    """Send events to a client that reads none, until no more are taken."""

    async def script(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(head(stream=True) + chunk(BEGUN))
        meeting.answer = BEGUN + b": filling\n\n" * 6000 * 1000
        await send_until_stuck(wire, chunk(b": filling\n\n" * 6000) * 1000)
        meeting.reached.set()
        with suppress(trio.BrokenResourceError):
            while await wire.raw.receive_some():  # below TLS, which a send that was given up has broken
                pass
        meeting.gone_at = time.monotonic()
        meeting.gone.set()

    return script


def ends(how: Farewell) -> list[Fault]:
    """The points of an exchange at which a client can go."""
    return [
        Fault(
            words=f"{how} before a request",
            upstream=says(),
            client=leaves(how, "before a request"),
            sees="no answer",
            record=None,
        ),
        Fault(
            words=f"{how} in the head of a request",
            upstream=says(),
            client=leaves(how, "in its head"),
            sees="no answer",
            record=None,
        ),
        Fault(
            words=f"{how} in the body of a request",
            upstream=reads_and_waits(count=20),
            client=leaves(how, "in its body"),
            sees="no answer",
            record=f"{PARTIAL}; no response",
            hears=True,
        ),
        Fault(
            words=f"{how} in the body of a request, while the upstream takes no more"
            + (": heard when it does" if how == "closes" else ""),
            upstream=reads_no_further,
            client=leaves(how, "in its body, the upstream taking no more"),
            body=LARGE,
            sees="no answer",
            record=f"{PARTIAL}; no response",
        ),
        Fault(
            words=f"{how} while the answer is awaited",
            upstream=reads_and_waits(),
            client=leaves(how, "before the answer"),
            sees="no answer",
            record=f"{GONE}; no response",
            hears=True,
        ),
        Fault(
            words=f"{how} in the answer",
            upstream=says(head(stream=True) + chunk(BEGUN), BEGUN),
            client=leaves(how, "in the answer"),
            sees="200 and 4 events",
            record=f"{GONE}; response 200 partial; usage 25 in, 1 out",
            hears=True,
        ),
        Fault(
            words=f"{how} without reading the answer",
            upstream=floods,
            client=leaves(how, "without reading the answer"),
            sees="no answer",
            record=f"{GONE}; response 200 partial; usage 25 in, 1 out",
            hears=True,
        ),
        Fault(
            words=f"{how} after the answer",
            upstream=says(head(stream=True) + chunk(WHOLE) + LAST_CHUNK, WHOLE),
            client=leaves(how, "after the answer"),
            sees="200",
            record="`complete`; request whole; response 200 whole; usage 25 in, 5 out",
        ),
    ]


@pytest.mark.parametrize(("fault", "mode"), each([*ends("closes"), *ends("resets")]), ids=named)
async def test_a_client_that_leaves_is_recorded_with_what_came(fault: Fault, mode: str, scene: Scene) -> None:
    await drive(fault, mode, "Client", scene)


async def half_closes(client: Client) -> Seen:
    """Send the whole request and end the sending half, as `nc -N` does."""
    await client.wire.send(client.request)
    await client.meeting.reached.wait()
    client.meeting.left_at = time.monotonic()
    await client.wire.raw.send_eof()
    return await client.reader().run()


def sends_chunks(*pieces: bytes) -> Callable[[Client], Awaitable[Seen]]:
    """Send a chunked body: the first piece with the head, each further one when the upstream has what came before."""

    async def client(client: Client) -> Seen:
        head = f"POST {client.target} HTTP/1.1\r\nHost: {client.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        await client.wire.send(head.encode() + pieces[0])
        for piece in pieces[1:]:
            await client.meeting.reached.wait()
            await client.wire.send(piece)
        return await client.reader().run()

    return client


MALFORMED = "`aborted_by_client` (protocol); request partial; response 400 of the proxy whole"
OTHERS = [
    Fault(
        words="ends its sending half while the answer is awaited: taken for leaving",
        upstream=reads_and_waits(),
        client=half_closes,
        sees="its connection closed",
        record=f"{GONE}; no response",
        hears=True,
    ),
    Fault(
        words="sends a malformed chunk in the same segment as the head",
        upstream=says(),
        client=sends_chunks(chunk(b"sound") + b" 5\r\nwrong\r\n"),
        body=b"sound",
        sees="400 from the proxy",
        record=MALFORMED,
    ),
    Fault(
        words="sends a malformed chunk later",
        upstream=says(after="head"),
        client=sends_chunks(chunk(b"sound"), chunk(b", still sound") + b"0x5\r\nwrong\r\n"),
        body=b"sound, still sound",
        sees="400 from the proxy",
        record=MALFORMED,
    ),
]


@pytest.mark.parametrize(("fault", "mode"), each(OTHERS), ids=named)
async def test_a_client_that_breaks_the_protocol_is_told_and_recorded(fault: Fault, mode: str, scene: Scene) -> None:
    record = await drive(fault, mode, "Client", scene)
    assert record is not None
    assert record.body == fault.body


@pytest.mark.parametrize("mode", ["connect", "tls", "connect in tls"])
async def test_a_client_that_distrusts_the_authority_leaves_no_record_and_harms_nobody(mode: str, scene: Scene) -> None:
    fault = Fault(words="does not trust the certificate", upstream=says(), client=asks, sees="", record=None)
    mark = f"fault={named(fault)}&mode={named(mode)}"
    distrusting = Ways(scene.house.running.proxy, ssl.create_default_context)
    with trio.fail_after(LIMIT):
        with pytest.raises(trio.BrokenResourceError) as raised:
            await distrusting.enter(WAYS[mode], f"/v1/messages?{mark}")
        await distrusting.close()
        async with scene.behaving(politely):
            proxy = await goes_on(scene, mode, mark, fault)
    assert proxy == "goes on"
    assert await scene.house.records(mark, 0) == []
    cause = raised.value.__cause__
    assert isinstance(cause, ssl.SSLCertVerificationError)
    scene.row("Client", fault.words, mode, client=cause.verify_message, record="none", proxy=proxy)
