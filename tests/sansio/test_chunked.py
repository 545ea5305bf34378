"""The chunked scanner, with h11 as the oracle for what is valid."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.chunked import ChunkedScanner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.model import RawHeaders

EVENT = b'event: ping\ndata: {"type": "ping"}\n\n'


def scan(pieces: Iterable[bytes], **limits: int) -> tuple[bytes, int, bool, RawHeaders] | str:
    """(payload, bytes consumed, ended, trailers), or "error"."""
    scanner, payload, consumed = ChunkedScanner(**limits), bytearray(), 0
    try:
        for piece in pieces:
            views, used = scanner.feed(piece)
            assert used == len(piece) or scanner.ended
            consumed += used
            payload += b"".join(views)
    except ProtocolError as exc:
        return "error" if exc.status_hint == 400 else "wrong status"
    return bytes(payload), consumed, scanner.ended, scanner.trailers


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


def h11_reads(body: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    payload = bytearray()
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            payload += event.data
        elif isinstance(event, h11.EndOfMessage):
            return bytes(payload), event.headers.raw_items(), connection.trailing_data[0]


token = st.text(alphabet="abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=8).map(str.encode)
field_value = st.from_regex(rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,12}[!-~\x80-\xff])?)?", fullmatch=True)
quoted = st.from_regex(rb'"([\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff]){0,6}"', fullmatch=True)
extensions = st.lists(
    st.one_of(token, st.builds(lambda n, v: n + b"=" + v, token, token | quoted)).map(lambda e: b";" + e), max_size=2
).map(b"".join)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    raw = bytearray()
    for payload in draw(st.lists(st.binary(min_size=1, max_size=40), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"%04x"])) % len(payload)
        raw += size + draw(extensions) + b"\r\n" + payload + b"\r\n"
    raw += draw(st.sampled_from([b"0", b"000"])) + draw(extensions) + b"\r\n"
    for name, value in draw(st.lists(st.tuples(token, field_value), max_size=3)):
        raw += name + b":" + draw(st.sampled_from([b"", b" ", b"\t "])) + value + b"\r\n"
    return bytes(raw + b"\r\n")


@given(bodies(), st.binary(max_size=10), st.lists(st.integers(0, 200), max_size=5))
def test_a_valid_body_is_read_as_h11_reads_it_in_any_pieces(body: bytes, rest: bytes, places: list[int]) -> None:
    payload, trailers, after = h11_reads(body + rest)
    assert after == rest
    assert scan(cut(body + rest, places)) == (payload, len(body), True, tuple(trailers))


@given(
    bodies(),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(b'\r\n\0 ;:0aF"g\xff')), max_size=3),
    st.lists(st.integers(0, 200), max_size=5),
)
def test_any_split_of_a_damaged_body_gives_the_same_result(
    body: bytes, damage: list[tuple[int, int]], places: list[int]
) -> None:
    damaged = bytearray(body)
    for place, byte in damage:
        damaged.insert(place % len(damaged), byte)
    whole = scan([bytes(damaged)], max_line=40, max_trailer=60)
    assert scan(cut(bytes(damaged), places), max_line=40, max_trailer=60) == whole
    assert scan((bytes([b]) for b in damaged), max_line=40, max_trailer=60) == whole


@given(st.binary(max_size=80))
def test_junk_gives_more_a_value_or_a_protocol_error(data: bytes) -> None:
    assert scan([data]) is not None


@pytest.mark.parametrize("as_view", [False, True])
def test_the_payload_refers_to_the_bytes_that_were_fed(as_view: bool) -> None:
    data = bytearray(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
    views, used = ChunkedScanner().feed(memoryview(data) if as_view else data)
    assert (b"".join(views), used) == (EVENT, len(data))
    data[4:6] = b"EV"
    assert bytes(views[0][:2]) == b"EV"


def test_several_chunks_and_the_end_in_one_piece() -> None:
    scanner = ChunkedScanner()
    views, used = scanner.feed(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum:  1 \r\n\r\nHTTP/1.1")
    assert [bytes(view) for view in views] == [b"abc", b"de"]
    assert used == len(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum:  1 \r\n\r\n")
    assert scanner.ended
    assert scanner.trailers == ((b"X-Sum", b"1"),)
    assert scanner.feed(b"more") == ([], 0)


def test_it_says_where_it_stands() -> None:
    scanner = ChunkedScanner()
    scanner.feed(b"5\r\nab")
    assert not scanner.ended
    assert repr(scanner) == "<ChunkedScanner DATA remaining=3>"


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n", b"g\r\n", b"0x5\r\n", b"-1\r\n", b"+5\r\n", b" 5\r\n", b"5 \r\n", b"5\t\r\n", b"5\n", b"5\r\r\n",
        b"\n",
        b"5\rabcde\r\n", b"5;\r\n", b"5; a\r\n", b"5 ;a\r\n", b"5;a=\r\n", b'5;a="\r\n', b"5;a=b c\r\n", b"5;a\nb\r\n",
        b"11111111111111111\r\n", b"ffffffffffffffff\r\n", b"8000000000000000\r\n", b"2\r\nabc\r\n", b"2\r\nab\n",
        b"2\r\nab\rc",
        b"1_0\r\n", b"\xb2\r\n", b"5;\x00\r\n",
        b"0\r\nname\r\n\r\n", b"0\r\na b: c\r\n\r\n", b"0\r\na : c\r\n\r\n", b"0\r\n: c\r\n\r\n",
        b"0\r\na: b\r\n c\r\n\r\n",
        b"0\r\na: b\n\r\n", b"0\r\n\n", b"0\r\na: \x00\r\n\r\n", b"0\r\na: b\rc\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\ntransfer-encoding: chunked\r\n\r\n", b"0\r\nHost: a\r\n\r\n",
        b"0\r\nAuthorization: a\r\n\r\n", b"0\r\nSET-COOKIE: a\r\n\r\n", b"0\r\nConnection: a\r\n\r\n",
        b"0\r\ncontent-encoding: gzip\r\n\r\n",
    ],
)  # fmt: skip
def test_what_servers_read_differently_is_a_protocol_error(body: bytes) -> None:
    assert scan([body]) == "error"
    assert scan(bytes([b]) for b in body) == "error"


def test_lines_and_trailers_are_bounded() -> None:
    assert scan([b"0" * 10], max_line=9) == "error"
    assert scan([b"1;" + b"a" * 10 + b"\r\n"], max_line=13) == "error"
    assert scan([b"1;" + b"a" * 10 + b"\r\n"], max_line=14) != "error"
    assert scan([b"0\r\n" + b"a: b\r\n" * 4 + b"\r\n"], max_trailer=26) != "error"
    assert scan([b"0\r\n" + b"a: b\r\n" * 4 + b"\r\n"], max_trailer=25) == "error"
    assert scan([b"0\r\n" + b"a" * 30], max_trailer=25) == "error"


def test_the_largest_size_is_taken_and_waits_for_its_data() -> None:
    scanner = ChunkedScanner()
    views, used = scanner.feed(b"7fffffffffffffff\r\nabc")
    assert (len(views), used, scanner.ended) == (1, 21, False)
