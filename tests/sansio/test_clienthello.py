"""Reading the ClientHello, against what OpenSSL really sends."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.clienthello import ClientHello, parse_client_hello


def openssl_hello(
    name: str | None = "api.anthropic.com",
    alpn: tuple[str, ...] = ("http/1.1",),
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = maximum
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, data)


def server_name(name: bytes, kind: int = 0) -> bytes:
    return extension(0, vector(2, bytes([kind]) + vector(2, name)))


def handshake(extensions: bytes | None = b"", *, tail: bytes = b"", kind: int = 1) -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    if extensions is not None:
        body += vector(2, extensions)
    return bytes([kind]) + vector(3, body + tail)


def records(message: bytes, size: int = 16384) -> bytes:
    pieces = [message[i : i + size] for i in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


SAMPLE = records(handshake(server_name(b"api.anthropic.com") + extension(16, vector(2, vector(1, b"http/1.1")))))


def outcome(data: bytes, **limits: int) -> ClientHello | str | None:
    try:
        return parse_client_hello(data, **limits)
    except ProtocolError:
        return "error"


def test_a_hello_of_openssl_is_read() -> None:
    hello = parse_client_hello(openssl_hello(alpn=("h2", "http/1.1")))
    assert hello == ClientHello(sni="api.anthropic.com", alpn=(b"h2", b"http/1.1"), versions=(0x0304, 0x0303))


def test_a_hello_without_name_alpn_or_version_extension_says_so() -> None:
    hello = parse_client_hello(openssl_hello(None, (), ssl.TLSVersion.TLSv1_2))
    assert hello == ClientHello(sni=None, alpn=(), versions=(0x0303,))


def test_a_hello_may_end_before_the_extensions() -> None:
    assert parse_client_hello(records(handshake(None))) == ClientHello(sni=None, alpn=(), versions=(0x0303,))


def test_every_piece_of_a_hello_asks_for_more() -> None:
    data = openssl_hello()
    assert [parse_client_hello(data[:n]) for n in range(len(data))] == [None] * len(data)


def test_bytes_after_the_hello_are_not_looked_at() -> None:
    assert parse_client_hello(SAMPLE + b"GET /") == parse_client_hello(SAMPLE)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 300])
def test_a_hello_may_span_records_of_any_size(size: int) -> None:
    message = openssl_hello()[5:]
    assert parse_client_hello(records(message, size)) == parse_client_hello(openssl_hello())


def test_a_hello_with_large_key_shares_is_read() -> None:
    data = records(handshake(extension(51, bytes(20_000)) + server_name(b"Claude.AI.")), size=4000)
    assert parse_client_hello(data[:19_000]) is None
    hello = parse_client_hello(data)
    assert hello is not None
    assert hello.sni == "claude.ai"


def test_a_name_of_an_unknown_kind_is_passed_over() -> None:
    assert parse_client_hello(records(handshake(server_name(b"x", kind=7)))) == ClientHello(
        sni=None, alpn=(), versions=(0x0303,)
    )


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\x16\x02",
        b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x40\x01",
        records(handshake(kind=2)), records(handshake(tail=b"x")), records(handshake(b"\0")),
        records(handshake(server_name(b"a") * 2)), records(handshake(server_name(b"\xff"))),
        records(handshake(server_name(b"a b"))), records(handshake(server_name(b""))),
        records(handshake(extension(0, b""))),
        records(handshake(extension(16, b"\0\5\5http"))), records(handshake(extension(43, b"\3\3\4\3"))),
        records(b"\x01\0\0\0"), records(b"\x01\0\0\x05abcde"),
    ],
)  # fmt: skip
def test_what_can_be_no_hello_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_client_hello(data)


def test_an_overlong_hello_is_refused_as_soon_as_its_length_is_known() -> None:
    data = records(handshake(extension(21, bytes(2000))))
    assert parse_client_hello(data, max_bytes=3000) is not None
    with pytest.raises(ProtocolError):
        parse_client_hello(data[:9], max_bytes=1000)


def test_a_hello_stretched_over_tiny_records_is_refused() -> None:
    data = records(handshake(extension(21, bytes(900))), size=1)
    with pytest.raises(ProtocolError):
        parse_client_hello(data, max_bytes=1000)


@given(st.binary(max_size=100) | st.binary(max_size=60).map(lambda tail: SAMPLE[:40] + tail))
def test_junk_gives_more_a_value_or_a_protocol_error(data: bytes) -> None:
    assert outcome(data) is None or outcome(data) == "error" or isinstance(outcome(data), ClientHello)


@given(st.data(), st.integers(1, 40))
def test_a_mutated_hello_is_judged_the_same_however_it_arrives(data: st.DataObject, size: int) -> None:
    """Once an answer is had from the first bytes, more bytes do not change it."""
    mutated = bytearray(records(SAMPLE[5:], size))
    for _ in range(data.draw(st.integers(0, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    whole = outcome(bytes(mutated), max_bytes=400)
    cut = data.draw(st.integers(0, len(mutated)))
    assert outcome(bytes(mutated[:cut]), max_bytes=400) in (None, whole)
