"""WebSocket frames (RFC 6455) to messages, compression taken off (`deflate`): one direction, for the record only.

Apart from the relay, which carries the same bytes without reading them: whatever fails here costs a readable record. It
is an observer and not a peer, hence no library made for peers: wsproto 1.3.2 answers a ping in the middle of a
compressed message by no longer decompressing it (tried), refuses texts that are no UTF-8 and unusual close codes, and
does not say where it got lost. What a peer must refuse is confusion here (what came after it cannot be told from
rubbish); what a peer may tolerate is told. Bounds on messages, their size and what they expand to are arguments. It
sends nothing, answers no ping and knows no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from claudeproxy.errors import ProtocolError
from claudeproxy.model import Opcode
from claudeproxy.sansio.deflate import TAIL, Inflater

# By their numbers (RFC 6455, 5.2); 0 continues the message before.
_OPCODES = {1: Opcode.TEXT, 2: Opcode.BINARY, 8: Opcode.CLOSE, 9: Opcode.PING, 10: Opcode.PONG}
_MAX_CONTROL = 125  # RFC 6455, 5.5

_PIECE = 65_536  # bytes of a payload that are unmasked at once


@dataclass(slots=True, kw_only=True)
class Budget:
    """How many messages are left for a connection, both directions together. One message keeps `message_bytes`."""

    messages: int
    message_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message. `data` is its beginning where `size`, the bytes that came, is more; the rest as in the model."""

    opcode: Opcode
    data: bytes
    size: int
    start: int
    wire_size: int
    frames: int
    compressed: bool
    complete: bool


class BudgetError(Exception):
    """A bound is reached; stays inside the module."""


@dataclass(slots=True, kw_only=True)
class _Frame:
    start: int
    final: bool
    mask: bytes | None
    left: int
    message: _Partial
    taken: int = 0


@dataclass(slots=True, kw_only=True)
class _Partial:
    opcode: Opcode
    start: int
    compressed: bool
    frames: int = 0
    wire_size: int = 0
    payload: int = 0  # before inflating
    size: int = 0
    kept: int = 0
    parts: list[bytes] = field(default_factory=list)

    def told(self, *, complete: bool) -> Message:
        return Message(
            opcode=self.opcode,
            data=b"".join(self.parts),
            size=self.size,
            start=self.start,
            wire_size=self.wire_size,
            frames=self.frames,
            compressed=self.compressed,
            complete=complete,
        )


