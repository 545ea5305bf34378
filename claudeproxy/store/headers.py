"""Header fields, each kept once: a client sends the same thirty in every request.

Apart because requests and responses share it. A list of fields is stored as JSON: the id of a field that was seen
before, or ``[name, value]`` for one that is new (most of those, lengths, dates and request ids, never come again, and a
row each would cost more than it saves). The views ``captured_requests`` and ``captured_responses`` put the pairs back.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import RawHeaders
    from claudeproxy.store.values import HeaderList

MAX_REMEMBERED = 4096  # fields


class HeaderFields:
    """Header lists in their stored form. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[tuple[str, str], int | None] = {}  # None: seen once, not yet worth a row

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back."""
        self._ids.clear()

    def encode(self, headers: RawHeaders) -> str:
        """Return the stored form."""
        return json.dumps([self._field(pair) for pair in header_pairs(headers)], separators=(",", ":"))

    def _field(self, pair: tuple[str, str]) -> int | tuple[str, str]:
        if pair in self._ids and (known := self._ids[pair]) is not None:
            return known
        row = self._connection.execute("SELECT id FROM header_fields WHERE name = ? AND value = ?", pair).fetchone()
        if row is None and pair in self._ids:
            row = self._connection.execute(
                "INSERT INTO header_fields (name, value) VALUES (?, ?) RETURNING id", pair
            ).fetchone()
        if len(self._ids) >= MAX_REMEMBERED:
            self._ids.clear()
        self._ids[pair] = None if row is None else int(row[0])
        return pair if row is None else int(row[0])


def header_pairs(headers: RawHeaders) -> HeaderList:
    """Return fields as text. Latin-1 gives every byte a character (RFC 9110, 5.5: obs-text is opaque data)."""
    return tuple((clean(name.decode("latin-1")), clean(value.decode("latin-1"))) for name, value in headers)


def raw_headers(pairs: HeaderList) -> RawHeaders:
    """Return fields as bytes again."""
    return tuple((name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in pairs)


def parse_pairs(stored: str | None) -> HeaderList:
    """Read a JSON list of pairs, as the views give it."""
    return tuple((str(name), str(value)) for name, value in json.loads(stored or "[]"))
