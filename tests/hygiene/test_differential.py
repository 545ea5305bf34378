"""Our parsers beside h11 on bytes near the border: read alike by both, or the difference is one of the listed ones."""

from __future__ import annotations

import h11
import pytest
from h11._connection import _body_framing
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.chunked import ChunkedScanner
from claudeproxy.sansio.headers import Framing, HeadParser, request_framing, response_framing

LIMIT = 1 << 16

# What h11 takes and we do not, by the beginning of our message, each with the reason.
STRICTER = {
    "a head's lines end with CRLF": "h11 ends lines at LF (RFC 9112, 2.2 allows it); others do not",
    "a head holds no control characters": "h11 lets some through in values; some servers end a value at NUL",
    "folded header lines": "h11 unfolds (RFC 9112, 5.2 allows it); others see two fields",
    "repeated or malformed Content-Length": "h11 takes equal repetitions, `5, 5` and leading zeros",
    "Content-Length together with Transfer-Encoding": "h11 lets Transfer-Encoding win (RFC 9112, 6.3); others do not",
    "Transfer-Encoding in an HTTP/1.0 message": "h11 reads the chunks; a 1.0 server does not",
    "a framing field whose name is written with an underscore": "an ordinary field to h11, a length to CGI",
    "empty lines where a request line was due": "none of ours to h11, which gives up at the first",
    "the head is longer than": "h11's own limit counts otherwise",
}
STRICTER_CHUNKS = {
    "malformed chunk-size line": "h11 takes white space and any bytes as an extension; RFC 9112, 7.1.1 does not",
    "chunk size too large": "h11 counts to 20 digits; a 64-bit receiver wraps round",
    "chunk-size line too long": "4 KiB are enough",
    "malformed trailer field": "h11 takes framing fields, folding and bare LF in trailers; RFC 9110, 6.5.1 does not",
    "trailer section too long": "16 KiB are enough",
}

LINES = [
    b"Host: a", b"Host: b", b"Content-Length: 2", b"content-length: 2", b"Content-Length: 3", b"Content-Length: 2, 2",
    b"Content-Length: 02", b"Content-Length: +2", b"Content-Length:", b"Content_Length: 2", b"Content-Length : 2",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding:\tCHUNKED ", b"Transfer-Encoding: gzip, chunked",
    b"transfer_encoding: chunked", b"Transfer-Encoding: identity", b"Connection: close", b"Connection: x",
    b"X: a", b"X:a", b"X: \xff\x80", b"X:", b" folded", b"\tfolded", b"X: \x00", b"X: \x0b", b"X: a\x7fb",
    b": a", b"X Y: a",
    b"X\xe9: a", b"nonsense", b"Expect: 100-continue", b"Upgrade: websocket", b"TE: trailers",
]  # fmt: skip
ENDS = st.sampled_from([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b""])
REQUEST_LINES = [
    b"GET / HTTP/1.1", b"POST /v1/messages?beta=true HTTP/1.1", b"HEAD * HTTP/1.0", b"CONNECT a:443 HTTP/1.1",
    b"OPTIONS * HTTP/1.1", b"GET http://a/ HTTP/1.1", b"GET / HTTP/1.9", b"GET / HTTP/2.0", b"GET  / HTTP/1.1",
    b"GET /", b"G@T / HTTP/1.1", b"GET /\xff HTTP/1.1", b"GET / http/1.1", b"\r\nGET / HTTP/1.1", b" GET / HTTP/1.1",
]  # fmt: skip
STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.0 200 OK", b"HTTP/1.1 200",
    b"HTTP/1.1 200 ", b"HTTP/1.1 529 \xf6", b"HTTP/1.1 999 X", b"HTTP/1.1 099 X", b"HTTP/1.1 2000 X", b"HTTP/1.1 20 X",
    b"HTTP/2.0 200 OK", b"ICY 200 OK", b"HTTP/1.1 OK", b"HTTP/1.1  200 OK", b"\r\nHTTP/1.1 200 OK",
]  # fmt: skip


def heads(starts: list[bytes]) -> st.SearchStrategy[bytes]:
    """Heads made of lines that are known to divide parsers, now and then with a byte too many."""
    lines = st.lists(st.tuples(st.sampled_from(LINES), ENDS), max_size=6)
    damage = st.one_of(st.none(), st.tuples(st.integers(0, 60), st.sampled_from(b'\r\n\0 \t:,;"\xff')))

    def make(start: bytes, end: bytes, items: list[tuple[bytes, bytes]], extra: tuple[int, int] | None) -> bytes:
        raw = bytearray(start + end + b"".join(line + after for line, after in items) + b"\r\n")
        if extra is not None:
            raw.insert(extra[0] % len(raw), extra[1])
        return bytes(raw)

    return st.builds(make, st.sampled_from(starts), ENDS, lines, damage)


FRAMINGS = {"chunked": Framing.CHUNKED, "content-length": Framing.LENGTH, "http/1.0": Framing.CLOSE}


