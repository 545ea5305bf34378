"""The bytes of blocks in the database: blocks that came one after the other are compressed together, in lots.

Apart from `tree`, which knows where blocks stand, because nobody else needs to know how they are kept. What a turn
brings is a handful of blocks, most of them short: with those of the turns before they compress a sixth better than one
by one, and hardly a page of the file is left half empty behind them. They came together and mostly go together; where
one goes alone, its lot is written again without it, so that nothing deleted stays in the file.

A lot grows at its end until it is full. Apart from that its number never means other bytes: one that is written again
gets a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.errors import CorruptBodyError

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.store.codec import Codec

FULL = 48 * 1024  # bytes from which a lot takes no more blocks: who reads or adds one works through as much
_MAX_UNPACKED = 2 << 20  # bytes of lots that are remembered for the next blocks


class Lots:
    """The lots of one database. The caller holds the transaction, ends it with `finish`, forgets after a rollback."""

    def __init__(self, connection: sqlite3.Connection, codec: Codec) -> None:
        self._connection = connection
        self._codec = codec
        self._lot: int | None = None  # that is being filled
        self._filled = b""
        self._new: dict[int, bytes] = {}  # blocks that are to be added to it
        self._size = 0
        self._unpacked: dict[int, bytes] = {}
        self._unpacked_size = 0
        self._torn: set[int] = set()  # lots that lost a block

    def forget(self) -> None:
        """Forget what may have been rolled back, or deleted by another process."""
        self._begin()
        self._unpacked.clear()
        self._unpacked_size = 0
        self._torn.clear()

    def add(self, digest: bytes, data: bytes) -> int:
        """Store a block that there is not; return its id. It is in the database after `finish`."""
        if self._size and self._size + len(data) > FULL:
            self._write()
            self._begin()
        if self._lot is None:
            self._lot = self._insert("INSERT INTO lots (codec, data) VALUES (0, x'')")
        block = self._insert(
            "INSERT INTO blocks (sha256, length, lot, start) VALUES (?, ?, ?, ?)",
            digest, len(data), self._lot, self._size,
        )  # fmt: skip
        self._new[block] = data
        self._size += len(data)
        return block

    def read(self, block: int) -> bytes:
        """Return a block's bytes.

        :raises CorruptBodyError: it is missing or damaged.
        """
        if (new := self._new.get(block)) is not None:
            return new
        row = self._connection.execute("SELECT length, lot, start FROM blocks WHERE id = ?", (block,)).fetchone()
        if row is None:
            raise CorruptBodyError(f"block {block} is missing")
        length, lot, start = row
        if not length:
            return b""
        if (data := self._unpacked.get(lot)) is None or start + length > len(data):  # it may have grown
            data = self.unpack(lot)
            if self._unpacked_size + len(data) > _MAX_UNPACKED:
                self._unpacked.clear()
                self._unpacked_size = 0
            self._unpacked[lot] = data
            self._unpacked_size += len(data)
        if start + length > len(data):
            raise CorruptBodyError(f"block {block} is beyond the end of lot {lot}")
        return data[start : start + length]

    def unpack(self, lot: int) -> bytes:
        """Return a lot's bytes.

        :raises CorruptBodyError: it is missing or damaged.
        """
        row = self._connection.execute("SELECT codec, data FROM lots WHERE id = ?", (lot,)).fetchone()
        if row is None:
            raise CorruptBodyError(f"lot {lot} is missing")
        return self._codec.decompress(row[0], row[1])

    def delete(self, block: int) -> None:
        """Delete a block; its bytes go with `finish`."""
        row = self._connection.execute("DELETE FROM blocks WHERE id = ? RETURNING lot", (block,)).fetchone()
        if row is not None:
            self._torn.add(row[0])

    def finish(self) -> None:
        """Write what was added, and take out what was deleted."""
        self._write()
        if self._lot in self._torn:
            self._begin()
        for lot in self._torn:
            left = self._connection.execute("SELECT id FROM blocks WHERE lot = ? ORDER BY start", (lot,)).fetchall()
            if left:
                kept = [(block, self.read(block)) for (block,) in left]
                data = b"".join(part for _, part in kept)
                renewed = self._insert("INSERT INTO lots (codec, data) VALUES (?, ?)", *self._codec.compress(data))
                start = 0
                for block, part in kept:
                    self._connection.execute(
                        "UPDATE blocks SET lot = ?, start = ? WHERE id = ?", (renewed, start, block)
                    )
                    start += len(part)
            self._connection.execute("DELETE FROM lots WHERE id = ?", (lot,))
        self._torn.clear()

    def _write(self) -> None:
        if self._new:
            self._filled += b"".join(self._new.values())
            codec, packed = self._codec.compress(self._filled)
            self._connection.execute("UPDATE lots SET codec = ?, data = ? WHERE id = ?", (codec, packed, self._lot))
            self._new.clear()

    def _begin(self) -> None:
        """Let the next block begin a lot."""
        self._lot, self._filled, self._size = None, b"", 0
        self._new.clear()

    def _insert(self, statement: str, *values: int | bytes) -> int:
        number = self._connection.execute(statement, values).lastrowid
        assert number is not None
        return number
