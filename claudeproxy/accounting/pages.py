"""A ledger's rows as bytes: what the database keeps of its memory.

Apart from `memory` because this is a format that outlives the process. A page holds the rows that one settlement
changed; pages read in their order give the memory back. Some 16 bytes a row: a row of its own in the database would
cost three times as much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from claudeproxy.accounting.memory import TABLES, LedgerRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class _Row(msgspec.Struct, frozen=True, array_like=True):
    table: int
    key: bytes
    numbers: tuple[int | None, ...] | None  # None: forgotten


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[_Row])
_LENGTHS = (5, 5, 2)  # numbers of a row by table


def encode_rows(rows: Iterable[LedgerRow]) -> bytes:
    """Return the page of these rows; empty when there are none."""
    page = [_Row(TABLES.index(row.table), row.key, row.numbers) for row in rows]
    return _ENCODER.encode(page) if page else b""


def decode_rows(pages: Iterable[bytes]) -> Iterator[LedgerRow]:
    """Yield the rows of these pages, in order.

    :raises ValueError: a page cannot be read: rebuild the ledger from the captures.
    """
    for page in pages:
        for row in _DECODER.decode(page):
            if row.table >= len(TABLES) or (row.numbers is not None and len(row.numbers) != _LENGTHS[row.table]):
                raise ValueError("a ledger's page was written by another version")
            yield LedgerRow(TABLES[row.table], row.key, row.numbers)
