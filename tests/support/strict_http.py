"""A second opinion: HTTP/1.1 messages read by the grammar of RFC 9112 alone; it shares nothing with the proxy or h11.

It refuses whatever the grammar does not have, also what RFC 9112 lets a recipient repair. What it accepts is one
message with one reading; that is what the tests ask of every byte that the proxy passes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2}) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*")
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*\r\n")


class NotHTTPError(ValueError):
    """Not the message that was expected, whole and by the grammar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `framing` is `none`, `length`, `chunked` or `close`; `body` its payload."""

    start: tuple[bytes, ...]
    fields: tuple[tuple[bytes, bytes], ...]
    framing: str
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field, its name in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


def read_request(data: bytes) -> tuple[Message, bytes]:
    """(the request that `data` begins with, what follows it). Raises NotHTTPError."""
    lines, rest = _head(data)
    match = _REQUEST_LINE.fullmatch(lines[0])
    if match is None:
        raise NotHTTPError(f"no request line: {lines[0]!r}")
    fields = _fields(lines[1:])
    if len([1 for name, _ in fields if name.lower() == b"host"]) != 1:
        raise NotHTTPError("a request has one Host")
    framing, length = _framing(fields, otherwise="none")
    return _with_body((match[1], match[2]), fields, framing, length, rest)


def read_response(data: bytes, *, method: str = "GET") -> tuple[Message, bytes]:
    """(the response that `data` begins with, what follows it). Raises NotHTTPError."""
    lines, rest = _head(data)
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise NotHTTPError(f"no status line: {lines[0]!r}")
    fields = _fields(lines[1:])
    status = int(match[1])
    framing, length = _framing(fields, otherwise="close")
    if status < 200 or status in (204, 304) or method == "HEAD":
        if status != 304 and method != "HEAD" and (framing == "chunked" or length):
            raise NotHTTPError(f"a {status} announces no body")
        framing, length = "none", 0
    return _with_body((match[1], match[2]), fields, framing, length, rest)


def _head(data: bytes) -> tuple[list[bytes], bytes]:
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise NotHTTPError("the head does not end")
    return head.split(b"\r\n"), rest


def _fields(lines: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    fields = []
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise NotHTTPError(f"no field: {line!r}")
        fields.append((match[1], match[2]))
    return tuple(fields)


def _framing(fields: tuple[tuple[bytes, bytes], ...], *, otherwise: str) -> tuple[str, int]:
    lengths = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise NotHTTPError("more than one framing")
    if codings:
        if codings[0] != b"chunked":
            raise NotHTTPError(f"transfer coding {codings[0]!r}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"0|[1-9][0-9]{0,17}", lengths[0]):
            raise NotHTTPError(f"length {lengths[0]!r}")
        return "length", int(lengths[0])
    return otherwise, 0


def _with_body(
    start: tuple[bytes, ...], fields: tuple[tuple[bytes, bytes], ...], framing: str, length: int, rest: bytes
) -> tuple[Message, bytes]:
    trailers: tuple[tuple[bytes, bytes], ...] = ()
    if framing == "chunked":
        body, trailers, rest = read_chunked(rest)
    elif framing == "close":
        body, rest = rest, b""
    else:
        if len(rest) < length:
            raise NotHTTPError(f"{len(rest)} of {length} bytes of the body")
        body, rest = rest[:length], rest[length:]
    return Message(start=start, fields=fields, framing=framing, body=body, trailers=trailers), rest


def read_chunked(data: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...], bytes]:
    """(payload, trailer fields, what follows) of the chunked body that `data` begins with. Raises NotHTTPError."""
    payload, at = bytearray(), 0
    while True:
        match = _CHUNK.match(data, at)
        if match is None:
            raise NotHTTPError(f"no chunk size: {data[at : at + 40]!r}")
        at, size = match.end(), int(match[1], 16)
        if not size:
            break
        if data[at + size : at + size + 2] != b"\r\n":
            raise NotHTTPError("a chunk does not end where its size says")
        payload += data[at : at + size]
        at += size + 2
    trailers = []
    while not data.startswith(b"\r\n", at):
        line, end, _ = data[at:].partition(b"\r\n")
        match = _FIELD.fullmatch(line)
        if match is None or not end:
            raise NotHTTPError(f"no trailer: {line[:40]!r}")
        trailers.append((match[1], match[2]))
        at += len(line) + 2
    return bytes(payload), tuple(trailers), data[at + 2 :]
