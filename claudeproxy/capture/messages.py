"""The messages of an upgraded connection, read from its bytes in the journal.

Apart from `assemble` because bytes are read piece by piece here and never held all at once, and from
`sansio.websocket`, which knows frames but no journal: instants come from the pieces, and the order of both directions'
messages is that of their last bytes. Where a direction makes no sense, what follows is kept as it is, up to a bound,
with the byte where sense ended. It raises nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from claudeproxy.model import BodyKept, Direction, Opcode, RecordedWebSocket, State, WebSocketMessage, WebSocketStream
from claudeproxy.sansio.deflate import accepted_extensions
from claudeproxy.sansio.websocket import Budget, Message, Sniffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from claudeproxy.capture.journal_reader import Span
    from claudeproxy.capture.upgraded import Piece, Places, UpgradeEnd
    from claudeproxy.model import RawHeaders, RecordedExchange

    ReadPayload = Callable[[Sequence[Span]], bytes]

# Pieces read at once: each is 64 KiB at most, and a file is opened for each lot.
_LOT = 64

_WHY_NOT_ALL = {
    BodyKept.TOO_LARGE: "there were more than are kept",
    BodyKept.DROPPED: "the journal had no room for more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBounds:
    """Of one connection, both directions together; `message_bytes` are kept of one message, `raw_bytes` of nonsense."""

    messages: int = 100_000
    message_bytes: int = 16 << 20
    decoded: int = 128 << 20
    raw_bytes: int = 64 << 10


def as_agreed(exchange: RecordedExchange) -> RecordedExchange:
    """Return an exchange as complete when both sides of its WebSocket said that they close it.

    That is the end (RFC 6455, section 7.1.4); many a client resets its socket afterwards instead of waiting.
    """
    if exchange.websocket is None or exchange.state not in {State.ABORTED_BY_CLIENT, State.CUT_BY_UPSTREAM}:
        return exchange
    closing = {one.direction for one in exchange.websocket.messages if one.opcode is Opcode.CLOSE}
    if closing != set(Direction):
        return exchange
    return replace(exchange, state=State.COMPLETE, error=None, error_kind=None)


def read_messages(
    places: Places,
    ended: UpgradeEnd | None,
    headers: RawHeaders,
    *,
    read: ReadPayload,
    wall: Callable[[int], int],
    bounds: MessageBounds,
    clean: Callable[[bytes], bytes] | None = None,
    unreadable: bool = False,
) -> RecordedWebSocket:
    """Read a connection as far as it is known; `ended` is None where its proxy died.

    :param headers: of the 101.
    :param wall: ns since the epoch of an instant of the journal's.
    :param clean: gives payloads as they are to be stored: every message, and what makes no sense, goes through it.
    :param unreadable: do not look at the bytes, that has killed a recorder.
    """
    reading = _Reading(places, headers, read, bounds, clean or bytes)
    if unreadable:
        reading.fault = "reading it killed the recorder"
    if ended is not None and any(ended.of(one).kept != places.kept[one] for one in Direction):
        reading.damaged = True  # with a hole in the bytes nothing after it can be told, and nobody knows where it is
    messages: list[WebSocketMessage] = []
    try:
        messages = list(reading.messages(wall))
    except Exception as error:  # noqa: BLE001 - a bug of ours costs the messages, not the exchange
        reading.failed(error)
    return RecordedWebSocket(
        sent=reading.stream(Direction.SENT, ended),
        received=reading.stream(Direction.RECEIVED, ended),
        messages=() if reading.damaged or reading.fault else tuple(messages),
    )


class _Reading:
    """One reading of one connection."""

    def __init__(
        self,
        places: Places,
        headers: RawHeaders,
        read: ReadPayload,
        bounds: MessageBounds,
        clean: Callable[[bytes], bytes],
    ) -> None:
        agreed = b", ".join(value for name, value in headers if name.lower() == b"sec-websocket-extensions")
        deflate, unknown = accepted_extensions(agreed.decode("latin-1"))
        self.fault = None if unknown is None else f"the extension {unknown!r} is not known"
        budget = Budget(messages=bounds.messages, message_bytes=bounds.message_bytes)
        each = bounds.decoded // len(Direction)
        self._sniffers = {
            direction: Sniffer(masked=direction is Direction.SENT, deflate=deflate, decoded=each, budget=budget)
            for direction in Direction
        }
        self._places = places
        self._read = read
        self._bounds = bounds
        self._clean = clean
        self.damaged = False

    def messages(self, wall: Callable[[int], int]) -> Iterator[WebSocketMessage]:
        """The messages, in the order of their last bytes; those that were cut come last."""
        if self.fault is not None:
            return
        last = dict.fromkeys(Direction, 0)
        for piece, data in self._pieces():
            last[piece.direction] = wall(piece.instant)
            for message in self._sniffers[piece.direction].feed(data):
                yield self._message(message, piece.direction, last[piece.direction])
        for direction, sniffer in self._sniffers.items():
            for message in sniffer.end():
                yield self._message(message, direction, last[direction])

    def failed(self, error: Exception) -> None:
        """Reading raised: nothing that was read counts, and the bytes are not touched again."""
        self.fault = f"{type(error).__name__} in claudeproxy"
        self._clean = lambda data: b""

    def stream(self, direction: Direction, ended: UpgradeEnd | None) -> WebSocketStream:
        """What is to be said of a direction, after `messages`."""
        sniffer, recorded = self._sniffers[direction], self._places.kept[direction]
        length, kept = recorded, BodyKept.PARTIAL
        if ended is not None:
            length, kept = ended.of(direction).length, ended.of(direction).fate
        if self.damaged:
            return WebSocketStream(kept=BodyKept.DROPPED, length=length, recorded=0, problem="the journal is damaged")
        if not length and ended is not None:
            return WebSocketStream(kept=BodyKept.EMPTY, length=0, recorded=0)
        problem, start = sniffer.problem, sniffer.stopped_at if sniffer.confused else None
        if sniffer.stopped_at is None:
            problem = _WHY_NOT_ALL.get(kept, problem)  # what was not kept is why it ends in the middle
        if self.fault is not None and recorded:
            problem, start = self.fault, 0
        return WebSocketStream(
            kept=kept,
            length=length,
            recorded=recorded,
            problem=problem,
            undecodable_from=start,
            raw=b"" if start is None else self._clean(self._raw(direction, start)),
        )

    def _pieces(self) -> Iterator[tuple[Piece, bytes]]:
        pieces = iter(self._places)
        while lot := list(islice(pieces, _LOT)):
            try:
                data = self._read([piece.span for piece in lot])
            except OSError:
                data = b""  # somebody deleted a segment
            if len(data) != sum(piece.span[2] for piece in lot):
                self.damaged = True
                return
            at = 0
            for piece in lot:
                yield piece, data[at : (at := at + piece.span[2])]

    def _raw(self, direction: Direction, start: int) -> bytes:
        """What passed from byte `start` on, as far as it is kept."""
        found, at, most = bytearray(), 0, self._bounds.raw_bytes
        for piece, data in self._pieces():
            if piece.direction is direction:
                found += data[max(0, start - at) :][: most - len(found)]
                at += len(data)
            if len(found) >= most:
                break
        return bytes(found)

    def _message(self, message: Message, direction: Direction, at: int) -> WebSocketMessage:
        return WebSocketMessage(
            direction=direction,
            opcode=message.opcode,
            at=at,
            data=self._clean(message.data),
            size=message.size,
            start=message.start,
            wire_size=message.wire_size,
            frames=message.frames,
            compressed=message.compressed,
            complete=message.complete,
        )
