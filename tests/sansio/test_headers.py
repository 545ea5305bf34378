"""Heads: parsed strictly, framed, stripped of hop-by-hop fields and written again."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio import headers as heads
from claudeproxy.sansio.headers import (
    Framing,
    HeadParser,
    RequestHead,
    ResponseHead,
    announces_body,
    get,
    get_all,
    request_framing,
    response_framing,
    serialize_request,
    serialize_response,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


POST = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.anthropic.com\r\nX-Api-Key: sk-ant-api03-dummy\r\n"
    b"accept:*/*\r\nX-Dup: 1\r\nx-dup:  2 \r\nContent-Length: 2\r\n\r\n"
)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

Result = tuple[RequestHead | ResponseHead, bytes] | int | None


def read(pieces: Iterable[bytes], *, response: bool = False, max_bytes: int = 65536) -> Result:
    """(head, what is left), the status hint of the error, or None for "more"."""
    parser = HeadParser(max_bytes=max_bytes)
    head: RequestHead | ResponseHead | None = None
    rest = bytearray()
    for piece in pieces:
        if head is not None:
            rest += piece
            continue
        parser.feed(piece)
        try:
            head = parser.response(method="GET") if response else parser.request()
        except ProtocolError as exc:
            return exc.status_hint
        if head is not None:
            rest += parser.leftover
    return None if head is None else (head, bytes(rest))


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


def request(raw: bytes) -> RequestHead:
    result = read([raw])
    assert isinstance(result, tuple)
    assert isinstance(result[0], RequestHead)
    return result[0]


def response(raw: bytes) -> ResponseHead:
    result = read([raw], response=True)
    assert isinstance(result, tuple)
    assert isinstance(result[0], ResponseHead)
    return result[0]


# --- parsing


def test_a_request_head_keeps_order_casing_and_duplicates() -> None:
    parser = HeadParser()
    parser.feed(POST + b"{}")
    head = parser.request()
    assert head == RequestHead(
        method="POST",
        target="/v1/messages?beta=true",
        http_version="1.1",
        headers=(
            (b"Host", b"api.anthropic.com"),
            (b"X-Api-Key", b"sk-ant-api03-dummy"),
            (b"accept", b"*/*"),
            (b"X-Dup", b"1"),
            (b"x-dup", b"2"),
            (b"Content-Length", b"2"),
        ),
    )
    assert parser.leftover == b"{}"
    assert parser.leftover == b""


def test_lines_that_were_read_before_are_read_the_same_wherever_they_stand() -> None:
    lines = [b"accept:  */* ", b"X-Dup: 1", b"Host: a", b"x-dup: 1", b"X-Dup: 1", b"Content-Length: 2", b"empty:"]
    for turn in range(len(lines)):
        fields = lines[turn:] + lines[:turn]
        parser = HeadParser()
        parser.feed(b"\r\n".join([b"POST / HTTP/1.1", *fields, b"X-New: %d" % turn, b"", b""]))
        head = parser.request()
        assert head is not None
        pairs = [tuple(part.strip() for part in line.split(b":")) for line in fields]
        assert head.headers == (*pairs, (b"X-New", b"%d" % turn))


def test_what_frames_addresses_or_may_be_secret_is_not_remembered_nor_anything_without_end() -> None:
    heads._taken.clear()
    kept = {b"X-Plain: 1", b"X-Host: a"}
    lines = [b"Host: a", b"content-length: 2", b"X-Api-Key: dummy", b"authorization: Basic ZHVtbXk=", b"X-Auth: dummy"]
    for number in range(2_000):
        parser = HeadParser()
        fields = [*lines, *kept, b"X-Long: " + b"1" * 200, b"X-Number: %d" % number]
        parser.feed(b"\r\n".join([b"POST / HTTP/1.1", *fields, b"", b""]))
        assert parser.request() is not None
        assert number % 1_000 or kept <= heads._taken.keys()  # when it is full, all are forgotten, and read again
        assert not heads._taken.keys() & {*lines, b"X-Long: " + b"1" * 200}
        assert len(heads._taken) <= 1024


def test_a_second_host_is_refused_however_often_the_first_was_read() -> None:
    for host, fault in ((b"Host: a\r\n", False), (b"Host: a\r\nHost: a\r\n", True), (b"X-Plain: 1\r\n", True)):
        parser = HeadParser()
        parser.feed(b"GET / HTTP/1.1\r\n" + host + b"\r\n")
        with pytest.raises(ProtocolError) if fault else nullcontext():
            parser.request()


def test_a_response_head_keeps_its_reason_and_fields() -> None:
    head = response(b"HTTP/1.1 529 Overl\xf6aded now\r\nSet-Cookie: a\r\nset-cookie: b\r\nX: \xff\r\n\r\n")
    assert (head.status_code, head.reason) == (529, "Overlöaded now")
    assert head.headers == ((b"Set-Cookie", b"a"), (b"set-cookie", b"b"), (b"X", b"\xff"))


@pytest.mark.parametrize("line", [b"HTTP/1.1 200", b"HTTP/1.1 200 "])
def test_a_reason_may_be_missing(line: bytes) -> None:
    assert response(line + b"\r\n\r\n").reason == ""


def test_informational_heads_come_one_after_the_other_before_the_final_one() -> None:
    parser = HeadParser()
    parser.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK + b"0\r\n\r\n")
    heads = [parser.response(method="POST") for _ in range(3)]
    assert [head.status_code for head in heads if head is not None] == [100, 103, 200]
    assert parser.leftover == b"0\r\n\r\n"


def test_a_switch_of_protocols_is_a_head_like_others() -> None:
    head = response(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert head.status_code == 101


def test_several_requests_are_read_from_one_connection() -> None:
    parser = HeadParser()
    parser.feed(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET")
    assert [head.target for head in (parser.request(), parser.request()) if head] == ["/1", "/2"]
    assert parser.request() is None
    assert repr(parser) == "<HeadParser holding 3 bytes>"
    assert parser.leftover == b"GET"


def test_a_few_empty_lines_before_a_request_are_passed_over_and_many_are_not() -> None:
    assert request(b"\r\n\r\n" + POST).method == "POST"
    assert read([b"\r", b"\n", POST]) is not None
    assert read([b"\r\n" * 5 + POST]) == 400
    assert read([b"\r\n" + OK], response=True) == 400


def test_a_minor_version_beyond_ours_is_read_as_ours() -> None:
    assert request(b"GET / HTTP/1.7\r\nHost: a\r\n\r\n").http_version == "1.1"
    assert request(b"GET / HTTP/1.0\r\n\r\n").http_version == "1.0"


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (400, b"GET / HTTP/1.1\nHost: a\n\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\nY: 2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\x002\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\x1b2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\tfolded\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / \r\nHost: a\r\n\r\n"),
        (400, b"GET /\r\nHost: a\r\n\r\n"),
        (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 010\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\ntransfer_encoding: chunked\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1111111111111111111\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ],
)
def test_a_request_that_servers_read_differently_is_refused_with_its_status(status: int, raw: bytes) -> None:
    assert read([raw]) == status
    assert read(bytes([b]) for b in raw) == status


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nX: 1\n\n", b"HTTP/1.1 200 OK\r\nX: 1\r\n y\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)  # fmt: skip
def test_a_response_that_clients_read_differently_is_refused(raw: bytes) -> None:
    assert isinstance(read([raw], response=True), int)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nX-Api-Key : k3y\r\n\r\n", b"GET /?token=k3y x HTTP/1.1\r\n\r\n"])
def test_an_error_does_not_repeat_the_line_that_it_is_about(head: bytes) -> None:
    """It is logged, stored and answered, and a key may stand in the line."""
    parser = HeadParser()
    parser.feed(head)
    with pytest.raises(ProtocolError, match=r"^illegal (header|request) line$"):
        parser.request()


def test_a_bare_line_feed_is_refused_before_the_head_is_complete() -> None:
    assert read([b"GET / HTTP/1.1\n"]) == 400


def test_a_head_beyond_the_limit_is_431_and_one_at_the_limit_is_read() -> None:
    assert read([POST], max_bytes=len(POST)) is not None
    assert read([POST], max_bytes=len(POST) - 1) == 431
    assert read((bytes([b]) for b in POST), max_bytes=len(POST) - 1) == 431
    assert read([b"G" * 70000]) == 431


token = st.text(alphabet="abcXYZ019-_.!#$%&'*+^`|~", min_size=1, max_size=8).map(str.encode)
value = st.from_regex(rb"([!-~\x80-\xff]([ \t!-~\x80-\xff]{0,12}[!-~\x80-\xff])?)?", fullmatch=True)
fields = st.lists(st.tuples(token, value), max_size=5)


def field_lines(items: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % item for item in items)


requests = st.builds(
    lambda method, target, items: b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, target, field_lines(items)),
    token,
    st.from_regex(rb"/[!-~]{0,12}", fullmatch=True),
    fields,
)
responses = st.builds(
    lambda status, reason, items: b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, field_lines(items)),
    st.integers(200, 599),
    value,
    fields,
)
places = st.lists(st.integers(0, 200), max_size=5)


@given(requests, st.binary(max_size=20), places)
def test_a_valid_request_is_read_as_h11_reads_it_in_any_pieces(raw: bytes, rest: bytes, cuts: list[int]) -> None:
    oracle = h11.Connection(h11.SERVER)
    oracle.receive_data(raw)
    event = oracle.next_event()
    assert isinstance(event, h11.Request)
    result = read(cut(raw + rest, cuts))
    assert isinstance(result, tuple)
    head, left = result
    assert isinstance(head, RequestHead)
    assert (head.method.encode(), head.target.encode()) == (event.method, event.target)
    assert list(head.headers) == event.headers.raw_items()
    assert left == rest


@given(responses, st.binary(max_size=20), places)
def test_a_valid_response_is_read_as_h11_reads_it_in_any_pieces(raw: bytes, rest: bytes, cuts: list[int]) -> None:
    oracle = h11.Connection(h11.CLIENT)
    oracle.receive_data(raw)
    event = oracle.next_event()
    assert isinstance(event, h11.Response)
    result = read(cut(raw + rest, cuts), response=True)
    assert isinstance(result, tuple)
    head, left = result
    assert isinstance(head, ResponseHead)
    assert (head.status_code, head.reason.encode("latin-1")) == (event.status_code, event.reason)
    assert list(head.headers) == event.headers.raw_items()
    assert left == rest


@given(
    requests | responses,
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(b"\r\n\0 \t:,aH\xff")), max_size=3),
    places,
    st.booleans(),
)
def test_any_split_of_a_damaged_head_gives_the_same_result(
    raw: bytes, damage: list[tuple[int, int]], cuts: list[int], is_response: bool
) -> None:
    damaged = bytearray(raw)
    for place, byte in damage:
        damaged.insert(place % len(damaged), byte)
    whole = read([bytes(damaged)], response=is_response, max_bytes=150)
    assert read(cut(bytes(damaged), cuts), response=is_response, max_bytes=150) == whole
    assert read((bytes([b]) for b in damaged), response=is_response, max_bytes=150) == whole


@given(st.binary(max_size=80).map(lambda data: data + b"\r\n\r\n") | st.binary(max_size=80), st.booleans())
def test_junk_gives_more_a_value_or_a_protocol_error(data: bytes, is_response: bool) -> None:
    result = read([data], response=is_response)
    assert result is None or result in (400, 431, 501, 505) or isinstance(result, tuple)


@given(requests)
def test_what_was_parsed_is_written_and_parsed_again_unchanged(raw: bytes) -> None:
    head = request(raw)
    assert request(serialize_request(head.method, head.target, head.headers)) == head


# --- framing


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", (Framing.NONE, 0)),
        (b"Content-Length: 0\r\n", (Framing.LENGTH, 0)),
        (b"content-length: 12\r\n", (Framing.LENGTH, 12)),
        (b"TRANSFER-ENCODING: Chunked\r\n", (Framing.CHUNKED, 0)),
    ],
)
def test_the_body_of_a_request_ends_where_its_head_says(field: bytes, expected: tuple[Framing, int]) -> None:
    assert request_framing(request(b"POST / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n")) == expected


@pytest.mark.parametrize(
    ("method", "status", "field", "expected"),
    [
        ("GET", 200, b"", (Framing.CLOSE, 0)),
        ("GET", 200, b"Content-Length: 3\r\n", (Framing.LENGTH, 3)),
        ("GET", 200, b"Transfer-Encoding: chunked\r\n", (Framing.CHUNKED, 0)),
        ("HEAD", 200, b"Content-Length: 3\r\n", (Framing.NONE, 0)),
        ("HEAD", 200, b"Transfer-Encoding: chunked\r\n", (Framing.NONE, 0)),
        ("GET", 100, b"", (Framing.NONE, 0)),
        ("GET", 204, b"", (Framing.NONE, 0)),
        ("GET", 304, b"Content-Length: 3\r\n", (Framing.NONE, 0)),
        ("CONNECT", 200, b"", (Framing.NONE, 0)),
        ("CONNECT", 407, b"Content-Length: 3\r\n", (Framing.LENGTH, 3)),
    ],
)
def test_the_body_of_a_response_ends_where_rfc_9112_says(
    method: str, status: int, field: bytes, expected: tuple[Framing, int]
) -> None:
    head = response(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, field))
    assert response_framing(head, method=method) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", False),
        (b"Content-Length: 0\r\n", False),
        (b"Content-Length: 3\r\n", True),
        (b"Transfer-Encoding: chunked\r\n", True),
    ],
)
def test_a_head_without_a_body_may_announce_one(field: bytes, expected: bool) -> None:
    assert announces_body(response(b"HTTP/1.1 304 Not Modified\r\n" + field + b"\r\n").headers) is expected


# --- writing


def test_a_response_head_is_written_as_it_came() -> None:
    raw = b"HTTP/1.1 529 Overloaded \xf6\r\nX-One: 1\r\nx-one: 2\r\n\r\n"
    head = response(raw)
    assert serialize_response(head, head.headers) == raw
    assert serialize_response(head, ()) == b"HTTP/1.1 529 Overloaded \xf6\r\n\r\n"


@pytest.mark.parametrize("bad", [b"a\r\nEvil: 1", b"a\nb", b"a\rb"])
def test_a_line_break_inside_a_field_is_not_written(bad: bytes) -> None:
    with pytest.raises(ProtocolError):
        serialize_request("GET", "/", ((b"X", bad),))
    with pytest.raises(ProtocolError):
        serialize_request("GET", "/" + bad.decode(), ())


def test_fields_are_found_by_lower_case_name() -> None:
    headers = ((b"X-A", b"1"), (b"x-a", b"2"))
    assert get(headers, b"x-a") == b"1"
    assert get(headers, b"x-b") is None
    assert get_all(headers, b"x-a") == [b"1", b"2"]


def test_a_head_may_have_so_many_fields_and_no_more():
    """Each field costs far more than its bytes: ten thousand fit into a head of 64 KiB."""
    head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 9 + b"\r\n"
    parser = HeadParser(max_fields=10)
    parser.feed(head)
    assert parser.request() is not None
    parser = HeadParser(max_fields=9)
    parser.feed(head)
    with pytest.raises(ProtocolError, match="more than 9 fields") as caught:
        parser.request()
    assert caught.value.status_hint == 431
