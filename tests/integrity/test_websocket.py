"""After a 101: what peers say arrives byte for byte, and the record tells it as messages or says why not."""

from __future__ import annotations

import shutil
import ssl
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pytest
import trio
from trio_websocket import ConnectionClosed, wrap_client_stream, wrap_server_stream
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from claudeproxy.model import Direction
from claudeproxy.sansio.websocket import unmask
from claudeproxy.store.storage import CaptureStorage
from tests.integrity.drive import LIMIT, each, named, politely
from tests.integrity.house import WAYS
from tests.integrity.page import ENTRY_MODES
from tests.support.faulty_client import AnswerReader, Ways, request
from tests.support.frames import (
    BINARY,
    CLOSE,
    DEFLATED,
    FINAL,
    MASK,
    PING,
    PONG,
    TEXT,
    Deflater,
    frame,
    peer,
)
from tests.support.raw_upstream import raw_upstream
from tests.support.service import command_serving, kill_group, stop, wait_captured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream
    from tests.integrity.conftest import SayRow
    from tests.integrity.drive import Scene
    from tests.support.wire import Wire

FIELDS = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA==\r\n"
SENT, RECEIVED = str(Direction.SENT), str(Direction.RECEIVED)

Ends = Literal["upstream closes", "upstream resets", "client resets", "client ends its half first"]
Told = tuple[str, str, bytes]  # direction, opcode, payload


def switching(extensions: str = "") -> bytes:
    """The upstream's 101."""
    agreed = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: x\r\n{agreed}\r\n"
    ).encode()


@dataclass(frozen=True, kw_only=True)
class Talk:
    """What passes: pieces are sent one by one, both sides at once. `modes` are the ways in; `record` is in words."""

    words: str
    sent: Sequence[bytes]
    received: Sequence[bytes]
    messages: Sequence[Told]
    record: str
    extensions: str = ""
    ends: Ends = "upstream closes"
    modes: Sequence[str] = ENTRY_MODES

    def __str__(self) -> str:
        return self.words


def fragments(payload: bytes, *, mask: bytes | None = None, deflated: bool = False) -> bytes:
    """A text in three frames, one of them empty, with pings between them."""
    first = TEXT | (DEFLATED if deflated else 0)
    ping = frame(FINAL | PING, b"?", mask=mask)
    third = len(payload) // 3
    frames = [frame(first, payload[:third], mask=mask), frame(0, mask=mask), frame(FINAL, payload[third:], mask=mask)]
    return ping.join(frames)


def by_wsproto(*, client: bool, takeover: bool = True) -> bytes:
    """Compressed messages, alike and in fragments, as that library writes them."""
    one = peer(client=client, deflate=True, takeover=takeover)
    return bytes(
        one.send_data("so it goes " * 9)
        + one.send_data("so it goes " * 9)
        + one.send_data(b"binary ", fin=False)
        + one.send_data(b"in two", fin=True)
        + one.send_data("")
        + one.close(1000, "done")
    )


def by_wsproto_told(direction: str) -> list[Told]:
    said = b"so it goes " * 9
    return [
        (direction, "text", said),
        (direction, "text", said),
        (direction, "binary", b"binary in two"),
        (direction, "text", b""),
        (direction, "close", b"\x03\xe8done"),
    ]


def mine(first: int, payload: bytes = b"") -> bytes:
    return frame(FINAL | first, payload, mask=MASK)


def theirs(first: int, payload: bytes = b"") -> bytes:
    return frame(FINAL | first, payload)


HELLO, WORLD = mine(TEXT, b"hello"), theirs(TEXT, b"world")
SAID = [(SENT, "text", b"hello"), (RECEIVED, "text", b"world")]
LARGE = bytes(range(256)) * 4096
DEFLATE = "permessage-deflate"

