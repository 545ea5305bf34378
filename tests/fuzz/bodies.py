"""What stands in bodies: chunks, server-sent events, content codings."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]
import zstandard

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.chunked import ChunkedScanner
from claudeproxy.sansio.encoding import Decoder, decode_prefix
from claudeproxy.sansio.sse import Event, SSEParser
from tests.fuzz.target import REFUSED, Target, outcome, pieces, single_bytes
from tests.support.strict_http import read_chunked

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_DECODED = 200_000


def _scan(parts: Iterable[bytes]) -> tuple[bytes, int, bool, object]:
    scanner, payload, consumed = ChunkedScanner(max_line=300, max_trailer=600), bytearray(), 0
    for part in parts:
        views, used = scanner.feed(part)
        assert used == len(part) or scanner.ended
        payload += b"".join(views)
        consumed += used
    return bytes(payload), consumed, scanner.ended, scanner.trailers


def check_chunked(data: bytes) -> None:
    """Any split reads the same; a body that ended is read alike by the grammar, byte for byte."""
    found = outcome(lambda: _scan([data]))
    assert outcome(lambda: _scan(pieces(data))) == found
    assert outcome(lambda: _scan(single_bytes(data))) == found
    if isinstance(found, str):
        return
    payload, consumed, ended, trailers = found
    assert len(payload) <= consumed <= len(data)
    if ended:
        assert read_chunked(data) == (payload, trailers, data[consumed:])
    else:
        assert consumed == len(data)


def _events(parts: Iterable[bytes]) -> list[Event]:
    parser = SSEParser(max_event_bytes=2000)
    return [event for part in parts for event in parser.feed(part)]


def _standard_events(data: bytes) -> list[Event]:
    """The WHATWG algorithm in its own words, on the whole stream at once."""
    found: list[Event] = []
    lines: list[str] = []
    name, last = "", None
    # What follows the last line end is no line: a final block that is cut off is discarded.
    for raw in re.split(rb"\r\n|\n|\r", data.removeprefix(b"\xef\xbb\xbf"))[:-1]:
        line = raw.decode("utf-8", "replace")
        if not line:
            if lines:
                found.append(Event(event=name or "message", data="\n".join(lines), id=last))
            lines, name = [], ""
            continue
        key, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if key == "data":
            lines.append(value)
        elif key == "event":
            name = value
        elif key == "id" and "\0" not in value:
            last = value
    return found


def check_sse(data: bytes) -> None:
    """Any split gives the same events, and they are those of the WHATWG algorithm."""
    expected = _standard_events(data)
    for parts in ([data], pieces(data), single_bytes(data)):
        try:
            assert _events(parts) == expected
        except ProtocolError:
            assert len(data) > 2000


def _decode(codings: str, parts: Iterable[bytes]) -> tuple[bytes, bool]:
    decoder, made = Decoder(codings, max_bytes=_MAX_DECODED), b""
    for part in parts:
        made += decoder.feed(part)
    try:
        decoder.finish()
    except ProtocolError:
        return made, False
    return made, True


def check_encoding(data: bytes) -> None:
    """Any split decodes alike, within the bound; what a damaged body gives is a beginning of what a whole one gives."""
    line, _, body = data.partition(b"\n")
    codings = line.decode("latin-1")
    found = outcome(lambda: _decode(codings, [body]))
    cut = outcome(lambda: _decode(codings, pieces(body)))
    # libzstd compares the size that a frame announces with what came out only when it is given the frame whole.
    assert cut == found or ("zstd" in codings.lower() and found == REFUSED)
    prefix = decode_prefix(body, codings, max_bytes=_MAX_DECODED)
    assert len(prefix) <= _MAX_DECODED
    if not isinstance(found, str):
        assert prefix == found[0]
    shorter = decode_prefix(body[: len(body) // 2], codings, max_bytes=_MAX_DECODED)
    assert prefix.startswith(shorter)


def _encoded() -> list[bytes]:
    text = b'{"type": "message", "content": []}' * 9
    raw = zlib.compressobj(wbits=-15)
    return [
        b"gzip\n" + gzip.compress(text, mtime=0),
        b"gzip\n" + gzip.compress(text, mtime=0) + gzip.compress(b"second member", mtime=0) + bytes(9),
        b"deflate\n" + zlib.compress(text),
        b"deflate\n" + raw.compress(text) + raw.flush(),
        b"br\n" + brotli.compress(text),
        b"zstd\n" + zstandard.ZstdCompressor().compress(text),
        b"gzip, zstd\n" + zstandard.ZstdCompressor().compress(gzip.compress(text, mtime=0)),
        b"br\n" + brotli.compress(bytes(1_000_000)),
        b"identity, x-unknown\nplain",
    ]


TARGETS = (
    Target(
        name="chunked",
        invariant="any split reads the same; a body that ended is read alike by the grammar, byte for byte",
        check=check_chunked,
        seeds=lambda: [
            b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200",
            b'A;x=y;z="q\\"\t"\r\n0123456789\r\n000\r\nX-Sum: 1\r\nserver-timing:\ta \r\n\r\n',
            b"7fffffffffffffff\r\nabc",
        ],
        words=(
            b"\r\n", b"\n", b"\r", b"0\r\n\r\n", b"0x", b"+", b"_", b"-", b";", b"=", b'"', b"\\", b"ffffffffffffffff",
            b" ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"\0", b"1\r\na\r\n",
        ),
        max_bytes=1200,
    ),
    Target(
        name="sse",
        invariant="any split gives the same events, and they are those of the WHATWG algorithm",
        check=check_sse,
        seeds=lambda: [
            b'event: ping\ndata: {"type": "ping"}\n\n',
            b"\xef\xbb\xbfid: 1\r\ndata: a\r\ndata:b\r\n\r\n: comment\rdata\r\rdata: \xff\n\n",
        ],
        words=(b"\n\n", b"\r\n", b"\r", b"data:", b"data: ", b"event: ", b"id: ", b"\0", b":", b"\xef\xbb\xbf"),
        max_bytes=2500,
    ),
    Target(
        name="encoding",
        invariant="any split decodes alike and within the bound; half a body gives a beginning of what all of it gives",
        check=check_encoding,
        seeds=_encoded,
        words=(b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b", ", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", bytes(8)),
        rounds=500,
    ),
)  # fmt: skip
