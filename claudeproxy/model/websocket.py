"""capture -> store: what passed through a connection after its 101, as messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.model.record import BodyKept


class Direction(StrEnum):
    """Whose message it is, as the client sees it."""

    SENT = "sent"  # client to API
    RECEIVED = "received"  # API to client


class Opcode(StrEnum):
    """What a message is (RFC 6455, 5.2)."""

    TEXT = "text"
    BINARY = "binary"
    CLOSE = "close"
    PING = "ping"
    PONG = "pong"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketMessage:
    """One message: unmasked, its fragments joined, decompressed."""

    direction: Direction
    opcode: Opcode
    at: int  # ns since the epoch: when its last byte passed
    data: bytes  # the beginning of it, where a message is larger than is kept
    size: int  # bytes of the message, as far as they passed
    start: int  # of its first frame, in the bytes of this direction
    wire_size: int  # bytes on the wire, frame headers included, those of frames in between not
    frames: int
    compressed: bool
    complete: bool  # false: the connection, or what was kept of it, ended first


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketStream:
    """One direction of the connection. `raw` is what follows `undecodable_from`, up to a bound."""

    kept: BodyKept
    length: int  # bytes that passed
    recorded: int  # of them in the journal: what messages could be read from
    problem: str | None = None  # why not all that passed is told as messages
    undecodable_from: int | None = None  # byte offset, where the reason is that the bytes make no sense
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedWebSocket:
    """Both directions, and their messages in the order in which they were complete."""

    sent: WebSocketStream
    received: WebSocketStream
    messages: tuple[WebSocketMessage, ...]


def close_told(data: bytes) -> tuple[int | None, str | None]:
    """Status code and reason that the payload of a close message holds (RFC 6455, 5.5.1); None for what it lacks."""
    if len(data) < 2:
        return None, None
    return int.from_bytes(data[:2], "big"), data[2:].decode("utf-8", "replace") or None