TALKS = [
    Talk(
        words="texts, binaries, empty messages, pings and pongs",
        sent=[HELLO, mine(BINARY, b"\x00\xff"), mine(TEXT), mine(PING, b"?"), mine(CLOSE, b"\x03\xe8")],
        received=[WORLD + theirs(PONG, b"?"), theirs(BINARY), theirs(CLOSE, b"\x03\xe8")],
        messages=[
            *((SENT, kind, data) for kind, data in (("text", b"hello"), ("binary", b"\x00\xff"), ("text", b""))),
            *((SENT, kind, data) for kind, data in (("ping", b"?"), ("close", b"\x03\xe8"))),
            *((RECEIVED, kind, data) for kind, data in (("text", b"world"), ("pong", b"?"), ("binary", b""))),
            (RECEIVED, "close", b"\x03\xe8"),
        ],
        record="5 messages sent; 4 received",
    ),
    Talk(
        words="messages in fragments, with pings between them",
        sent=[fragments(b"in three pieces", mask=MASK)],
        received=[fragments(b"and so am I")],
        messages=[
            *((SENT, kind, data) for kind, data in (("ping", b"?"), ("ping", b"?"), ("text", b"in three pieces"))),
            *((RECEIVED, kind, data) for kind, data in (("ping", b"?"), ("ping", b"?"), ("text", b"and so am I"))),
        ],
        record="3 messages sent; 3 received",
    ),
    Talk(
        words="permessage-deflate with context takeover",
        sent=[by_wsproto(client=True)],
        received=[by_wsproto(client=False)],
        messages=[*by_wsproto_told(SENT), *by_wsproto_told(RECEIVED)],
        extensions=DEFLATE,
        record="5 messages sent; 5 received",
    ),
    Talk(
        words="permessage-deflate without context takeover",
        sent=[by_wsproto(client=True, takeover=False)],
        received=[by_wsproto(client=False, takeover=False)],
        messages=[*by_wsproto_told(SENT), *by_wsproto_told(RECEIVED)],
        extensions=f"{DEFLATE}; client_no_context_takeover; server_no_context_takeover",
        record="5 messages sent; 5 received",
    ),
    Talk(
        words="compressed fragments, with pings between them",
        sent=[fragments(Deflater().message(b"word " * 99), mask=MASK, deflated=True)],
        received=[fragments(Deflater().message(b"bond " * 99), deflated=True)],
        messages=[
            *((SENT, kind, data) for kind, data in (("ping", b"?"), ("ping", b"?"), ("text", b"word " * 99))),
            *((RECEIVED, kind, data) for kind, data in (("ping", b"?"), ("ping", b"?"), ("text", b"bond " * 99))),
        ],
        extensions=DEFLATE,
        record="3 messages sent; 3 received",
    ),
    Talk(
        words="a message of 1 MB each way",
        sent=[mine(BINARY, LARGE)],
        received=[theirs(BINARY, LARGE)],
        messages=[(SENT, "binary", LARGE), (RECEIVED, "binary", LARGE)],
        record="1 message sent; 1 received",
    ),
    Talk(
        words="every byte by itself",
        sent=[bytes((byte,)) for byte in HELLO + mine(PING, b"?")],
        received=[bytes((byte,)) for byte in WORLD],
        messages=[*SAID, (SENT, "ping", b"?")],
        record="2 messages sent; 1 received",
    ),
    Talk(
        words="the client ends its half first",
        sent=[HELLO],
        received=[WORLD, WORLD],
        messages=[*SAID, (RECEIVED, "text", b"world")],
        ends="client ends its half first",
        record="1 message sent; 2 received",
        modes=("reverse", "absolute"),
    ),
    Talk(
        words="the upstream closes in the middle of a frame",
        sent=[HELLO],
        received=[WORLD, WORLD[:5]],
        messages=[*SAID, (RECEIVED, "text", b"wor")],
        record="1 message sent; 2 received, ended in a frame",
    ),
    Talk(
        words="the upstream resets in the middle of a frame",
        sent=[HELLO],
        received=[WORLD, WORLD[:5]],
        messages=[*SAID, (RECEIVED, "text", b"wor")],
        ends="upstream resets",
        record="1 message sent; 2 received, ended in a frame",
    ),
    Talk(
        words="the client resets in the middle of a message",
        sent=[HELLO, frame(TEXT, b"hel", mask=MASK)],
        received=[WORLD],
        messages=[*SAID, (SENT, "text", b"hel")],
        ends="client resets",
        record="2 messages sent, ended between frames of a message; 1 received",
    ),
    Talk(
        words="no WebSocket at all after the 101",
        sent=[b"GET / HTTP/1.1\r\n\r\n"],
        received=[b"\x00" * 50],
        messages=[],
        record="0 messages sent, undecodable from byte 0: a frame of the unknown kind 7;"
        " 0 received, undecodable from byte 0: a continuation of no message",
    ),
    Talk(
        words="the client stops masking, the upstream begins to",
        sent=[HELLO, WORLD, HELLO],
        received=[WORLD, HELLO, WORLD],
        messages=SAID,
        record="1 message sent, undecodable from byte 11: a client's frame without a mask;"
        " 1 received, undecodable from byte 7: a server's frame with a mask",
    ),
    Talk(
        words="compression that is damaged on its way",
        sent=[HELLO],
        received=[WORLD, theirs(DEFLATED | TEXT, b"\xff" * 20), WORLD],
        messages=[*SAID, (RECEIVED, "text", b"")],
        extensions=DEFLATE,
        record="1 message sent; 2 received, undecodable from byte 7: a compressed message is damaged",
    ),
    Talk(
        words="an extension that nobody knows",
        sent=[HELLO],
        received=[WORLD],
        messages=[],
        extensions="x-custom",
        record="0 messages sent, undecodable from byte 0: the extension 'x-custom' is not known;"
        " 0 received, undecodable from byte 0: the extension 'x-custom' is not known",
    ),
]


