"""WebSocket frames, read by one who only looks on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.sansio.websocket import Budget, Message, Sniffer
from tests.fuzz.target import Target, chance, pieces, single_bytes
from tests.support.frames import BINARY, CLOSE, DEFLATED, FINAL, MASK, PING, TEXT, Deflater, frame

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALL = 2_000_000  # more than deflate makes of the longest input
_BOUND = 5000
_BREAK = b"\xff\xfe"  # between two messages


def _sniff(
    parts: Iterable[bytes], *, masked: bool, deflate: bool, decoded: int = _ALL
) -> tuple[list[Message], str | None, int | None, bool]:
    budget = Budget(messages=100, message_bytes=decoded)
    sniffer = Sniffer(masked=masked, deflate=deflate, decoded=decoded, budget=budget)
    found = [message for part in parts for message in sniffer.feed(part)]
    found += sniffer.end()
    if sniffer.stopped_at is not None:
        # How much of the message in which it stopped was read by then depends on the pieces in which it came.
        found = [one if one.complete else replace(one, data=b"", size=0, wire_size=0) for one in found]
    return found, sniffer.problem, sniffer.stopped_at, sniffer.confused


def check_websocket(data: bytes) -> None:
    """Any split tells the same messages, within the bound; what was framed comes out as it went in."""
    masked, deflate = bool(data[:1] < b"\x80"), bool(data[:1] and data[0] & 1)
    wire = data[1:]
    found = _sniff([wire], masked=masked, deflate=deflate)
    assert _sniff(pieces(wire), masked=masked, deflate=deflate) == found
    assert _sniff(single_bytes(wire), masked=masked, deflate=deflate) == found
    bounded, _, _, _ = _sniff(pieces(wire), masked=masked, deflate=deflate, decoded=_BOUND)
    assert sum(len(message.data) for message in bounded) <= _BOUND
    assert sum(message.wire_size for message in found[0]) <= len(wire)
    assert found[2] is None or 0 <= found[2] <= len(wire)
    messages = wire.split(_BREAK)[:20]
    framed = b"".join(_framed(messages, data, masked=masked, deflate=deflate))
    told, problem, _, _ = _sniff(pieces(framed), masked=masked, deflate=deflate)
    assert problem is None
    assert [message.data for message in told if str(message.opcode) == "binary"] == messages
    assert all(message.complete for message in told)
    assert sum(message.wire_size for message in told) == len(framed)


def _framed(messages: list[bytes], data: bytes, *, masked: bool, deflate: bool) -> Iterable[bytes]:
    """These messages in frames, some in fragments with a ping between them."""
    numbers, deflater, mask = chance(data), Deflater(), MASK if masked else None
    for message in messages:
        payload = deflater.message(message) if deflate else message
        parts = pieces(payload, cuts=2)
        for number, part in enumerate(parts):
            final = FINAL if number == len(parts) - 1 else 0
            first = (BINARY | (DEFLATED if deflate else 0)) if number == 0 else 0
            yield frame(final | first, part, mask=mask)
            if not final and numbers.random() < 0.3:
                yield frame(FINAL | PING, b"ping", mask=mask)


TARGETS = (
    Target(
        name="websocket",
        invariant="any split tells the same messages, within the bound; what was framed comes out as it went in",
        check=check_websocket,
        seeds=lambda: [
            b"\x80" + frame(FINAL | TEXT, b"hello") + frame(FINAL | PING) + frame(FINAL | CLOSE, b"\x03\xe8bye"),
            b"\x00" + frame(BINARY, b"a" * 130, mask=MASK) + frame(FINAL, b"b", mask=MASK),
            b"\x81" + frame(FINAL | TEXT | DEFLATED, Deflater().message(b"hello, hello, hello")),
            b"\x81" + frame(FINAL | BINARY | DEFLATED, Deflater().message(bytes(50_000))),
        ],
        words=(_BREAK, b"\x81", b"\x82\x7e\x01\x00", b"\x82\x7f", b"\xc1", b"\x89\x00", b"\x88\x02\x03\xe8", bytes(8)),
        rounds=500,
        max_bytes=1000,
    ),
)
