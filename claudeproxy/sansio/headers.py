"""Heads of HTTP/1.1 messages: parsed strictly, framed, written again.

Apart from the bodies because only heads are rebuilt: h11 parses them and `raw_items()` keeps order, casing and
duplicates. Before h11 this refuses what it tolerates and other servers read differently: bare LF, obsolete folding,
Content-Length beside Transfer-Encoding, repeated lengths. Which fields go on is for `hops`. It moves no byte.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

import h11

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from claudeproxy.model import Buffer, RawHeaders

_MAX_EMPTY_LINES = 4  # before a request line; RFC 9112, 2.2 asks for one at least
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\r\n")) + b"\x7f"
_WITHOUT_CONTROLS = bytes(set(range(256)) - set(_CONTROLS))
# 18 digits are an exabyte and fit 64 bits; after a zero some read octal.
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
# RFC 3875, 4.1.18: behind CGI and its kin these are the same names as those with a hyphen.
_DISGUISED = re.compile(rb"\r\n(?:content_length|transfer_encoding):")
# Lines that h11 has taken, and what it made of them: most come again with every message, and it judges each by itself.
# Not those that it compares with others, and none whose name is that of a credential.
_taken: dict[bytes, tuple[bytes, bytes]] = {}
_MAX_TAKEN = 1024
_LONGEST_TAKEN = 128  # bytes of a line
_NOT_KEPT = re.compile(
    rb"(?:host|content-length|transfer-encoding)\b|[^:]*(?:auth|cookie|key|secret|token)", re.IGNORECASE
)
_PROBE = h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "upgrade"), ("Upgrade", "a")])


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestHead:
    """Request line and fields. `http_version` is `1.0` or `1.1`."""

    method: str
    target: str
    http_version: str
    headers: RawHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseHead:
    """Status line and fields; `reason` is Latin-1, maybe empty."""

    status_code: int
    reason: str
    http_version: str
    headers: RawHeaders


class HeadParser:
    """Collects the bytes of a head and parses it once its empty line is there.

    One parser reads one connection's heads in turn: what follows a head stays inside for the next call, or is taken out
    with `leftover`. `max_bytes` bounds a head with its final empty line, `max_fields` the lines between; more of either
    is a ProtocolError with hint 431.
    """

    __slots__ = ("_buffer", "_checked", "_empty_lines", "_max_bytes", "_max_fields", "_searched")

    def __init__(self, *, max_bytes: int = 65536, max_fields: int = 200) -> None:
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._buffer = b""
        self._searched = 0  # no empty line ends before this offset
        self._checked = 0  # complete lines up to here are known to end in CRLF
        self._empty_lines = 0

    def __repr__(self) -> str:
        return f"<HeadParser holding {len(self._buffer)} bytes>"

    def feed(self, data: Buffer) -> None:
        """Add bytes of the peer; nothing is judged before `request` or `response` is called."""
        # A head comes in one piece as a rule, with as much of a body as was read: that is not to be copied twice.
        self._buffer = self._buffer + data if self._buffer else bytes(data)

    @property
    def leftover(self) -> bytes:
        """The bytes after the last parsed head, given out once."""
        rest, self._buffer = self._buffer, b""
        self._searched = self._checked = self._empty_lines = 0
        return rest

    def request(self) -> RequestHead | None:
        """The next request head; None while its end has not come. Raises ProtocolError (400, 431, 501, 505)."""
        while self._buffer.startswith(b"\r\n"):
            self._empty_lines += 1
            if self._empty_lines > _MAX_EMPTY_LINES:
                raise ProtocolError("empty lines where a request line was due")
            self._buffer = self._buffer[2:]
            self._searched = self._checked = 0
        raw = self._take_head()
        if raw is None:
            return None
        event, headers = _parse(h11.Connection(h11.SERVER), raw)
        assert isinstance(event, h11.Request)
        version = _check(raw, event.http_version, headers)
        return RequestHead(
            method=event.method.decode("ascii"),
            target=event.target.decode("ascii"),
            http_version=version,
            headers=headers,
        )

    def response(self, *, method: str) -> ResponseHead | None:
        """The next response head, informational ones too; None while its end has not come. Raises ProtocolError.

        `method` is that of the request: what the head says about a body is for `response_framing` to tell.
        """
        raw = self._take_head()
        if raw is None:
            return None
        connection = h11.Connection(h11.CLIENT)
        if raw[9:10] == b"1":  # h11 takes an informational answer only after a request
            connection.send(_PROBE)
        event, headers = _parse(connection, raw)
        assert not isinstance(event, h11.Request)
        version = _check(raw, event.http_version, headers)
        return ResponseHead(
            status_code=event.status_code,
            reason=bytes(event.reason).decode("latin-1"),
            http_version=version,
            headers=headers,
        )

    def _take_head(self) -> bytes | None:
        """Cut one head out of the buffer, or None. Refuses NUL, control characters, bare CR and bare LF, folding."""
        buffer, limit = self._buffer, self._max_bytes
        found = buffer.find(b"\r\n\r\n", self._searched, limit)
        end = found + 4 if found >= 0 else buffer.rfind(b"\n", self._checked, limit) + 1
        if end > self._checked:
            _check_lines(buffer[self._checked : end])
            self._checked = end
        if found >= 0:
            head, self._buffer = buffer[:end], buffer[end:]
            self._searched = self._checked = self._empty_lines = 0
            if head.count(b"\n") - 2 > self._max_fields:
                raise ProtocolError(f"the head has more than {self._max_fields} fields", status_hint=431)
            return head
        if len(buffer) >= limit:
            raise ProtocolError(f"the head is longer than {limit} bytes", status_hint=431)
        self._searched = max(0, len(buffer) - 3)
        return None


def _check_lines(lines: bytes) -> None:
    """Refuse line ends and characters that parsers disagree on, in `lines` that end with LF."""
    if not lines.count(b"\r\n") == lines.count(b"\n") == lines.count(b"\r"):
        raise ProtocolError("a head's lines end with CRLF; a bare CR or LF is not allowed")
    if lines.translate(None, _WITHOUT_CONTROLS):
        raise ProtocolError("a head holds no control characters")
    # RFC 9112, 5.2: a line that begins with whitespace is obsolete folding.
    if b"\r\n " in lines or b"\r\n\t" in lines or lines.startswith((b" ", b"\t")):
        raise ProtocolError("folded header lines are not allowed")


_Event: TypeAlias = h11.Request | h11.InformationalResponse | h11.Response


def _parse(connection: h11.Connection, raw: bytes) -> tuple[_Event, RawHeaders]:
    """Have h11 read a head, all of it but the lines that it has taken before."""
    start, *lines = raw[:-4].split(b"\r\n")
    taken = [_taken.get(line) for line in lines]
    new = [line for line, field in zip(lines, taken, strict=True) if field is None]
    try:
        connection.receive_data(b"\r\n".join((start, *new, b"", b"")))
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:  # it may quote the line that it refuses, and a key may stand there
        raise ProtocolError(str(exc).partition(": bytearray(")[0], status_hint=exc.error_status_hint) from None
    assert isinstance(event, _Event)
    fields = event.headers.raw_items()
    if len(fields) < len(new):  # it makes one of lengths that are equal; `_check` says so, from the bytes
        return event, tuple(fields)
    given = iter(fields)
    _remember(zip(new, fields, strict=True))
    return event, tuple(field or next(given) for field in taken)


def _remember(fields: Iterable[tuple[bytes, tuple[bytes, bytes]]]) -> None:
    for line, field in fields:
        if len(line) <= _LONGEST_TAKEN and not _NOT_KEPT.match(line):
            if len(_taken) >= _MAX_TAKEN:
                _taken.clear()
            _taken[line] = field


def _check(raw: bytes, version: bytes, headers: RawHeaders) -> str:
    """Refuse ambiguous framing (RFC 9112, 6.1 to 6.3) and versions we do not speak; return the version we go by."""
    if not version.startswith(b"1."):
        raise ProtocolError(f"HTTP/{version.decode('latin-1')} is not spoken here", status_hint=505)
    lower = raw.lower()
    if _DISGUISED.search(lower):
        raise ProtocolError("a framing field whose name is written with an underscore")
    lengths = lower.count(b"\r\ncontent-length:")
    if lengths:
        # h11 folds "5, 5" into "5": the comma shows only in the bytes.
        value = lower.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip(b" \t")
        if lengths > 1 or not _LENGTH.fullmatch(value):
            raise ProtocolError("repeated or malformed Content-Length")
    if b"\r\ntransfer-encoding:" in lower:
        if lengths:
            raise ProtocolError("Content-Length together with Transfer-Encoding")
        if version == b"1.0":
            raise ProtocolError("Transfer-Encoding in an HTTP/1.0 message")
    # RFC 9110, 2.5: a higher minor version is read as the highest that we know.
    return "1.0" if version == b"1.0" else "1.1"


class Framing(Enum):
    """How the end of a body is found."""

    NONE = auto()
    LENGTH = auto()
    CHUNKED = auto()
    CLOSE = auto()


def request_framing(head: RequestHead) -> tuple[Framing, int]:
    """(framing, length in bytes) of a request's body; the length is 0 unless LENGTH (RFC 9112, 6.3)."""
    return _framing(head.headers) or (Framing.NONE, 0)


