"""What the API answers about upgraded connections: both directions, and the messages in them.

Apart from `schemas` because a WebSocket is a rare kind of capture with a vocabulary of its own.
"""

from __future__ import annotations

from pydantic import Field

from claudeproxy.api.schemas import Document, Time
from claudeproxy.model import BodyKept, Direction, Opcode  # noqa: TC001 - pydantic reads them


class Stream(Document):
    """One direction of a WebSocket."""

    direction: Direction = Field(description="`sent`: client to API.")
    messages: int
    kept: BodyKept = Field(description="`whole`, or why not all that passed was recorded.")
    length: int = Field(description="Bytes that passed, frames and all.")
    recorded: int = Field(description="Bytes, from the first on, that messages could be read from.")
    problem: str | None = Field(description="Why not all that passed is told as messages; null when it is.")
    undecodable_from: int | None = Field(description="First byte that made no sense; null when all did.")


class Message(Document):
    """One message: unmasked, fragments joined, decompressed."""

    index: int = Field(description="Place among all of the connection, from 0.")
    direction: Direction
    opcode: Opcode
    timestamp: Time = Field(description="When its last byte passed.")
    size: int = Field(description="Bytes of its payload.")
    wire_size: int = Field(description="Bytes of its frames on the wire.")
    frames: int
    compressed: bool
    complete: bool = Field(description="False where the connection, or what was recorded of it, ended in it.")
    kept: BodyKept = Field(description="`whole`, `empty`, or `partial`: its beginning.")
    text: str | None = Field(description="The payload; null when it is no text.")
    base64: str | None = Field(description="The payload, when it is no text.")
    truncated: bool = Field(description="There is more at `/messages/{index}/body`.")
    close_code: int | None = Field(description="Of a close message.")
    close_reason: str | None


class MessageList(Document):
    """A page of a WebSocket's messages, in the order of their last bytes."""

    messages: list[Message]
    total: int = Field(description="All matches, not only those on this page.")
    limit: int
    offset: int
    streams: list[Stream] = Field(description="Both directions; none where the connection was not upgraded.")