@pytest.mark.parametrize(("talk", "mode"), each(TALKS), ids=named)  # type: ignore[arg-type]
async def test_what_peers_say_arrives_unchanged_and_is_told(talk: Talk, mode: str, scene: Scene) -> None:
    await converse(talk, mode, scene)


@pytest.mark.heavy
async def test_a_bomb_passes_and_little_of_it_is_unpacked(scene: Scene) -> None:
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(squeezed.compress(bytes(1 << 20)) for _ in range(70)) + squeezed.flush(zlib.Z_SYNC_FLUSH)[:-4]
    talk = Talk(
        words="70 MB of zeros in 70 KB",
        sent=[HELLO],
        received=[WORLD, theirs(DEFLATED | BINARY, packed), WORLD],
        messages=[*SAID, (RECEIVED, "binary", bytes(16 << 20))],
        extensions=DEFLATE,
        record="1 message sent; 2 received, more bytes, decompressed, than are looked at",
    )
    await converse(talk, "connect", scene)


@pytest.mark.heavy
async def test_what_passed_before_the_proxy_was_killed_is_told(home: Path, row: SayRow) -> None:
    async def echo(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(switching())
        while True:
            await wire.send(theirs(TEXT, unmask((await wire.read_exactly(11))[6:], MASK, 0)))

    async with raw_upstream(echo) as upstream:
        async with command_serving(home, upstream.url) as running:
            ways = Ways(running.proxy, ssl.create_default_context)
            wire, target, host = await ways.enter("reverse", "/v1/socket")
            await wire.send(request("GET", target, host, fields=FIELDS))
            await wire.read_head()
            for _ in range(5):
                await wire.send(HELLO)
                assert await wire.read_exactly(7) == theirs(TEXT, b"hello")
            assert running.process is not None
            kill_group(running.process.pid)
            seen = await _leave(wire, "upstream closes")
            await ways.close()
        async with command_serving(home, upstream.url) as running:
            (request_row,) = await wait_captured(home, 1)
            await stop(running)
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        assert storage.verify().ok
        messages, streams = storage.websocket_messages(request_row.id), storage.websocket(request_row.id)
    assert [one.data for one in messages] == [b"hello"] * 10
    assert [one.direction for one in messages] == [Direction.SENT, Direction.RECEIVED] * 5
    row(
        "WebSocket",
        "`kill -9` of the proxy and its recorder",
        "reverse",
        client=f"every byte until then, then {seen}",
        record=f"`{request_row.state}`; {_stream_words(streams)}",
        proxy="goes on when it is started again",
    )


async def converse(talk: Talk, mode: str, scene: Scene) -> None:
    """Make a talk real in one way into the proxy; says its row."""
    mark = f"talk={named(talk)}&mode={named(mode)}".replace("%", "")
    sent, received = b"".join(talk.sent), b"".join(talk.received)
    got: dict[str, bytes] = {}
    heard, arrived = trio.Event(), trio.Event()

    async def script(wire: Wire) -> None:
        await wire.read_head()
        await wire.send(switching(talk.extensions))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_all, wire, talk.received)
            got["upstream"] = await wire.read_exactly(len(sent))
            arrived.set()
        if talk.ends == "client ends its half first":
            assert await wire.read_to_end() == b""
        await heard.wait()
        if talk.ends == "client resets":
            await wire.wait_gone()
        elif talk.ends == "upstream resets":
            await wire.reset()
        else:
            await wire.aclose()

    with trio.fail_after(LIMIT):
        ways = scene.house.ways()
        async with scene.behaving(script):
            wire, target, host = await ways.enter(WAYS[mode], f"/v1/socket?{mark}")
            await wire.send(request("GET", target, host, fields=FIELDS))
            assert b" 101 " in await wire.read_head()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_all, wire, talk.sent)
                got["client"] = await wire.read_exactly(len(received))
            await arrived.wait()
            if talk.ends == "client ends its half first":  # TLS to the upstream has no halves: what comes later is lost
                await wire.raw.send_eof()
            heard.set()
            ending = await _leave(wire, talk.ends)
            await ways.close()
            await scene.house.idle()
        (record,) = await scene.house.records(mark, 1)
        proxy = await _goes_on(scene, mode, mark)
    assert got == {"upstream": sent, "client": received}
    messages = scene.house.storage.websocket_messages(record.request.id)
    assert sorted(map(_told, messages)) == sorted(talk.messages)
    words = _stream_words(scene.house.storage.websocket(record.request.id))
    assert words == talk.record
    kind = f" ({record.request.error_kind})" if record.request.error_kind else ""
    scene.row(
        "WebSocket",
        talk.words,
        mode,
        client=f"every byte, then {ending}",
        record=f"`{record.request.state}`{kind}; {words}",
        proxy=proxy,
    )


