"""The messages of upgraded connections: stored in lots, given back one by one or in pages.

Apart from `storage` and `writer`, which know bodies: a connection has any number of messages, so nobody is handed all
of them at once. Nothing here reads frames; a capture comes as messages.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.errors import CorruptBodyError, NotFoundError
from claudeproxy.model import BodyKept, Direction, Opcode
from claudeproxy.store import queries
from claudeproxy.store.session import StorageSession
from claudeproxy.store.text import clean
from claudeproxy.store.websocket_values import CapturedMessage, CapturedStream

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence

    from claudeproxy.model import RecordedWebSocket, WebSocketMessage, WebSocketStream
    from claudeproxy.store.codec import Codec

CLASS = "websocket"
"""`request_class` of a connection that was upgraded."""

_LOT = 256 << 10  # bytes from which a lot is full: one page of messages hardly reads more than two
_DIRECTIONS = tuple(Direction)
_OPCODES = {Opcode.TEXT: 1, Opcode.BINARY: 2, Opcode.CLOSE: 8, Opcode.PING: 9, Opcode.PONG: 10}
_NAMES = {number: opcode for opcode, number in _OPCODES.items()}

_ONE = "SELECT * FROM websocket_messages WHERE request = ? AND number = ?"
_PAGE = """
SELECT * FROM websocket_messages WHERE request = :request AND (:direction IS NULL OR direction = :direction)
ORDER BY number LIMIT :limit OFFSET :offset
"""
_COUNT = """
SELECT count(*) FROM websocket_messages WHERE request = :request AND (:direction IS NULL OR direction = :direction)
"""
_STREAMS = """
SELECT s.*, (SELECT count(*) FROM websocket_messages m WHERE m.request = s.request AND m.direction = s.direction)
  AS messages FROM websocket_streams s WHERE s.request = ? ORDER BY s.direction
