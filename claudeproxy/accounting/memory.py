"""What a ledger remembers: bounded tables of small integers by hash, and which rows changed since they were saved.

Apart so that the ledger's rules and its memory can be read one at a time, and because this is the seam to the
database: `take_changes` gives rows to write, `rows` all of them, `put` takes them back. A row is
``(table, key, numbers)``; numbers None means that the row was forgotten.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.model import Accuracy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_ROWS = 6_000  # of each table; a block in its place is a row of some 200 bytes: 30 conversations of 200 blocks
PREFIX, BLOCK, TURN = "prefix", "block", "turn"
TABLES = (PREFIX, BLOCK, TURN)

_ACCURACIES = (Accuracy.EXACT, Accuracy.SHARED, Accuracy.ESTIMATED)


class LedgerRow(NamedTuple):
    """One row as the database keeps it. `numbers` has at most five integers, None where nothing is known."""

    table: str
    key: bytes  # 8 bytes
    numbers: tuple[int | None, ...] | None


class Settled(NamedTuple):
    """What a bill said about a block in its place. `end` is the size of the whole prefix where that is known."""

    size: int
    accuracy: Accuracy
    end: int | None = None
    billed: bool = False  # `end` was on a bill itself, not derived from an answer's output
    stage: int = 0  # how much the weights knew when this was divided (`weights.TokenWeights.stage`)

    def numbers(self) -> tuple[int | None, ...]:
        """As a row."""
        return self.size, _ACCURACIES.index(self.accuracy), self.end, int(self.billed), self.stage

    @classmethod
    def read(cls, numbers: tuple[int | None, ...]) -> Settled:
        """From a row."""
        return _read(numbers)


@lru_cache(8_192)  # a prompt has hundreds, looked up with every request; 300 bytes each
def _read(numbers: tuple[int | None, ...]) -> Settled:
    size, accuracy, end, billed, stage = numbers
    return Settled(size or 0, _ACCURACIES[accuracy or 0], end, bool(billed), stage or 0)


def _read_known(numbers: tuple[int | None, ...] | None) -> Settled | None:
    return None if numbers is None else _read(numbers)


class Turn(NamedTuple):
    """What a bill said about an answer: tokens apart from thinking, and of thinking (None: not told apart)."""

    output: int
    thinking: int | None


class Memory:
    """Three bounded tables, least recently used forgotten first: prefixes, blocks anywhere, answers."""

    def __init__(self, *, size: int = MAX_ROWS) -> None:
        self._size = size
        # Plain dictionaries, in which taking out and putting in again is moving to the end: links of an OrderedDict
        # would be 70 bytes a row more.
        self._tables: dict[str, dict[bytes, tuple[int | None, ...]]] = {name: {} for name in TABLES}
        self._changed: dict[tuple[str, bytes], None] = {}

    def prefix(self, key: bytes) -> Settled | None:
        """What is known of the prefix with this hash."""
        numbers = self._get(PREFIX, key)
        return None if numbers is None else Settled.read(numbers)

    def prefixes(self, keys: Sequence[bytes]) -> list[Settled | None]:
        """What is known of each of these prefixes: a prompt has hundreds, so they are moved to the end together."""
        rows = self._tables[PREFIX]
        numbers = list(map(rows.get, keys))
        found = {key: row for key, row in zip(keys, numbers, strict=True) if row is not None}
        deque(map(rows.pop, found), maxlen=0)
        rows.update(found)
        return list(map(_read_known, numbers))

    def block(self, key: bytes) -> Settled | None:
        """What is known of this block wherever it stood."""
        numbers = self._get(BLOCK, key)
        return None if numbers is None else Settled.read(numbers)

    def turn(self, key: bytes) -> Turn | None:
        """What was billed for this answer."""
        numbers = self._get(TURN, key)
        return None if numbers is None else Turn(numbers[0] or 0, numbers[1])

    def settle(self, prefix: bytes, block: bytes, settled: Settled) -> None:
        """Remember a block in its place, and by itself where that is not known any better.

        A place that tells no more than its block does is not worth a saved row: a new tool in front gives a whole
        history new places.
        """
        known = self._tables[BLOCK].get(block)
        if known is None or settled.accuracy is Accuracy.EXACT or Settled.read(known).stage < settled.stage:
            self.put(LedgerRow(BLOCK, block, settled._replace(end=None, billed=False).numbers()))
        row = LedgerRow(PREFIX, prefix, settled.numbers())
        plain = row.numbers == self._tables[BLOCK][block] and prefix not in self._tables[PREFIX]
        self.put(row, changed=not plain)

    def learn_turn(self, key: bytes, turn: Turn) -> None:
        """Remember what an answer was billed."""
        self.put(LedgerRow(TURN, key, (turn.output, turn.thinking)))

    def put(self, row: LedgerRow, *, changed: bool = True) -> None:
        """Take a row, a saved one (`changed` False) or a new one. Unknown tables are passed over."""
        table = self._tables.get(row.table)
        if table is None or row.numbers is None:
            return
        if table.pop(row.key, None) != row.numbers and changed:
            self._changed[row.table, row.key] = None
        table[row.key] = row.numbers
        if len(table) > self._size:
            forgotten = next(iter(table))
            del table[forgotten]
            self._changed[row.table, forgotten] = None

    def load(self, rows: Iterable[LedgerRow]) -> None:
        """Take saved rows, the least recently used first."""
        for row in rows:
            self.put(row, changed=False)

    def rows(self) -> Iterator[LedgerRow]:
        """Every row, the least recently used of each table first."""
        for name, table in self._tables.items():
            for key, numbers in table.items():
                yield LedgerRow(name, key, numbers)

    def take_changes(self) -> list[LedgerRow]:
        """Return the rows that changed since the last call, forgotten ones without numbers."""
        changes = [LedgerRow(table, key, self._tables[table].get(key)) for table, key in self._changed]
        self._changed.clear()
        return changes

    def _get(self, table: str, key: bytes) -> tuple[int | None, ...] | None:
        rows = self._tables[table]
        numbers = rows.pop(key, None)
        if numbers is not None:
            rows[key] = numbers
        return numbers