async def _send_all(wire: Wire, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        await wire.send(piece)


async def _leave(wire: Wire, how: Ends) -> str:
    if how == "client resets":
        await wire.reset()
        return "it resets"
    try:
        rest = await wire.read_to_end()
    except trio.BrokenResourceError:
        return "a reset"
    assert rest == b""
    return "a close"


async def _goes_on(scene: Scene, mode: str, mark: str) -> str:
    """Ask for something ordinary the same way."""
    async with scene.behaving(politely):
        ways = scene.house.ways()
        wire, target, host = await ways.enter(WAYS[mode], f"/v1/models?{mark}&after")
        await wire.send(request("GET", target, host))
        seen = await AnswerReader(wire, method="GET").run()
        await ways.close()
    return "goes on" if seen.words == "200" else "is broken"


def _told(message: CapturedMessage) -> Told:
    return str(message.direction), str(message.opcode), message.data


def _stream_words(streams: Sequence[CapturedStream]) -> str:
    parts = []
    for one in streams:
        count = (
            f"{one.messages} {'message ' if one.messages == 1 else 'messages '}"
            if one is streams[0]
            else (f"{one.messages} ")
        )
        part = f"{count}{one.direction}"
        if one.undecodable_from is not None:
            part += f", undecodable from byte {one.undecodable_from}: {one.problem}"
        elif one.problem is not None:
            part += f", {one.problem}"
        parts.append(part)
    return "; ".join(parts)


@pytest.mark.parametrize("mode", ENTRY_MODES)
async def test_a_library_on_both_ends_notices_nothing(mode: str, scene: Scene) -> None:
    mark = f"library={named(mode)}"
    said = ["one", "two " * 30_000, "drei ✓"]

    async def script(wire: Wire) -> None:
        async with trio.open_nursery() as nursery:
            connection = await (await wrap_server_stream(nursery, wire.stream)).accept()
            with suppress(ConnectionClosed):
                while True:
                    await connection.send_message(await connection.get_message())
            nursery.cancel_scope.cancel()

    with trio.fail_after(LIMIT):
        ways = scene.house.ways()
        async with scene.behaving(script):
            wire, target, host = await ways.enter(WAYS[mode], f"/v1/socket?{mark}")
            answers = []
            async with trio.open_nursery() as nursery:
                connection = await wrap_client_stream(nursery, wire.stream, host, target)
                for text in said:
                    await connection.send_message(text)
                    answers.append(await connection.get_message())
                await connection.ping()
                await connection.aclose(1000, "enough")
                nursery.cancel_scope.cancel()
            await ways.close()
            await scene.house.idle()
        (record,) = await scene.house.records(mark, 1)
    assert answers == said
    messages = scene.house.storage.websocket_messages(record.request.id)
    for direction in Direction:
        texts = [one.payload().text for one in messages if one.direction is direction and str(one.opcode) == "text"]
        assert texts == said
    closes = [one.close for one in messages if str(one.opcode) == "close"]
    assert closes == [(1000, "enough"), (1000, "enough")]
    kinds = sorted({str(one.opcode) for one in messages})
    scene.row(
        "WebSocket",
        "trio-websocket on both ends, a text of 120 KB among others",
        mode,
        client="every message, a pong, the closing handshake",
        record=f"`{record.request.state}`; {', '.join(kinds)}; close 1000 both ways",
    )


NODE = """
const socket = new WebSocket(process.argv[1]);
const said = ['eins', 'zwei '.repeat(50000), 'zwei '.repeat(50000)];
let heard = 0;
socket.onopen = () => said.forEach((text) => socket.send(text));
socket.onmessage = (event) => {
  if (event.data !== said[heard]) process.exit(3);
  if (++heard === said.length) socket.close(1000, 'genug');
};
socket.onclose = (event) => { console.log(socket.extensions, event.code, event.wasClean); };
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
async def test_the_websocket_of_node_notices_nothing(scene: Scene) -> None:
    mark = "node"

    async def echo(wire: Wire) -> None:
        connection = WSConnection(ConnectionType.SERVER)
        parts: list[str] = []
        while True:
            data = await wire.stream.receive_some(65536)
            if not data:
                return
            connection.receive_data(bytes(data))
            for event in connection.events():
                if isinstance(event, Request):
                    deflate = [PerMessageDeflate()]
                    await wire.send(connection.send(AcceptConnection(extensions=deflate)))  # type: ignore[arg-type]
                elif isinstance(event, TextMessage):
                    parts.append(event.data)
                    if event.message_finished:
                        await wire.send(connection.send(TextMessage(data="".join(parts))))
                        parts.clear()
                elif isinstance(event, CloseConnection):
                    await wire.send(connection.send(event.response()))
                    return

    with trio.fail_after(LIMIT):
        async with scene.behaving(echo):
            host, port = scene.house.running.proxy
            done = await trio.run_process(
                ["node", "--experimental-websocket", "-e", NODE, f"ws://{host}:{port}/v1/socket?{mark}"],
                capture_stdout=True,
                capture_stderr=True,
            )
            await scene.house.idle()
        (record,) = await scene.house.records(mark, 1)
    assert done.stdout.split()[-2:] == [b"1000", b"true"]
    said = ["eins", "zwei " * 50_000, "zwei " * 50_000]
    messages = scene.house.storage.websocket_messages(record.request.id)
    texts = [one for one in messages if str(one.opcode) == "text"]
    for direction in Direction:
        assert [one.payload().text for one in texts if one.direction is direction] == said
    agreed = done.stdout.startswith(b"permessage-deflate")  # older ones offer no compression
    assert {one.compressed for one in texts if one.direction is Direction.RECEIVED} == {agreed}
    assert all(one.problem is None for one in scene.house.storage.websocket(record.request.id))
