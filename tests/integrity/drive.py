"""A fault as a row: what the upstream does, what the client does, and in words what comes of it.

Apart from the tables so that they read as tables. `drive` makes one row real in one way into the proxy and compares
everything: the words, the bytes on both sides with the bytes in the record, the number of records, and whether the
proxy still serves the next client.
"""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from tests.integrity.conftest import COLLECTING
from tests.integrity.house import WAYS
from tests.integrity.page import ENTRY_MODES, measured
from tests.support.faulty_client import AnswerReader, Seen, leave, request, send_until_stuck
from tests.support.faulty_upstream import Behaviour, Meeting, whole
from tests.support.service import prompt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from _pytest.mark.structures import ParameterSet

    from tests.integrity.conftest import SayRow
    from tests.integrity.house import House, Record
    from tests.support.faulty_client import Farewell
    from tests.support.faulty_upstream import FaultyUpstream, Script
    from tests.support.wire import Wire

USUAL_MODES = ("reverse", "connect")
"""The ways in that nearly everybody uses."""

LIMIT = 60.0
"""Seconds for one row in one way in: a bound for failures, nothing waits for it."""

AT_MOST = 2.0
"""Seconds from a client's end to that of the upstream's connection: a bound for failures, 0.1 is what it should be."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """One that has found its way in."""

    meeting: Meeting
    wire: Wire
    target: str
    host: str
    fields: str = ""

    @property
    def head(self) -> bytes:
        fields = f"Host: {self.host}\r\n{self.fields}Content-Length: {len(self.meeting.body)}\r\n"
        return f"POST {self.target} HTTP/1.1\r\n{fields}\r\n".encode()

    @property
    def request(self) -> bytes:
        return self.head + self.meeting.body

    def reader(self) -> AnswerReader:
        """Reads the answer, and tells the upstream when it has seen all that was sent."""

        def tell(seen: Seen) -> None:
            if len(seen.payload) >= len(self.meeting.answer):
                self.meeting.seen.set()

        return AnswerReader(self.wire, on_progress=tell)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row before it is driven. `record` is None where no exchange began."""

    words: str
    upstream: Behaviour
    client: Callable[[Client], Awaitable[Seen]]
    sees: str
    record: str | None
    body: bytes = prompt("hello", stream=True)
    kept: bytes | None = None  # of the request, where it is not `body`: a coding was taken off
    fields: str = ""
    certificate: str = "good"  # one of `Scene.contexts`
    hears: bool = False  # the upstream's connection must end at once, because the client did
    modes: tuple[str, ...] = ENTRY_MODES
    limit: float = LIMIT

    def __str__(self) -> str:
        return self.words


def each(faults: list[Fault]) -> list[ParameterSet]:
    """Every fault in every way in, for `parametrize`: the two that people use in the core tests, the others beside."""
    return [
        pytest.param(fault, mode, marks=() if mode in USUAL_MODES else pytest.mark.heavy)
        for fault in faults
        for mode in fault.modes
    ]


def named(value: object) -> str:
    """The id of a test."""
    return str(value).replace(" ", "-").replace("`", "")


# ---- clients