class Sniffer:
    """Feed it one direction's bytes, in any pieces. Never raises.

    Where it stops, `problem` says why and `stopped_at` before which byte; `confused` tells nonsense from a bound.
    """

    def __init__(self, *, masked: bool, deflate: bool, decoded: int, budget: Budget) -> None:
        """`masked`: these are a client's bytes (RFC 6455, 5.1: they must be, a server's must not).

        `decoded` bounds what is looked at of payloads, kept or not, in bytes: inflating costs time, too. It is this
        direction's own, so that what a server sends leaves nothing of the client's untold.
        """
        self.problem: str | None = None
        self.stopped_at: int | None = None
        self.confused = False
        self._masked = masked
        self._deflate = deflate
        self._budget = budget
        self._decoded = decoded  # left
        self._inflater = Inflater()
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's first byte
        self._frame: _Frame | None = None
        self._message: _Partial | None = None  # begun, and to be continued
        self._closed = False

    def __repr__(self) -> str:
        return f"<Sniffer at {self._offset}{f' stopped: {self.problem}' if self.problem else ''}>"

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes; return the messages that are complete with them."""
        found: list[Message] = []
        if self.problem is not None:
            return found
        self._buffer += data
        try:
            while (message := self._advance()) is not None:
                found += message
        except ProtocolError as error:
            self._stop(str(error), confused=True)
        except BudgetError as error:
            self._stop(str(error), confused=False)
        return found

    def end(self) -> list[Message]:
        """No more bytes will come; return the messages that are not complete, and say so in `problem`."""
        open_ones = [] if self._message is None else [self._message]
        if self._frame is not None and self._frame.message is not self._message:
            open_ones.append(self._frame.message)  # a control frame, maybe in the middle of a message
        if self.problem is None and (open_ones or self._buffer):
            self.problem = "ended in a frame" if self._frame or self._buffer else "ended between frames of a message"
        return [one.told(complete=False) for one in open_ones]

    def _stop(self, problem: str, *, confused: bool) -> None:
        self.problem, self.confused = problem, confused
        self.stopped_at = self._offset if self._frame is None else self._frame.start
        self._buffer.clear()

    def _advance(self) -> list[Message] | None:
        """Go on by a frame's head or a piece of its payload; None when more bytes are needed."""
        if self._frame is None:
            self._frame = self._head()
            if self._frame is None:
                return None
        frame = self._frame
        piece = bytes(self._buffer[: min(frame.left, _PIECE)])
        if frame.left and not piece:
            return None
        self._consume(len(piece))
        frame.left -= len(piece)
        self._take(frame, piece)
        return [] if frame.left else self._ended(frame)

    def _consume(self, count: int) -> None:
        del self._buffer[:count]
        self._offset += count

    def _head(self) -> _Frame | None:
        """Read a frame's head (RFC 6455, 5.2). Raises ProtocolError, BudgetError."""
        buffer = self._buffer
        if not buffer:
            return None
        if self._closed:
            raise ProtocolError("bytes after a close frame")
        first = buffer[0]
        self._check(first)
        if len(buffer) < 2:
            return None
        masked, length = bool(buffer[1] & 0x80), buffer[1] & 0x7F
        if masked is not self._masked:
            raise ProtocolError("a client's frame without a mask" if self._masked else "a server's frame with a mask")
        if first & 0x08 and length > _MAX_CONTROL:
            raise ProtocolError("a control frame of more than 125 bytes")
        at = 2 + {126: 2, 127: 8}.get(length, 0)
        head = at + 4 * masked
        if len(buffer) < head:
            return None
        if length >= 126:
            length = int.from_bytes(buffer[2:at], "big")
        if length >> 63:
            raise ProtocolError("a frame length beyond 63 bits")
        mask = bytes(buffer[at:head]) if masked else None
        message = self._message_of(first)
        message.frames += 1
        message.wire_size += head
        frame = _Frame(start=self._offset, final=bool(first & 0x80), mask=mask, left=length, message=message)
        self._consume(head)
        return frame

    def _check(self, first: int) -> None:
        """Judge a frame by its first byte, so that rubbish is known as early as it can be. Raises ProtocolError."""
        number, control = first & 0x0F, bool(first & 0x08)
        if number and number not in _OPCODES:
            raise ProtocolError(f"a frame of the unknown kind {number}")
        if control and not first & 0x80:
            raise ProtocolError("a control frame in fragments")
        if first & 0x30 or (first & 0x40 and (control or not number or not self._deflate)):
            raise ProtocolError("a reserved bit is set that nobody agreed on")
        if not number and self._message is None:
            raise ProtocolError("a continuation of no message")
        if number and not control and self._message is not None:
            raise ProtocolError("a new message inside another one")

    def _message_of(self, first: int) -> _Partial:
        number = first & 0x0F
        if not number:
            assert self._message is not None
            return self._message
        if not self._budget.messages:
            raise BudgetError("more messages than are kept")
        self._budget.messages -= 1
        message = _Partial(opcode=_OPCODES[number], start=self._offset, compressed=bool(first & 0x40))
        if not first & 0x08:
            self._message = message
        return message

    def _take(self, frame: _Frame, piece: bytes) -> None:
        message = frame.message
        message.wire_size += len(piece)
        message.payload += len(piece)
        if frame.mask is not None:
            piece = unmask(piece, frame.mask, frame.taken)
        frame.taken += len(piece)
        if not message.compressed:
            self._keep(message, piece)
            return
        for plain in self._inflater.feed(piece):
            self._keep(message, plain)
        if not frame.left and frame.final and message.payload:
            for plain in self._inflater.feed(TAIL):
                self._keep(message, plain)

    def _keep(self, message: _Partial, data: bytes) -> None:
        message.size += len(data)
        room = min(self._budget.message_bytes - message.kept, self._decoded)
        if data and room > 0:
            message.parts.append(data[:room])
            message.kept += len(message.parts[-1])
        if len(data) > self._decoded:
            self._decoded = 0
            raise BudgetError("more bytes, decompressed, than are looked at")
        self._decoded -= len(data)

    def _ended(self, frame: _Frame) -> list[Message]:
        self._frame = None
        message = frame.message
        if not frame.final:
            return []
        if message is self._message:
            self._message = None
        self._closed |= message.opcode is Opcode.CLOSE
        return [message.told(complete=True)]


def unmask(data: bytes, mask: bytes, offset: int) -> bytes:
    """Take the mask off bytes that stand at `offset` in their frame (RFC 6455, 5.3)."""
    turn = offset % 4
    key = (mask[turn:] + mask[:turn]) * (len(data) // 4 + 1)
    return (int.from_bytes(data, "little") ^ int.from_bytes(key[: len(data)], "little")).to_bytes(len(data), "little")
