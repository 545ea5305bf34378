"""Upgraded connections as they are read back: both directions, and messages.

Apart from `values`, which are those of every capture, and from `websockets`, which reads them.
"""

from __future__ import annotations

from base64 import b64encode
from codecs import utf_8_decode
from contextlib import suppress
from dataclasses import dataclass

from claudeproxy.model import BodyKept, Direction, Opcode, close_told


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedStream:
    """One direction of an upgraded connection. `raw` is what follows `undecodable_from`, up to a bound."""

    direction: Direction
    messages: int
    kept: BodyKept
    length: int  # bytes that passed
    recorded: int
    problem: str | None
    undecodable_from: int | None
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload as JSON can carry it: one of `text` and `base64`; `cut` where there is more of it than is told."""

    text: str | None
    base64: str | None
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedMessage:
    """One message. `data` is its payload, the beginning of it where it is shorter than `size`."""

    index: int
    direction: Direction
    opcode: Opcode
    at: int  # ns since the epoch: its last byte
    size: int
    data: bytes
    wire_start: int
    wire_size: int
    frames: int
    compressed: bool
    complete: bool

    @property
    def kept(self) -> BodyKept:
        """Whether `data` is the message."""
        if self.complete and len(self.data) == self.size:
            return BodyKept.WHOLE if self.data else BodyKept.EMPTY
        return BodyKept.PARTIAL

    def payload(self, most: int | None = None) -> Payload:
        """Return the payload, or its first `most` bytes; as text where it is UTF-8 and not called binary."""
        data = self.data if most is None else self.data[:most]
        cut = len(data) < len(self.data)
        if self.opcode not in (Opcode.BINARY, Opcode.CLOSE):
            final = not cut and self.kept is not BodyKept.PARTIAL  # else its last code point may be cut in two
            with suppress(UnicodeDecodeError):
                return Payload(text=utf_8_decode(data, "strict", final)[0], base64=None, cut=cut)
        return Payload(text=None, base64=b64encode(data).decode(), cut=cut)

    @property
    def close(self) -> tuple[int | None, str | None]:
        """Status code and reason of a close message; None and None of any other."""
        return close_told(self.data) if self.opcode is Opcode.CLOSE else (None, None)