async def asks(client: Client) -> Seen:
    """Send the request while reading the answer, to its end."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send, client.wire, client.request)
        seen = await client.reader().run()
        nursery.cancel_scope.cancel()
    return seen


async def _send(wire: Wire, data: bytes) -> None:
    try:
        await wire.send(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return  # what it sees of the answer says why


When = Literal[
    "before a request",
    "in its head",
    "in its body",
    "in its body, the upstream taking no more",
    "before the answer",
    "in the answer",
    "without reading the answer",
    "after the answer",
]


def leaves(how: Farewell, when: When) -> Callable[[Client], Awaitable[Seen]]:
    """A client that goes away at some point."""

    async def client(client: Client) -> Seen:
        reader = client.reader()
        await _until(when, client, reader)
        client.meeting.left_at = time.monotonic()
        await leave(client.wire, how)
        if when == "in its body, the upstream taking no more" and how == "closes":
            client.meeting.seen.set()  # its last bytes stand before its FIN: only by taking them it can be heard
        return reader.seen

    return client


async def _until(when: When, client: Client, reader: AnswerReader) -> None:
    meeting, wire = client.meeting, client.wire
    match when:
        case "before a request":
            return
        case "in its head":
            await wire.send(client.head[:40])
        case "in its body":
            await wire.send(client.request[:-20])
            await meeting.reached.wait()
        case "in its body, the upstream taking no more":
            await wire.send(client.head)
            await meeting.reached.wait()
            await send_until_stuck(wire, meeting.body)
        case "before the answer" | "without reading the answer":
            await wire.send(client.request)
            await meeting.reached.wait()
        case "in the answer":
            await wire.send(client.request)
            await reader.run(until=lambda seen: bytes(seen.payload) == meeting.answer != b"")
        case "after the answer":
            await wire.send(client.request)
            await reader.run()


# ---- a row made real


@dataclass(kw_only=True)
class Scene:
    """Where rows are driven: a service and its upstream."""

    house: House
    upstream: FaultyUpstream
    contexts: Mapping[str, ssl.SSLContext | None]  # what the upstream can show for itself; None: it speaks no TLS
    row: SayRow
    down: bool = False  # there is no upstream, and none comes back: the next client is told the same

    def behaving(self, script: Script, certificate: str = "good") -> AbstractAsyncContextManager[object]:
        """The upstream serves `script`, if it is there."""
        return nullcontext() if self.down else self.upstream.behaving(script, tls=self.contexts[certificate])


async def drive(fault: Fault, mode: str, section: str, scene: Scene) -> Record | None:
    """One fault, one way in; says its row. Returns the record for what else is to be looked at."""
    meeting = Meeting(fault.body)
    mark = f"fault={named(fault)}&mode={named(mode)}"
    with trio.fail_after(fault.limit):
        ways = scene.house.ways()
        async with scene.behaving(fault.upstream(meeting), fault.certificate):
            wire, target, host = await ways.enter(WAYS[mode], f"/v1/messages?{mark}")
            client = Client(meeting=meeting, wire=wire, target=target, host=host, fields=fault.fields)
            seen = await fault.client(client)
            await ways.close()
            await scene.house.idle()
            meeting.seen.set()
            if fault.hears:
                await _check_heard(meeting)
        async with scene.behaving(politely):
            proxy = await goes_on(scene, mode, mark, fault)
        records = await scene.house.records(mark, 0 if fault.record is None else 1)
    record = records[0] if records else None
    assert (seen.words, proxy) == (fault.sees, "goes on")
    assert (None if record is None else record.words) == fault.record
    if record is not None:
        check_bytes(meeting, fault, seen, record)
    if fault.hears:
        proxy = f"closes the upstream's connection, {proxy}"
    scene.row(section, fault.words, mode, client=seen.words, record=record.words if record else "none", proxy=proxy)
    return record


async def politely(wire: Wire) -> None:
    while True:
        await wire.read_message()
        await wire.send(whole(b"{}", "200 OK", "Connection: close"))


async def goes_on(scene: Scene, mode: str, mark: str, fault: Fault) -> str:
    """Ask for something ordinary the same way and have it recorded; in words."""
    ways = scene.house.ways()
    wire, target, host = await ways.enter(WAYS[mode], f"/v1/models?{mark}&after")
    await wire.send(request("GET", target, host))
    seen = await AnswerReader(wire, method="GET").run()
    await ways.close()
    (record,) = await scene.house.records(f"{mark}&after", 1)
    expected = ("200", "`complete`; request empty; response 200 whole")
    if scene.down:
        assert fault.record is not None
        expected = (fault.sees, fault.record.replace("request whole", "request empty"))
    return "goes on" if (seen.words, record.words) == expected else "is broken"


async def _check_heard(meeting: Meeting) -> None:
    with trio.fail_after(AT_MOST):
        await meeting.gone.wait()
    if collected := os.environ.get(COLLECTING):
        measured(collected, meeting.seconds_to_gone)


def check_bytes(meeting: Meeting, fault: Fault, seen: Seen, record: Record) -> None:
    """What was sent and received, and what is kept of it, are the same bytes."""
    body = meeting.body if fault.kept is None else fault.kept
    if record.request.body_kept == "whole":
        assert record.body == body
    else:
        assert body.startswith(record.body)
        assert record.body.startswith(bytes(meeting.got))  # nothing goes on that is not kept first
    if record.response is None:
        assert seen.status is None
    elif record.response.origin == "proxy":
        assert seen.ending != "whole" or record.answer == seen.payload
    else:
        assert meeting.answer.startswith(record.answer)
        assert record.answer.startswith(bytes(seen.payload))
        assert record.response.body_kept != "whole" or record.answer == meeting.answer
