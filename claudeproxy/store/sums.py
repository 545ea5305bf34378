"""A request's numbers added up by source: what ``request_sources`` holds.

Apart from `accounts` because this is the part that runs over every block of every request: what a block's tokens are
for each source is remembered, so that a turn costs a look-up for each block it repeats. The arithmetic is that of
`numbers.expand`, block by block.
"""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING

from claudeproxy.sansio.sharing import share
from claudeproxy.store.numbers import BEFORE, UNSEEN
from claudeproxy.store.runs import SourceRow, SourceRuns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from claudeproxy.store.numbers import Priced
    from claudeproxy.store.skeleton import PathStep

MAX_REMEMBERED = 16_384  # explanations, and divisions of a block: some 10 MB together

_SEGMENTS = """
SELECT s.explanation, l.source, s.tokens FROM segments s JOIN segment_labels l ON l.id = s.label
WHERE s.explanation IN (SELECT value FROM json_each(?)) ORDER BY s.explanation, s.ordinal
"""


class _Sum:
    """What one source has in a request: tokens of each price class, number of pieces, the least sure label."""

    __slots__ = ("accuracy", "pieces", "tokens")

    def __init__(self) -> None:
        self.tokens = [0, 0, 0, 0]
        self.pieces = self.accuracy = 0


class SourceSums:
    """Adds up over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._runs = SourceRuns(connection)
        self._segments: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}  # explanation: sources and sizes
        self._divided: dict[tuple[int, int], tuple[tuple[int, int, int], ...]] = {}  # by explanation and tokens

    def forget(self) -> None:
        """Forget explanations: their ids may have been rolled back."""
        self._segments.clear()
        self._divided.clear()

    def save(
        self,
        number: int,
        path: Sequence[tuple[PathStep, int]],
        loose: Sequence[tuple[int, int, int, int]],
        priced: Priced | None,
        outputs: Sequence[SourceRow] | None = None,
    ) -> None:
        """Write the sums of a request's prompt, and what was billed beside it: without `outputs` that stays as it is.

        :param path: the nodes with their packed numbers.
        :param loose: ordinal, tokens, label and source of each segment of no node.
        """
        self._load({step.explanation for step, _ in path if step.explanation is not None})
        sums: defaultdict[int, _Sum] = defaultdict(_Sum)
        ends = list(accumulate(priced.tokens)) if priced is not None else [inf]
        at = price = 0  # how far the prompt has been laid over the classes of its bill

        def add(parts: Iterable[tuple[int, int, int]], label: int) -> None:
            """Add parts (source, tokens, pieces) in their order."""
            nonlocal at, price
            for source, tokens, pieces in parts:
                one = sums[source]
                one.pieces += pieces
                if tokens and label > one.accuracy:
                    one.accuracy = label
                while at + tokens > ends[price] and price < len(ends) - 1:
                    one.tokens[price] += (taken := int(ends[price]) - at)
                    at, tokens, price = at + taken, tokens - taken, price + 1
                one.tokens[price] += tokens
                at += tokens

        for ordinal, tokens, label, source in loose:
            if ordinal in (BEFORE, UNSEEN):
                add([(source, tokens, 1)], label)
        for step, packed in path:
            if step.explanation is not None:
                tokens, label = packed >> 2, packed & 3  # `numbers.unpack`, hundreds of times
                whole = at + tokens <= ends[price]  # nearly every block has one price: its pieces need no order
                add(self._parts(step.explanation, tokens) if whole else self._pieces(step.explanation, tokens), label)
        for ordinal, tokens, label, source in loose:
            if ordinal not in (BEFORE, UNSEEN):
                add([(source, tokens, 1)], label)
        rows = [
            SourceRow(source, sum(one.tokens), one.accuracy, priced and priced.cost(one.tokens), one.pieces)
            for source, one in sorted(sums.items())
        ]
        self._runs.write(number, rows, outputs)

    def _load(self, explanations: set[int]) -> None:
        """Read the sources and sizes of the segments of explanations that are not known yet."""
        if len(self._segments) > MAX_REMEMBERED or len(self._divided) > MAX_REMEMBERED:
            self.forget()
        missing = explanations - self._segments.keys()
        if not missing:
            return
        found: dict[int, tuple[list[int], list[int]]] = {explanation: ([], []) for explanation in missing}
        for explanation, source, size in self._connection.execute(_SEGMENTS, (json.dumps(sorted(missing)),)):
            found[explanation][0].append(source)
            found[explanation][1].append(size)
        self._segments.update((key, (tuple(sources), tuple(sizes))) for key, (sources, sizes) in found.items())

    def _parts(self, explanation: int, tokens: int) -> tuple[tuple[int, int, int], ...]:
        """Return source, tokens and number of pieces for each source of a block with so many tokens."""
        key = (explanation, tokens)
        if (known := self._divided.get(key)) is None:
            parts: dict[int, tuple[int, int]] = {}
            for source, part, _ in self._pieces(explanation, tokens):
                total, pieces = parts.get(source, (0, 0))
                parts[source] = (total + part, pieces + 1)
            known = self._divided[key] = tuple((source, *found) for source, found in parts.items())
        return known

    def _pieces(self, explanation: int, tokens: int) -> list[tuple[int, int, int]]:
        """Return the same for each segment by itself, in order."""
        sources, sizes = self._segments[explanation]
        parts = share(tokens, sizes) if sizes else ()
        return [(source, part, 1) for source, part in zip(sources, parts, strict=True)]
