"""Heads, targets and the ClientHello: what decides whom a connection is for and where a message ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.clienthello import parse_client_hello
from claudeproxy.sansio.headers import (
    Framing,
    HeadParser,
    RequestHead,
    ResponseHead,
    request_framing,
    response_framing,
    serialize_request,
    serialize_response,
)
from claudeproxy.sansio.hops import forward_headers
from claudeproxy.sansio.target import normalize_host, parse_authority, parse_target
from tests.fuzz.target import REFUSED, Target, outcome, pieces, single_bytes
from tests.sansio.test_clienthello import extension, handshake, records, server_name, vector
from tests.support.strict_http import NotHTTPError, read_request, read_response

if TYPE_CHECKING:
    from collections.abc import Iterable

_FRAMINGS = {Framing.NONE: "none", Framing.LENGTH: "length", Framing.CHUNKED: "chunked", Framing.CLOSE: "close"}


def _read(parts: Iterable[bytes], *, response: bool) -> tuple[RequestHead | ResponseHead, bytes] | None:
    parser = HeadParser(max_bytes=2048)
    head: RequestHead | ResponseHead | None = None
    rest = b""
    for part in parts:
        if head is not None:
            rest += part
            continue
        parser.feed(part)
        head = parser.response(method="GET") if response else parser.request()
        if head is not None:
            rest = parser.leftover
    return None if head is None else (head, rest)


def check_request_head(data: bytes) -> None:
    """Any split reads the same, and what is sent on has one reading: ours, h11's and the grammar's."""
    found = outcome(lambda: _read([data], response=False))
    assert outcome(lambda: _read(pieces(data), response=False)) == found
    assert outcome(lambda: _read(single_bytes(data), response=False)) == found
    if found is None or isinstance(found, str):
        return
    head, rest = found
    assert isinstance(head, RequestHead)
    assert data.endswith(rest)
    framing, length = request_framing(head)
    with suppress(ProtocolError):
        target = parse_target(head.method, head.target)
        _check_sent_request(head, target.path, framing, length)


def _check_sent_request(head: RequestHead, path: str, framing: Framing, length: int) -> None:
    sent = serialize_request(head.method, path or "/", forward_headers(head.headers, host=b"api.anthropic.com"))
    body = b"0\r\n\r\n" if framing is Framing.CHUNKED else bytes(min(length, 1 << 20))
    try:
        message, rest = read_request(sent + body)
    except NotHTTPError:
        assert length > 1 << 20, sent
        return
    assert rest == b""
    assert message.framing == _FRAMINGS[framing]
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(sent)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (head.method.encode(), (path or "/").encode())
    assert tuple(event.headers.raw_items()) == message.fields
    assert not {b"keep-alive", b"proxy-authorization", b"upgrade"} & {name.lower() for name, _ in message.fields}


def check_response_head(data: bytes) -> None:
    """Any split reads the same, and what is sent on has one reading: ours, h11's and the grammar's."""
    found = outcome(lambda: _read([data], response=True))
    assert outcome(lambda: _read(pieces(data), response=True)) == found
    assert outcome(lambda: _read(single_bytes(data), response=True)) == found
    if found is None or isinstance(found, str):
        return
    head, rest = found
    assert isinstance(head, ResponseHead)
    assert data.endswith(rest)
    framing, length = response_framing(head, method="GET")
    if framing is Framing.NONE or length > 1 << 20:
        return  # what is taken off a head that may announce no body is the relay's: tests/hygiene
    sent = serialize_response(head, forward_headers(head.headers))
    body = b"0\r\n\r\n" if framing is Framing.CHUNKED else bytes(length)
    message, after = read_response(sent + body)
    assert (message.framing, after) == (_FRAMINGS[framing], b"")
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    event = client.next_event()
    assert isinstance(event, h11.Response)
    assert event.status_code == head.status_code
    assert tuple(event.headers.raw_items()) == message.fields


def check_target(data: bytes) -> None:
    """A host has one spelling, an authority is read back as it was written, and urllib sees the same host."""
    method, _, text = data.decode("latin-1").partition(" ")
    host = outcome(lambda: normalize_host(text))
    if host != REFUSED or text == REFUSED:
        assert normalize_host(host) == host
        assert host.isascii()
        assert host == host.lower()
        assert not set(host) & set("/@?# \t\r\n[]")
    target = outcome(lambda: parse_target(method, text))
    if isinstance(target, str):
        return
    if target.host is not None:
        assert target.port is not None
        written = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
        assert parse_authority(written, default_port=None) == (target.host, target.port)
    if target.form == "absolute":
        seen = urlsplit(text)
        assert normalize_host(seen.hostname or "") == target.host
        assert seen.port in (None, target.port)
        assert target.path.startswith(("/", "*"))
        assert text.endswith(target.path.removeprefix("/").removeprefix("*"))
    if target.form == "origin":
        assert target.path == text


def check_client_hello(data: bytes) -> None:
    """What a beginning says stays true when more comes, and the name that it asks for has one spelling."""
    whole = outcome(lambda: parse_client_hello(data, max_bytes=2048))
    for end in {len(part) for part in pieces(data, cuts=6)}:
        early = outcome(lambda end=end: parse_client_hello(data[:end], max_bytes=2048))  # type: ignore[misc]
        assert early is None or early == whole
    assert outcome(lambda: parse_client_hello(data + bytes(20), max_bytes=2048)) == whole or whole is None
    if whole is not None and not isinstance(whole, str) and whole.sni is not None:
        assert normalize_host(whole.sni) == whole.sni


def _requests() -> list[bytes]:
    return [
        b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x-api-key\r\n\r\n0\r\n",
        b"GET http://a.example:80/ HTTP/1.0\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Authorization: a\r\n\r\n",
        b"\r\nOPTIONS * HTTP/1.1\r\nhost:\ta\t\r\nX: \xff y\r\n\r\nGET / HTTP/1.1\r\n",
    ]


def _responses() -> list[bytes]:
    return [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 529 \xf6verloaded\r\nContent-Length: 2\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n{}",
        b"HTTP/1.0 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ]


def _hellos() -> list[bytes]:
    whole = handshake(server_name(b"api.anthropic.com") + extension(16, vector(2, vector(1, b"http/1.1"))))
    versions = extension(43, vector(1, b"\x0a\x0a\x03\x04"))
    return [records(whole), records(whole, 20), records(handshake(versions)), records(handshake(None))]


_HEAD_WORDS = (
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b"\t", b" ", b": ", b" :", b"\x0b", b"\x85", b",", b"Content-Length: ",
    b"content_length: 3\r\n", b"Transfer-Encoding: ", b"chunked", b"identity", b"Connection: ", b"Host: ", b"Upgrade: ",
    b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"0", b"00", b"+1", b"99999999999999999999", b"websocket", b"keep-alive",
)  # fmt: skip
_TARGET_WORDS = (
    b"http://", b"https://", b"[::1]", b"[", b"]", b"@", b":", b":443", b"%25", b"127.0.0.1", b"0x7f.1", b"xn--a",
    b"..", b".", b"localhost", b"?", b"#", b"\\", b"//", b"GET ", b"CONNECT ", b"OPTIONS ", b"*",
    b"\xe2\x84\xaa", b"::ffff:1.2.3.4",
)  # fmt: skip

TARGETS = (
    Target(
        name="request-head",
        invariant="any split reads the same; what is sent on is read alike by us, by h11 and by the grammar",
        check=check_request_head,
        seeds=_requests,
        words=_HEAD_WORDS,
        max_bytes=2100,
    ),
    Target(
        name="response-head",
        invariant="any split reads the same; what is sent on is read alike by us, by h11 and by the grammar",
        check=check_response_head,
        seeds=_responses,
        words=(*_HEAD_WORDS, b"HTTP/1.1 1", b"204", b"304"),
        max_bytes=2100,
    ),
    Target(
        name="target",
        invariant="a host has one spelling; an authority is read back as written; urllib sees the same host",
        check=check_target,
        seeds=lambda: [
            b"GET http://API.Anthropic.com.:443/v1/messages?beta=true",
            b"GET https://[2001:db8::1]:8443?x",
            b"CONNECT [::1]:443",
            b"OPTIONS *",
            b"GET /v1/models",
            b" xn--bcher-kva.example",
        ],
        words=_TARGET_WORDS,
        rounds=4000,
        max_bytes=512,
    ),
    Target(
        name="client-hello",
        invariant="what a beginning says stays true when more comes; the asked-for name has one spelling",
        check=check_client_hello,
        seeds=_hellos,
        words=(b"\x16\x03\x01", b"\x00\x00", b"\x00\x10", b"\x00\x2b", b"\xff\xff", b"\x01\x00"),
        max_bytes=3000,
    ),
)
