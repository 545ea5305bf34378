"""A strict scanner that runs beside a chunked body: finds its payload and its end, changes nothing.

Apart because the relay forwards chunked bodies verbatim (h11 in full costs 25 to 30 us per server-sent event, this a
few) and must still know where they end. It is strict where parsers disagree with each other (RFC 9112, 7.1): a chunk
that two servers read differently is how requests are smuggled. It copies no payload and keeps none.
"""

from __future__ import annotations

import re
from enum import IntEnum, auto
from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from claudeproxy.model import Buffer, RawHeaders

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
# RFC 9112, 7.1.1 allows "bad whitespace" round an extension; nobody sends it, and attacks do.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*\r\n")
_FIELD_LINE = re.compile(rb"(" + _TOKEN + rb"):[ \t]*((?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?)[ \t]*\r\n")
_NEWLINE = re.compile(rb"\n")
_MAX_SIZE = 2**63 - 1  # beyond it a 64-bit receiver wraps round
# RFC 9110, 6.5.1: fields that frame, route, authenticate or say how to read the content do not belong in a trailer;
# whoever merges one into the head reads another message. Nor do those of one connection, which a head loses here.
_FORBIDDEN_TRAILERS = frozenset(
    b"content-length transfer-encoding host connection keep-alive proxy-connection te trailer upgrade expect "
    b"authorization proxy-authorization cookie set-cookie x-api-key content-encoding content-type content-range".split()
)


class _State(IntEnum):
    SIZE = auto()
    DATA = auto()
    DATA_CR = auto()
    DATA_LF = auto()
    TRAILER = auto()
    END = auto()


class ChunkError(ProtocolError):
    """A chunked body is malformed. `payload` and `count` are what `feed` would have returned for the bytes before."""

    def __init__(self, reason: str, payload: list[memoryview], count: int) -> None:
        super().__init__(reason)
        self.payload = payload
        self.count = count


class ChunkedScanner:
    """Strict chunked scanner beside verbatim forwarding: finds payload and end.

    `max_line` bounds one chunk-size line and `max_trailer` the whole trailer section, both in bytes with line ends.
    """

    __slots__ = ("_line", "_max_line", "_max_trailer", "_remaining", "_state", "_trailer_left", "_trailers")

    def __init__(self, *, max_line: int = 4096, max_trailer: int = 16384) -> None:
        self._max_line = max_line
        self._max_trailer = max_trailer
        self._trailer_left = max_trailer
        self._state = _State.SIZE
        self._remaining = 0
        self._line = bytearray()  # the beginning of a line whose end has not come yet
        self._trailers: list[tuple[bytes, bytes]] = []

    def __repr__(self) -> str:
        return f"<ChunkedScanner {self._state.name} remaining={self._remaining}>"

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailer section were seen to their end."""
        return self._state is _State.END

    @property
    def trailers(self) -> RawHeaders:
        """The trailer fields as they were sent; complete once `ended`."""
        return tuple(self._trailers)

    def feed(self, data: Buffer) -> tuple[list[memoryview], int]:
        """Scan `data`; return its payload as views into it, and how many of its bytes belong to this body.

        The count is less than `len(data)` only when the body ended. Raises ChunkError (400) on anything that is not
        strictly RFC 9112, 7.1; the scanner is then of no further use.
        """
        view = memoryview(data)
        end = len(view)
        payload: list[memoryview] = []
        pos = self._whole_chunks(data, view, payload)
        try:
            while pos < end:
                state = self._state
                if state is _State.SIZE:
                    pos = self._size(data, pos)
                elif state is _State.DATA:
                    stop = min(pos + self._remaining, end)
                    payload.append(view[pos:stop])
                    self._remaining -= stop - pos
                    pos = stop
                    if not self._remaining:
                        self._state = _State.DATA_CR
                elif state is _State.DATA_CR or state is _State.DATA_LF:
                    if view[pos] != (0x0D if state is _State.DATA_CR else 0x0A):
                        raise ProtocolError("chunk data does not end with CRLF where its size says")  # noqa: TRY301
                    pos += 1
                    self._state = _State.DATA_LF if state is _State.DATA_CR else _State.SIZE
                elif state is _State.TRAILER:
                    pos = self._trailer(data, pos)
                else:
                    break
        except ProtocolError as exc:
            raise ChunkError(str(exc), payload, pos) from None
        return payload, pos

    def _whole_chunks(self, data: Buffer, view: memoryview, payload: list[memoryview]) -> int:
        """Take the chunks at the beginning that came whole, which is nearly all there is; the rest is judged step by
        step, whatever is wrong with it."""
        pos = 0
        if self._state is not _State.SIZE or self._line:
            return pos
        while (match := _CHUNK_LINE.match(data, pos)) is not None:
            start = match.end()
            stop = start + int(match[1], 16)
            if stop == start or data[stop : stop + 2] != b"\r\n" or start - pos > self._max_line:
                break
            payload.append(view[start:stop])
            pos = stop + 2
        return pos

    def _size(self, data: Buffer, pos: int) -> int:
        match = None if self._line else _CHUNK_LINE.match(data, pos)
        if match is not None:  # the usual case: the line came whole, nothing is copied
            pos = match.end()
            if pos - match.start() > self._max_line:
                raise ProtocolError("chunk-size line too long")
        else:
            pos, line = self._take_line(data, pos, self._max_line, "chunk-size line too long")
            if line is None:
                return pos
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise ProtocolError("malformed chunk-size line")
        size = int(match[1], 16)
        if size > _MAX_SIZE:
            raise ProtocolError("chunk size too large")
        self._remaining = size
        self._state = _State.DATA if size else _State.TRAILER
        return pos

    def _trailer(self, data: Buffer, pos: int) -> int:
        pos, line = self._take_line(data, pos, self._trailer_left, "trailer section too long")
        if line is None:
            return pos
        self._trailer_left -= len(line)
        if line == b"\r\n":
            self._state = _State.END
            return pos
        match = _FIELD_LINE.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS:
            raise ProtocolError("malformed trailer field")
        self._trailers.append((match[1], match[2]))
        return pos

    def _take_line(self, data: Buffer, pos: int, limit: int, too_long: str) -> tuple[int, bytes | None]:
        """Collect up to the next LF; None while it has not come. Fails when the line is longer than `limit`."""
        found = _NEWLINE.search(data, pos)
        stop = len(data) if found is None else found.end()
        if len(self._line) + stop - pos > limit:
            raise ProtocolError(too_long)
        self._line += memoryview(data)[pos:stop]
        if found is None:
            return stop, None
        line = bytes(self._line)
        self._line.clear()
        return stop, line