"""


def save_websocket(connection: sqlite3.Connection, codec: Codec, request: int, websocket: RecordedWebSocket) -> None:
    """Store what passed through a connection, in place of what is stored of it. The caller holds the transaction."""
    for table in ("websocket_messages", "websocket_lots", "websocket_streams"):
        connection.execute(f"DELETE FROM {table} WHERE request = ?", (request,))  # noqa: S608 - ours
    for direction, stream in enumerate((websocket.sent, websocket.received)):
        connection.execute(
            "INSERT INTO websocket_streams VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (request, direction, *_stream_columns(stream, codec)),
        )
    for lot, messages in enumerate(_lots(websocket.messages)):
        data = b"".join(message.data for _, message in messages)
        connection.execute(
            "INSERT INTO websocket_lots VALUES (?, ?, ?, ?, ?)",
            (request, lot, sha256(data).digest(), *codec.compress(data)),
        )
        connection.executemany(
            f"INSERT INTO websocket_messages VALUES ({', '.join('?' * 14)})",  # noqa: S608 - ours
            _message_rows(request, lot, messages),
        )
    connection.execute("UPDATE requests SET request_class = ? WHERE n = ? AND request_class IS NULL", (CLASS, request))


def _stream_columns(stream: WebSocketStream, codec: Codec) -> tuple[object, ...]:
    codec_number, raw = codec.compress(stream.raw)
    return (
        stream.kept.value,
        stream.length,
        stream.recorded,
        clean(stream.problem),
        stream.undecodable_from,
        codec_number,
        raw,
    )


def _lots(messages: Sequence[WebSocketMessage]) -> Iterator[list[tuple[int, WebSocketMessage]]]:
    lot: list[tuple[int, WebSocketMessage]] = []
    size = 0
    for numbered in enumerate(messages):
        lot.append(numbered)
        size += len(numbered[1].data)
        if size >= _LOT:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


def _message_rows(
    request: int, lot: int, messages: Sequence[tuple[int, WebSocketMessage]]
) -> Iterator[tuple[object, ...]]:
    start = 0
    for number, message in messages:
        yield (
            request,
            number,
            _DIRECTIONS.index(message.direction),
            _OPCODES[message.opcode],
            message.at,
            message.size,
            lot,
            start,
            len(message.data),
            message.start,
            message.wire_size,
            message.frames,
            message.compressed,
            message.complete,
        )
        start += len(message.data)


class MessageStorage(StorageSession):
    """The verbs of `CaptureStorage` for upgraded connections. A request may be given by an abbreviated id."""

    _codec: Codec

    def websocket(self, id: str) -> Sequence[CapturedStream]:  # noqa: A002 - as get_request
        """Return both directions, sent and received; nothing where the connection was not upgraded (or still is open).

        :raises NotFoundError: no such request.
        :raises CorruptBodyError: what is stored cannot be read.
        """
        rows = self._all(_STREAMS, (self._number(id),))
        return [
            CapturedStream(
                direction=_DIRECTIONS[row["direction"]],
                messages=row["messages"],
                kept=BodyKept(row["kept"]),
                length=row["length"],
                recorded=row["recorded"],
                problem=row["problem"],
                undecodable_from=row["undecodable_from"],
                raw=self._codec.decompress(row["codec"], row["raw"]),
            )
            for row in rows
        ]

    def websocket_messages(
        self,
        id: str,  # noqa: A002
        *,
        limit: int = -1,
        offset: int = 0,
        direction: Direction | None = None,
    ) -> list[CapturedMessage]:
        """Return messages in the order of their last bytes; all of them with a negative `limit`.

        :raises NotFoundError: no such request.
        :raises CorruptBodyError: what is stored cannot be read.
        """
        rows = self._all(_PAGE, {**self._which(id, direction), "limit": limit, "offset": offset})
        load = self._loader()
        return [_message(row, load) for row in rows]

    def count_websocket_messages(self, id: str, *, direction: Direction | None = None) -> int:  # noqa: A002
        """Return how many there are.

        :raises NotFoundError: no such request.
        """
        return int(self._all(_COUNT, self._which(id, direction))[0][0])

    def websocket_message(self, id: str, index: int) -> CapturedMessage:  # noqa: A002
        """Return one message, by its place among all.

        :raises NotFoundError: no such request, or no such message.
        :raises CorruptBodyError: it cannot be read.
        """
        rows = self._all(_ONE, (self._number(id), index))
        if not rows:
            raise NotFoundError(f"request {id!r} has no message {index}")
        return _message(rows[0], self._loader())

    def _which(self, id: str, direction: Direction | None) -> dict[str, object]:  # noqa: A002
        return {
            "request": self._number(id),
            "direction": None if direction is None else _DIRECTIONS.index(direction),
        }

    def _number(self, id: str) -> int:  # noqa: A002
        with self.reading() as connection:
            return queries.find(connection, id, queries.REQUEST_IDS, "request")

    def _loader(self) -> Callable[[int, int], bytes]:
        """Return what reads a lot, and remembers the last one: messages come in order."""
        last: tuple[int, int, bytes] | None = None

        def load(request: int, lot: int) -> bytes:
            nonlocal last
            if last is None or last[:2] != (request, lot):
                rows = self._all("SELECT codec, data FROM websocket_lots WHERE request = ? AND lot = ?", (request, lot))
                if not rows:
                    raise CorruptBodyError(f"lot {lot} of the messages of request {request} is missing")
                last = (request, lot, self._codec.decompress(rows[0]["codec"], rows[0]["data"]))
            return last[2]

        return load


def _message(row: sqlite3.Row, load: Callable[[int, int], bytes]) -> CapturedMessage:
    data = load(row["request"], row["lot"])[row["start"] : row["start"] + row["kept"]]
    if len(data) != row["kept"]:
        raise CorruptBodyError(f"message {row['number']} of request {row['request']} is cut short")
    return CapturedMessage(
        index=row["number"],
        direction=_DIRECTIONS[row["direction"]],
        opcode=_NAMES[row["opcode"]],
        at=row["at"],
        size=row["size"],
        data=data,
        wire_start=row["wire_start"],
        wire_size=row["wire_size"],
        frames=row["frames"],
        compressed=bool(row["compressed"]),
        complete=bool(row["complete"]),
    )