def h11_request(raw: bytes) -> tuple[h11.Request, bytes] | None:
    """h11's reading and what follows it; None for more, RemoteProtocolError for no request."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    server.receive_data(raw)
    event = server.next_event()
    if not isinstance(event, h11.Request):
        return None
    return event, server._receive_buffer.__bytes__()


@settings(max_examples=400)
@given(heads(REQUEST_LINES))
def test_a_request_head_is_read_as_h11_reads_it_or_refused_for_a_listed_reason(raw: bytes) -> None:
    parser = HeadParser(max_bytes=LIMIT)
    parser.feed(raw)
    try:
        head = parser.request()
    except ProtocolError as exc:
        ours, head = str(exc), None
    else:
        ours = ""
    raw = raw.lstrip(b"\r\n") if raw.startswith(b"\r\n") else raw  # RFC 9112, 2.2: ours passes over empty lines
    try:
        theirs = h11_request(raw)
    except h11.RemoteProtocolError:
        assert head is None
        return
    if ours:
        assert theirs is None or ours.startswith(tuple(STRICTER)) or not theirs[0].http_version.startswith(b"1."), ours
        return
    assert (head is None) == (theirs is None)
    if head is None or theirs is None:
        return
    event, rest = theirs
    assert (head.method.encode(), head.target.encode()) == (event.method, event.target)
    assert head.headers == tuple(event.headers.raw_items())
    assert parser.leftover == rest
    kind, length = _body_framing(event.method, event)
    framing, ours_length = request_framing(head)
    if framing is Framing.NONE:
        assert (kind, length) == ("content-length", (0,))
    else:
        assert (framing, ours_length) == (FRAMINGS[kind], *(length or (0,)))


@settings(max_examples=400)
@given(heads(STATUS_LINES), st.sampled_from(["GET", "HEAD", "POST"]))
def test_a_response_head_is_read_as_h11_reads_it_or_refused_for_a_listed_reason(raw: bytes, method: str) -> None:
    parser = HeadParser(max_bytes=LIMIT)
    parser.feed(raw)
    try:
        head = parser.response(method=method)
    except ProtocolError as exc:
        ours, head = str(exc), None
    else:
        ours = ""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(raw)
    try:
        event = client.next_event()
    except h11.RemoteProtocolError:
        assert head is None
        return
    if ours:
        other_version = isinstance(event, h11.Response) and not event.http_version.startswith(b"1.")
        assert event is h11.NEED_DATA or ours.startswith(tuple(STRICTER)) or other_version, ours
        return
    assert (head is None) == (event is h11.NEED_DATA)
    if head is None or not isinstance(event, h11.Response):
        return
    assert (head.status_code, head.reason.encode("latin-1")) == (event.status_code, bytes(event.reason))
    assert head.headers == tuple(event.headers.raw_items())
    kind, length = _body_framing(method.encode(), event)
    framing, ours_length = response_framing(head, method=method)
    if framing is Framing.NONE:
        assert (kind, length) == ("content-length", (0,))
    else:
        assert (framing, ours_length) == (FRAMINGS[kind], *(length or (0,)))


CHUNK_PARTS = [
    b"2\r\nab\r\n", b"02\r\nab\r\n", b"2;a=b\r\nab\r\n", b'2;a="\\""\r\nab\r\n', b"2 \r\nab\r\n", b"2;\r\nab\r\n",
    b"2\nab\r\n",
    b"2\r\nabc\r\n", b"2\r\nab\n", b"0x2\r\nab\r\n", b"+2\r\nab\r\n", b"2;\xff\x00\r\nab\r\n", b"a\r\n0123456789\r\n",
    b"G\r\n",
    b"00000000000000000002\r\nab\r\n", b"ffffffffffffffff\r\n", b"2; a\r\nab\r\n",
]  # fmt: skip
LAST_PARTS = [
    b"0\r\n\r\n", b"0;x\r\n\r\n", b"0\r\nX: a\r\n\r\n", b"0\r\nContent-Length: 2\r\n\r\n", b"0\r\nX: a\r\n b\r\n\r\n",
    b"0\n\n",
    b"0\r\nX: a\n\r\n", b"0\r\nX : a\r\n\r\n", b"0\r\nX: \xff \r\n\r\n", b"0\r\n", b"00\r\n\r\n", b"0\r\n\n",
    b"0\r\nX: \x00\r\n\r\n",
]  # fmt: skip


def h11_chunks(body: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...] | None]:
    """(payload, trailers or None while it has not ended). Raises RemoteProtocolError."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert isinstance(client.next_event(), h11.Response)
    payload = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Data):
            payload += event.data
        elif isinstance(event, h11.EndOfMessage):
            return payload, tuple(event.headers.raw_items())
        else:
            return payload, None


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(CHUNK_PARTS), max_size=3), st.sampled_from(LAST_PARTS), st.sampled_from([b"", b"GET /"])
)
def test_a_chunked_body_is_read_as_h11_reads_it_or_refused_for_a_listed_reason(
    parts: list[bytes], last: bytes, behind: bytes
) -> None:
    body = b"".join(parts) + last
    scanner = ChunkedScanner()
    try:
        views, _ = scanner.feed(body + behind)
    except ProtocolError as exc:
        ours: str | None = str(exc)
        views = []
    else:
        ours = None
    try:
        payload, trailers = h11_chunks(body + behind)
    except h11.RemoteProtocolError:
        assert ours is not None
        return
    if ours is not None:
        assert trailers is None or ours.startswith(tuple(STRICTER_CHUNKS)), ours
        return
    assert b"".join(views) == payload
    assert scanner.ended == (trailers is not None)
    assert trailers is None or scanner.trailers == trailers


@pytest.mark.parametrize("reason", [*STRICTER.values(), *STRICTER_CHUNKS.values()])
def test_a_listed_difference_says_why(reason: str) -> None:
    assert len(reason.split()) >= 4
