"""The bytes of an upgraded connection on their way through the journal: what the tap keeps of them, and where they lie.

Apart from `tap` and `assemble` because these are no bodies: each direction is kept from its beginning on as far as
there is room, for messages before a gap can be read, while half a body is told as such. Nothing here knows frames:
`messages` reads them, in the recorder.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claudeproxy.capture.journal_format import HEADER_BYTES, RecordType
from claudeproxy.errors import JournalError
from claudeproxy.model import BodyKept, Direction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.capture.journal_reader import Record, Span
    from claudeproxy.capture.journal_writer import JournalWriter
    from claudeproxy.model import Buffer

RECORD_TYPES = {Direction.SENT: RecordType.WEBSOCKET_SENT, Direction.RECEIVED: RecordType.WEBSOCKET_RECEIVED}

# Pieces of one direction in the journal. The recorder holds 40 bytes for each while the connection is open, and reading
# them takes some microseconds each; with one message in a piece this is a day of three a second.
MAX_PIECES = 1 << 18


_HEADS = 1 << 20  # bytes for both heads and the end


class PassageEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How many bytes passed in one direction, how many of them the journal has, and why no more."""

    length: int
    kept: int
    fate: BodyKept


class UpgradeEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Both directions; part of the END record of an upgraded connection."""

    sent: PassageEnd
    received: PassageEnd

    def of(self, direction: Direction) -> PassageEnd:
        """One of them."""
        return self.sent if direction is Direction.SENT else self.received


class Passage:
    """One direction, in the tap: how much came, and how much of it is kept."""

    __slots__ = ("fate", "kept", "length", "limit", "pieces")

    def __init__(self, fate: BodyKept, limit: int) -> None:
        self.fate = fate
        self.limit = limit
        self.length = self.kept = self.pieces = 0

    def take(self, data: Buffer) -> Buffer:
        """Count a piece; what of it goes to the journal."""
        self.length += len(data)
        if self.fate is not BodyKept.WHOLE:
            return b""
        if self.pieces >= MAX_PIECES:
            self.fate = BodyKept.TOO_LARGE
            return b""
        self.pieces += 1
        if self.length <= self.limit:
            return data
        self.fate = BodyKept.TOO_LARGE
        return memoryview(data)[: self.limit - self.kept]

    def drop(self) -> None:
        """Keep nothing from here on."""
        if self.fate is BodyKept.WHOLE:
            self.fate = BodyKept.DROPPED

    def told(self) -> PassageEnd:
        """For the END record."""
        return PassageEnd(length=self.length, kept=self.kept, fate=self.fate)


class Upgrade:
    """Both directions, in the tap, and the journal that the exchange goes on in: one of its own.

    Such a connection may be open for days, and an open exchange keeps the segments since its beginning from being
    deleted: in the relay's journal that would be everybody's, until there is no room for anybody.
    """

    __slots__ = ("_owned", "_passages", "number", "writer")

    def __init__(self, writer: JournalWriter, number: int, *, opening: bytes, fate: BodyKept, limit: int) -> None:
        """`number` is the exchange's in the journal of `writer`, and `opening` the payload of its OPEN record.

        Where it cannot have a journal of its own, the exchange stays where it is.
        """
        self._passages = {direction: Passage(fate, limit) for direction in Direction}
        self.writer, self.number, self._owned = writer, number, False
        try:
            own = writer.another(max_bytes=len(Direction) * (limit + MAX_PIECES * HEADER_BYTES) + _HEADS)
        except JournalError:
            return
        # From here on two journals tell of it, with the same id: whoever dies in between, it is one record.
        if own.append(RecordType.OPEN, moved := own.new_exchange(), opening):
            writer.append(RecordType.MOVED, number, b"")
            self.writer, self.number, self._owned = own, moved, True
        else:
            own.close()

    def __getitem__(self, direction: Direction) -> Passage:
        return self._passages[direction]

    def take(self, direction: Direction, data: Buffer) -> bool:
        """Keep what is to be kept of a piece; False when the journal has no room for it."""
        passage = self._passages[direction]
        piece = passage.take(data)
        if not len(piece):
            return True
        if not (self.writer.has_room(len(piece)) and self.writer.append(RECORD_TYPES[direction], self.number, piece)):
            return False
        passage.kept += len(piece)
        return True

    def end(self, payload: bytes) -> None:
        """Write the END record, and let the recorder have the journal."""
        self.writer.append_end(self.number, payload)
        if self._owned:
            self.writer.close()

    def drop(self) -> None:
        """Keep nothing from here on."""
        for passage in self._passages.values():
            passage.drop()

    def told(self) -> UpgradeEnd:
        """For the END record."""
        return UpgradeEnd(sent=self[Direction.SENT].told(), received=self[Direction.RECEIVED].told())


class Piece(NamedTuple):
    """A piece in the journal: whose, where, and the writer's clock when it came."""

    direction: Direction
    span: Span
    instant: int


class Places:
    """Where the pieces of an open connection lie, in order. Held packed: a connection may be open for days."""

    __slots__ = ("_packed", "kept")

    _DIRECTIONS = tuple(Direction)
    _FIELDS = 5

    def __init__(self) -> None:
        self._packed = array("q")
        self.kept = dict.fromkeys(Direction, 0)  # bytes

    def __len__(self) -> int:
        return len(self._packed) // self._FIELDS

    def __iter__(self) -> Iterator[Piece]:
        packed = self._packed
        for at in range(0, len(packed), self._FIELDS):
            which, segment, offset, length, instant = packed[at : at + self._FIELDS]
            yield Piece(self._DIRECTIONS[which], (segment, offset, length), instant)

    def add(self, record: Record) -> None:
        """Note a piece."""
        direction = Direction.SENT if record.type is RecordType.WEBSOCKET_SENT else Direction.RECEIVED
        self._packed.extend((self._DIRECTIONS.index(direction), *record.span, record.instant))
        self.kept[direction] += record.span[2]
