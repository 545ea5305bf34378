"""Paths of many requests read at once: nodes, segments and tokens, each once however many requests share it.

Apart because the carrying cost, the sums by kind and a search through the pieces of all contexts are questions about
many requests, and asking the view ``context_attributions`` for each would expand each path anew. The numbers are those
of `numbers`, which says what they mean.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Hashable, Iterable, Mapping, Sequence

STRUCTURE = "structure"  # kind of the punctuation around a text

NODES = """
WITH RECURSIVE up (id) AS (
  SELECT value FROM json_each(?) UNION SELECT n.parent FROM up JOIN nodes n ON n.id = up.id WHERE n.parent > 0)
SELECT n.id, n.parent, n.explanation FROM up JOIN nodes n ON n.id = up.id ORDER BY n.id
"""
SEGMENTS = """
SELECT s.explanation, l.source, l.kind, s.tokens, s.content_hash FROM segments s JOIN segment_labels l ON l.id = s.label
WHERE s.explanation IN (SELECT value FROM json_each(?)) ORDER BY s.explanation, s.ordinal
"""
TOKENS = """
SELECT node, ledger, clock, packed FROM node_tokens WHERE node IN (SELECT value FROM json_each(?))
ORDER BY node, ledger, clock
"""
# From the last that holds at a ledger's first clock: nodes that every conversation goes through have one for each.
TOKENS_BETWEEN = """
SELECT t.node, t.ledger, t.clock, t.packed FROM json_each(?) l CROSS JOIN json_each(?) n CROSS JOIN node_tokens t
WHERE t.node = n.value AND t.ledger = l.value ->> 0 AND t.clock <= l.value ->> 2 AND t.clock >= ifnull((
  SELECT max(f.clock) FROM node_tokens f WHERE f.node = n.value AND f.ledger = l.value ->> 0
  AND f.clock <= l.value ->> 1), 0)
ORDER BY t.node, t.ledger, t.clock
"""


class Piece(NamedTuple):
    """A segment of a block: source and kind, its size beside the others', the hash of its text."""

    source: int
    kind: str
    size: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Paths:
    """The nodes above some requests' last nodes. Node 0 is none."""

    parents: Mapping[int, int]  # in order of their ids: parents before children
    explanations: Mapping[int, int | None]
    pieces: Mapping[int, Sequence[Piece]]  # by explanation
    tokens: Mapping[tuple[int, int], Sequence[tuple[int, int]]]  # (node, ledger): clock and packed number, rising

    def to(self, last: int | None) -> list[int]:
        """Return the path that ends at a node, in prompt order."""
        path = []
        node = last or 0
        while node:
            path.append(node)
            node = self.parents[node]
        path.reverse()
        return path

    def packed(self, node: int, ledger: int, clock: int) -> int:
        """Return a node's packed number as of a ledger's clock."""
        known = self.tokens.get((node, ledger), ())
        if len(known) == 1:  # nearly all
            return known[0][1] if known[0][0] <= clock else 0
        at = bisect_right(known, clock, key=lambda pair: pair[0])
        return known[at - 1][1] if at else 0

    def identities(self) -> dict[int, Hashable]:
        """Return for each explained node what it is, wherever it stands: its texts, and which of their like it is.

        Texts of sources, without the punctuation around them: that changes where the same text comes as a string or in
        a list.
        """
        children: dict[int, list[int]] = defaultdict(list)
        for node, parent in self.parents.items():
            children[parent].append(node)
        texts = {explanation: _texts(pieces) for explanation, pieces in self.pieces.items()}
        found: dict[int, Hashable] = {}
        above: Counter[Hashable] = Counter()
        waiting = [(node, False) for node in children[0]]
        while waiting:
            node, leaving = waiting.pop()
            explanation = self.explanations[node]
            if explanation is not None:
                text = texts[explanation]
                above[text] += -1 if leaving else 1
                if not leaving:
                    found[node] = (text, above[text])
            if not leaving:
                waiting.append((node, True))
                waiting += [(child, False) for child in children[node]]
        return found

    def size(self, node: int) -> int:
        """Return a node's tokens by our own count, where nothing was billed."""
        explanation = self.explanations[node]
        return 0 if explanation is None else sum(piece.size for piece in self.pieces[explanation])

    def divided(self, explanation: int, tokens: int) -> list[int]:
        """Return the tokens of each piece of a block with so many."""
        pieces = self.pieces[explanation]
        return share(tokens, [piece.size for piece in pieces]) if pieces else []


def _texts(pieces: Sequence[Piece]) -> Hashable:
    said = tuple((piece.source, piece.text) for piece in pieces if piece.kind != STRUCTURE)
    return said or tuple((piece.source, piece.text) for piece in pieces)


def read_paths(
    connection: sqlite3.Connection, ends: Iterable[int], clocks: Iterable[tuple[int, int]] | None = None
) -> Paths:
    """Return the paths that end at these nodes.

    :param clocks: ledgers with their clocks, as of which numbers will be asked for; None: any.
    """
    parents: dict[int, int] = {}
    explanations: dict[int, int | None] = {}
    for node, parent, explanation in connection.execute(NODES, (json.dumps(sorted(set(ends))),)):
        parents[node], explanations[node] = parent, explanation
    found = {one for one in explanations.values() if one is not None}
    pieces: dict[int, list[Piece]] = {explanation: [] for explanation in found}
    for explanation, *piece in connection.execute(SEGMENTS, (json.dumps(sorted(found)),)):
        pieces[explanation].append(Piece(*piece))
    tokens: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for node, ledger, clock, packed in _tokens(connection, json.dumps(list(parents)), clocks):
        tokens[node, ledger].append((clock, packed))
    return Paths(parents, explanations, pieces, dict(tokens))


def _tokens(connection: sqlite3.Connection, nodes: str, clocks: Iterable[tuple[int, int]] | None) -> sqlite3.Cursor:
    if clocks is None:
        return connection.execute(TOKENS, (nodes,))
    bounds: dict[int, tuple[int, int]] = {}
    for ledger, clock in clocks:
        low, high = bounds.get(ledger, (clock, clock))
        bounds[ledger] = (min(low, clock), max(high, clock))
    listed = json.dumps([(ledger, *between) for ledger, between in bounds.items()])
    return connection.execute(TOKENS_BETWEEN, (listed, nodes))
