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
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.sansio.sharing import share
from claudeproxy.store.numbers import BEFORE, UNSEEN
from claudeproxy.store.runs import SourceRow, SourceRuns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from claudeproxy.store.numbers import Priced
    from claudeproxy.store.skeleton import PathStep

MAX_REMEMBERED = 8_192  # explanations, and divisions of a block: some 5 MB together
_RECENT = 4  # beginnings, of the main conversation and its agents
_MAX_BEGINNING = 4_096  # blocks of one
_PIECES, _LABEL = 4, 5  # behind the tokens of each price class

_SEGMENTS = """
SELECT s.explanation, l.source, s.tokens FROM segments s JOIN segment_labels l ON l.id = s.label
WHERE s.explanation IN (SELECT value FROM json_each(?)) ORDER BY s.explanation, s.ordinal
"""


class _Beginning(NamedTuple):
    """The sums over the beginning of a prompt that lies in the first of its price classes: the next turn goes on there.

    Sums are tokens of each price class, number of pieces and the least sure label, by source.
    """

    before: Sequence[Sequence[int]]
    explanations: Sequence[int | None]
    packed: Sequence[int]
    sums: Mapping[int, Sequence[int]]
    tokens: int


class SourceSums:
    """Adds up over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._runs = SourceRuns(connection)
        self._segments: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}  # explanation: sources and sizes
        self._divided: dict[tuple[int, int], tuple[tuple[int, int, int], ...]] = {}  # by explanation and tokens
        self._beginnings: tuple[_Beginning, ...] = ()  # the latest first

    def forget(self) -> None:
        """Forget explanations: their ids may have been rolled back."""
        self._segments.clear()
        self._divided.clear()
        self._beginnings = ()

    def save(
        self,
        number: int,
        path: Sequence[PathStep],
        packed: Sequence[int],
        loose: Sequence[tuple[int, int, int, int]],
        priced: Priced | None,
        outputs: Sequence[SourceRow] | None = None,
    ) -> None:
        """Write the sums of a request's prompt, and what was billed beside it: without `outputs` that stays as it is.

        :param packed: the packed number of each node.
        :param loose: ordinal, tokens, label and source of each segment of no node.
        """
        explanations = [step.explanation for step in path]
        self._load({explanation for explanation in explanations if explanation is not None})
        ends = list(accumulate(priced.tokens)) if priced is not None else [inf]
        before = [one for one in loose if one[0] in (BEFORE, UNSEEN)]
        known = self._beginning(before, explanations, packed, ends[0])
        sums: defaultdict[int, list[int]] = defaultdict(lambda: [0] * 6)
        at = price = start = 0  # how far the prompt has been laid over the classes of its bill

        def add(parts: Iterable[tuple[int, int, int]], label: int) -> None:
            """Add parts (source, tokens, pieces) in their order."""
            nonlocal at, price
            for source, tokens, pieces in parts:
                one = sums[source]
                one[_PIECES] += pieces
                if tokens and label > one[_LABEL]:
                    one[_LABEL] = label
                while at + tokens > ends[price] and price < len(ends) - 1:
                    one[price] += (taken := int(ends[price]) - at)
                    at, tokens, price = at + taken, tokens - taken, price + 1
                one[price] += tokens
                at += tokens

        if known is not None:
            sums.update((source, list(one)) for source, one in known.sums.items())
            at, start = known.tokens, len(known.packed)
        else:
            for _, tokens, label, source in before:
                add([(source, tokens, 1)], label)
        for index in range(start, len(path)):
            if (explanation := explanations[index]) is None:
                continue
            tokens, label = packed[index] >> 2, packed[index] & 3  # `numbers.unpack`, hundreds of times
            whole = at + tokens <= ends[price]  # nearly every block has one price: its pieces need no order
            if not whole and price == 0 and index > start:
                self._remember(before, explanations[:index], packed[:index], sums, at)
            add(self._parts(explanation, tokens) if whole else self._pieces(explanation, tokens), label)
        for ordinal, tokens, label, source in loose:
            if ordinal not in (BEFORE, UNSEEN):
                add([(source, tokens, 1)], label)
        rows = [
            SourceRow(source, sum(laid := one[:_PIECES]), one[_LABEL], priced and priced.cost(laid), one[_PIECES])
            for source, one in sorted(sums.items())
        ]
        self._runs.write(number, rows, outputs)

    def _beginning(
        self,
        before: Sequence[Sequence[int]],
        explanations: Sequence[int | None],
        packed: Sequence[int],
        end: float,
    ) -> _Beginning | None:
        """Return the longest remembered beginning of a prompt whose first price class ends here."""
        for one in sorted(self._beginnings, key=lambda one: -len(one.packed)):
            upto = len(one.packed)
            beginning = (before, packed[:upto], explanations[:upto])
            if one.tokens <= end and (one.before, one.packed, one.explanations) == beginning:
                return one
        return None

    def _remember(
        self,
        before: Sequence[Sequence[int]],
        explanations: Sequence[int | None],
        packed: Sequence[int],
        sums: Mapping[int, Sequence[int]],
        tokens: int,
    ) -> None:
        if len(packed) <= _MAX_BEGINNING:
            copied = {source: tuple(one) for source, one in sums.items()}
            made = _Beginning(before, explanations, packed, copied, tokens)
            self._beginnings = (made, *self._beginnings)[:_RECENT]

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
