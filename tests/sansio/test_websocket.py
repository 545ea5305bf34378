"""Frames to messages: what wsproto wrote comes out as it went in, however it is cut; what is wrong stops it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.model import Opcode
from claudeproxy.sansio.websocket import Budget, Message, Sniffer, unmask
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
    pieces,
)


def sniffer(
    *, masked: bool = False, deflate: bool = False, messages: int = 1000, decoded: int = 1 << 22, each: int = 1 << 22
) -> Sniffer:
    return Sniffer(
        masked=masked, deflate=deflate, decoded=decoded, budget=Budget(messages=messages, message_bytes=each)
    )


def read(stream: bytes, *, cuts: list[int] | None = None, **options: bool | int) -> tuple[list[Message], Sniffer]:
    one = sniffer(**options)  # type: ignore[arg-type]
    found = [message for piece in pieces(stream, cuts or []) for message in one.feed(piece)]
    return found + one.end(), one


def told(messages: list[Message]) -> list[tuple[str, bytes, bool]]:
    return [(str(one.opcode), one.data, one.complete) for one in messages]


FRAGMENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=4)
CONTROL = st.binary(max_size=20)


@given(
    sent=st.lists(st.tuples(st.booleans(), FRAGMENTS, CONTROL), max_size=5),
    client=st.booleans(),
    deflate=st.booleans(),
    takeover=st.booleans(),
    cuts=st.lists(st.integers(0, 3000), max_size=12),
)
def test_messages_come_out_as_a_peer_wrote_them_however_the_bytes_are_cut(
    sent: list[tuple[bool, list[bytes], bytes]], client: bool, deflate: bool, takeover: bool, cuts: list[int]
) -> None:
    writer = peer(client=client, deflate=deflate, takeover=takeover)
    stream, expected = b"", []
    for is_text, fragments, control in sent:
        parts: list[bytes | str] = [part.hex() if is_text else part for part in fragments]
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            stream += bytes(writer.send_data(part, fin=last))
            if not last:
                stream += bytes(writer.ping(control))
                expected.append(("ping", control, True))
        whole = "".join(part.hex() for part in fragments).encode() if is_text else b"".join(fragments)
        expected.append(("text" if is_text else "binary", whole, True))
    stream += bytes(writer.close(1001, "bye"))
    expected.append(("close", b"\x03\xe9bye", True))
    found, one = read(stream, cuts=cuts, masked=client, deflate=deflate)
    assert told(found) == expected
    assert one.problem is None
    assert sum(message.wire_size for message in found) == len(stream)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6), st.booleans(), st.booleans())
def test_rubbish_stops_it_at_the_same_byte_however_it_is_cut_and_never_raises(
    rubbish: bytes, cuts: list[int], masked: bool, deflate: bool
) -> None:
    whole, one = read(rubbish, masked=masked, deflate=deflate)
    cut, other = read(rubbish, cuts=cuts, masked=masked, deflate=deflate)
    # How much of a damaged message could be inflated depends on the pieces in which it came.
    complete = [[message for message in messages if message.complete] for messages in (cut, whole)]
    assert told(complete[0]) == told(complete[1])
    assert (other.problem, other.stopped_at) == (one.problem, one.stopped_at)
    assert one.stopped_at is None or 0 <= one.stopped_at <= len(rubbish)


def test_a_message_in_fragments_is_one_message_with_its_place_and_sizes() -> None:
    stream = frame(TEXT, b"to") + frame(FINAL | PING, b"?") + frame(0, b"ge") + frame(FINAL, b"ther")
    found, _ = read(stream)
    assert told(found) == [("ping", b"?", True), ("text", b"together", True)]
    assert [(one.start, one.wire_size, one.frames, one.size) for one in found] == [(4, 3, 1, 1), (0, 14, 3, 8)]


def test_a_ping_inside_a_compressed_message_does_not_disturb_it() -> None:
    packed = Deflater().message(b"hello " * 50)
    stream = frame(DEFLATED | TEXT, packed[:5]) + frame(FINAL | PING, b"?") + frame(0) + frame(FINAL, packed[5:])
    found, one = read(stream, deflate=True)
    assert told(found) == [("ping", b"?", True), ("text", b"hello " * 50, True)]
    assert found[1].compressed
    assert found[1].size == 300
    assert one.problem is None


def test_compressed_and_plain_messages_may_alternate() -> None:
    deflater = Deflater()
    stream = b"".join(
        frame(FINAL | DEFLATED | TEXT, deflater.message(b"again and again")) + frame(FINAL | BINARY, b"\xff\x00")
        for _ in range(3)
    )
    found, _ = read(stream, deflate=True)
    assert told(found) == [("text", b"again and again", True), ("binary", b"\xff\x00", True)] * 3


def test_empty_messages_are_messages_compressed_or_not() -> None:
    stream = (
        frame(FINAL | TEXT)
        + frame(FINAL | DEFLATED | BINARY, b"\x00")
        + frame(FINAL | DEFLATED | TEXT)
        + frame(FINAL | DEFLATED | TEXT, Deflater().message(b"and on"))
        + frame(FINAL | PONG)
        + frame(FINAL | CLOSE)
    )
    found, one = read(stream, deflate=True)
    assert [(one.opcode, one.data) for one in found] == [
        (Opcode.TEXT, b""),
        (Opcode.BINARY, b""),
        (Opcode.TEXT, b""),
        (Opcode.TEXT, b"and on"),
        (Opcode.PONG, b""),
        (Opcode.CLOSE, b""),
    ]
    assert one.problem is None


@pytest.mark.parametrize("length", [125, 126, 65_535, 65_536, 1 << 20])
def test_every_form_of_length_is_read_masked_too(length: int) -> None:
    payload = (b"0123456789abcdefg" * (length // 17 + 1))[:length]
    found, _ = read(frame(FINAL | BINARY, payload, mask=MASK), cuts=[1, 5, 9, 77, 70_001], masked=True)
    assert found[0].data == payload


def test_what_a_peer_might_tolerate_is_told() -> None:
    long_form = bytes((FINAL | TEXT, 126, 0, 3)) + b"\xffab"
    found, one = read(long_form + frame(FINAL | CLOSE, b"\x10"))
    assert told(found) == [("text", b"\xffab", True), ("close", b"\x10", True)]
    assert one.problem is None


GOOD = frame(FINAL | TEXT, b"good")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "control frame in fragments"),
        (frame(FINAL | 3, b"x"), "unknown kind 3"),
        (frame(FINAL | 11, b"x"), "unknown kind 11"),
        (frame(PING, b"x"), "control frame in fragments"),
        (bytes((FINAL | PING, 126, 0, 126)) + bytes(126), "more than 125 bytes"),
        (frame(FINAL | DEFLATED | TEXT, b"x"), "reserved bit"),
        (frame(FINAL | 0x20 | TEXT, b"x"), "reserved bit"),
        (frame(FINAL, b"x"), "continuation of no message"),
        (frame(TEXT, b"x") + frame(FINAL | TEXT, b"y"), "inside another one"),
        (frame(FINAL | TEXT, b"x", mask=MASK), "with a mask"),
        (bytes((FINAL | BINARY, 127)) + b"\xff" * 8, "63 bits"),
        (frame(FINAL | CLOSE) + GOOD, "after a close frame"),
    ],
)
def test_what_a_peer_must_refuse_is_where_it_stops_and_what_came_before_is_kept(bad: bytes, why: str) -> None:
    found, one = read(GOOD + bad + GOOD)
    assert told(found)[0] == ("text", b"good", True)
    assert one.confused
    assert why in str(one.problem)
    assert one.stopped_at == len(GOOD) + (3 if "inside" in why else 2 if "close" in why else 0)


def test_a_client_that_does_not_mask_is_not_believed() -> None:
    found, one = read(GOOD, masked=True)
    assert found == []
    assert (one.stopped_at, one.problem) == (0, "a client's frame without a mask")


def test_a_reserved_bit_on_a_continuation_is_confusion_though_compression_was_agreed_on() -> None:
    packed = Deflater().message(b"abc" * 9)
    _, one = read(frame(DEFLATED | TEXT, packed[:4]) + frame(FINAL | DEFLATED, packed[4:]), deflate=True)
    assert (one.stopped_at, one.confused) == (6, True)


def test_damaged_compression_keeps_what_could_be_read_and_stops() -> None:
    packed = Deflater().message(b"readable " * 30)
    stream = frame(DEFLATED | TEXT, packed) + frame(FINAL, b"\xff" * 40) + GOOD
    found, one = read(stream, deflate=True)
    assert told(found) == [("text", b"readable " * 30, False)]
    assert (one.problem, one.stopped_at) == ("a compressed message is damaged", len(packed) + 2)


@pytest.mark.parametrize("cut", [1, 2, 4, 9])
def test_an_end_in_the_middle_of_a_frame_leaves_what_was_there(cut: int) -> None:
    whole = frame(FINAL | BINARY, b"0123456789", mask=MASK)
    found, one = read(whole[:cut], masked=True)
    assert told(found) == ([("binary", b"0123456789"[: cut - 6], False)] if cut >= 6 else [])
    assert one.problem == "ended in a frame"
    assert not one.confused


def test_an_end_between_fragments_and_inside_an_interleaved_ping_tells_both() -> None:
    found, one = read(frame(TEXT, b"half"))
    assert (told(found), one.problem) == ([("text", b"half", False)], "ended between frames of a message")
    found, one = read(frame(TEXT, b"half") + frame(FINAL | PING, b"ping")[:4])
    assert told(found) == [("text", b"half", False), ("ping", b"pi", False)]
    assert one.problem == "ended in a frame"


def test_a_bomb_is_inflated_no_further_than_the_bound_and_little_of_it_is_kept() -> None:
    bomb = frame(FINAL | DEFLATED | BINARY, Deflater().message(bytes(8 << 20)))
    found, one = read(GOOD + bomb + GOOD, deflate=True, decoded=1 << 20, each=1000)
    assert told(found) == [("text", b"good", True), ("binary", bytes(1000), False)]
    assert 1 << 20 <= found[1].size <= (1 << 20) + 65_536
    assert not one.confused
    assert one.stopped_at == len(GOOD)
    assert "decompressed" in str(one.problem)


def test_of_a_large_message_the_beginning_is_kept_and_the_size_known() -> None:
    found, one = read(frame(FINAL | BINARY, b"x" * 5000) + GOOD, each=100)
    assert [(len(one.data), one.size, one.complete) for one in found] == [(100, 5000, True), (4, 4, True)]
    assert one.problem is None


def test_messages_beyond_the_bound_are_not_told() -> None:
    found, one = read(GOOD * 5, messages=3)
    assert len(found) == 3
    assert (one.stopped_at, one.confused) == (3 * len(GOOD), False)


def test_both_directions_share_the_number_of_messages() -> None:
    budget = Budget(messages=3, message_bytes=100)
    sent, received = (Sniffer(masked=masked, deflate=False, decoded=100, budget=budget) for masked in (True, False))
    assert len(sent.feed(frame(FINAL | TEXT, b"a", mask=MASK) * 2)) == 2
    assert len(received.feed(GOOD * 2)) == 1


@given(st.binary(max_size=50), st.binary(min_size=4, max_size=4), st.integers(0, 9))
def test_unmasking_undoes_masking_at_any_place(data: bytes, mask: bytes, offset: int) -> None:
    masked = bytes(byte ^ mask[(offset + index) % 4] for index, byte in enumerate(data))
    assert unmask(masked, mask, offset) == data