def response_framing(head: ResponseHead, *, method: str) -> tuple[Framing, int]:
    """(framing, length in bytes) of the body that answers a request of `method` (RFC 9112, 6.3)."""
    status = head.status_code
    if method == "HEAD" or status < 200 or status in (204, 304) or (method == "CONNECT" and status < 300):
        return Framing.NONE, 0
    return _framing(head.headers) or (Framing.CLOSE, 0)


def _framing(headers: RawHeaders) -> tuple[Framing, int] | None:
    if get(headers, b"transfer-encoding") is not None:  # `chunked`: the parser lets no other through
        return Framing.CHUNKED, 0
    length = get(headers, b"content-length")
    return None if length is None else (Framing.LENGTH, int(length))


def announces_body(headers: RawHeaders) -> bool:
    """Whether the fields frame a body, be there one or not: an answer to HEAD, a 204 and a 304 have none."""
    return _framing(headers) not in (None, (Framing.LENGTH, 0))


def serialize_request(method: str, target: str, headers: RawHeaders) -> bytes:
    """The bytes of a request head, HTTP/1.1, fields as given. Raises ProtocolError on a line break inside."""
    return _serialize(f"{method} {target} HTTP/1.1".encode("ascii"), headers)


def serialize_response(head: ResponseHead, headers: RawHeaders) -> bytes:
    """The bytes of a response head, HTTP/1.1, with `headers` in place of its own."""
    return _serialize(f"HTTP/1.1 {head.status_code} {head.reason}".encode("latin-1"), headers)


def _serialize(start: bytes, headers: RawHeaders) -> bytes:
    lines = [start, *(b"%b: %b" % field for field in headers), b"", b""]
    raw = b"\r\n".join(lines)
    if raw.count(b"\n") != len(lines) - 1 or raw.count(b"\r") != len(lines) - 1:
        raise ProtocolError("a head cannot hold a line break inside a field")
    return raw


def get(headers: RawHeaders, name: bytes) -> bytes | None:
    """The first value of field `name` (lower case), or None."""
    length = len(name)
    for key, value in headers:
        if len(key) == length and key.lower() == name:  # asked a dozen times for each message: most names end here
            return value
    return None


def get_all(headers: RawHeaders, name: bytes) -> list[bytes]:
    """All values of field `name` (lower case), in order."""
    length = len(name)
    return [value for key, value in headers if len(key) == length and key.lower() == name]
