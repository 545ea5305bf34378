"""The numbers of chosen pieces of many requests' contexts: tokens, price class and cost, without all the others.

Apart from `numbers`, which expands one request whole, and from `contexts`, which pages. What a piece costs depends on
how many tokens stand before it, and on nothing else of them: so blocks without a chosen piece are laid as one, however
many they are, and paths are read once for all requests that share them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.store.numbers import ESTIMATED, Priced, decode_corrections, expand, pack
from claudeproxy.store.paths import read_paths

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Mapping, Sequence

    from claudeproxy.store.numbers import Piece
    from claudeproxy.store.paths import Paths

_PASSED = -1  # stands for the node of blocks that are only passed; no node has this id

_ACCOUNTS = """
SELECT q.n, ifnull(q.context_node, q.node) AS last, a.request IS NOT NULL AS accounted, a.ledger, a.clock,
  a.corrections, a.read, a.write_1h, a.write_5m, a.uncached,
  x.read AS unit_read, x.write_1h AS unit_write_1h, x.write_5m AS unit_write_5m, x.uncached AS unit_uncached
FROM requests q LEFT JOIN accounts a ON a.request = q.n LEFT JOIN rates x ON x.id = a.rates
WHERE q.n IN (SELECT value FROM json_each(?))
"""
_LOOSE = """
SELECT m.request, m.ordinal, ifnull(m.tokens, iif(a.request IS NULL, s.tokens * m.repeats, 0)) AS tokens,
  ifnull(m.accuracy, iif(a.request IS NULL, 2, 0)) AS accuracy, l.source
FROM request_segments m JOIN loose_segments s ON s.id = m.segment JOIN segment_labels l ON l.id = s.label
LEFT JOIN accounts a ON a.request = m.request
WHERE m.request IN (SELECT value FROM json_each(?)) ORDER BY m.request, m.ordinal
"""


class _Loose(NamedTuple):
    """A segment of no node."""

    ordinal: int
    tokens: int
    accuracy: int
    source: int


def chosen_pieces(
    connection: sqlite3.Connection, numbers: Collection[int], sources: Collection[int] | None
) -> Mapping[int, Sequence[Piece]]:
    """Return the pieces of these sources (None: of all) in each request's prompt, in the order of its rows.

    The caller holds the snapshot. `numbers` are the requests' `n`; each has an entry.
    """
    listed = json.dumps(list(numbers))
    rows = connection.execute(_ACCOUNTS, (listed,)).fetchall()
    loose: dict[int, list[_Loose]] = defaultdict(list)
    for number, *segment in connection.execute(_LOOSE, (listed,)):
        loose[number].append(_Loose(*segment))
    clocks = [(row["ledger"], row["clock"]) for row in rows if row["accounted"]]
    paths = read_paths(connection, {row["last"] for row in rows if row["last"]}, clocks)
    chosen = {
        explanation: {at for at, piece in enumerate(pieces) if sources is None or piece.source in sources}
        for explanation, pieces in paths.pieces.items()
    }
    return {row["n"]: _of_request(row, paths, loose[row["n"]], chosen, sources) for row in rows}


def _of_request(
    row: sqlite3.Row,
    paths: Paths,
    loose: Sequence[_Loose],
    chosen: Mapping[int, Collection[int]],
    sources: Collection[int] | None,
) -> list[Piece]:
    blocks = _blocks(row, paths, chosen)
    wanted = {node: chosen[explanation] for node, _, _ in blocks if (explanation := paths.explanations.get(node))}
    wanted[0] = {one.ordinal for one in loose if sources is None or one.source in sources}
    pieces = expand(blocks, [(one.ordinal, one.tokens, one.accuracy) for one in loose], _priced(row))
    found = [piece for piece in pieces if piece.ordinal in wanted.get(piece.node, ())]
    found.sort(key=lambda piece: piece.node == 0)  # rows of no node come last, wherever they stand in the prompt
    return found


def _blocks(
    row: sqlite3.Row, paths: Paths, chosen: Mapping[int, Collection[int]]
) -> list[tuple[int, int, Sequence[int]]]:
    """Return what `expand` takes, with one block for each run of blocks that have no chosen piece."""
    corrected = decode_corrections(row["corrections"])
    ledger, clock, accounted = row["ledger"], row["clock"], row["accounted"]
    blocks: list[tuple[int, int, Sequence[int]]] = []
    passed = 0
    for index, node in enumerate(paths.to(row["last"])):
        explanation = paths.explanations[node]
        if explanation is None or not (pieces := paths.pieces[explanation]):
            continue
        if index in corrected:
            packed = corrected[index]
        else:
            packed = paths.packed(node, ledger, clock) if accounted else pack(paths.size(node), ESTIMATED)
        if not chosen[explanation]:
            passed += packed >> 2  # `numbers.unpack`, hundreds of times
            continue
        if passed:
            blocks.append((_PASSED, pack(passed, 0), (1,)))
            passed = 0
        blocks.append((node, packed, [piece.size for piece in pieces]))
    return [*blocks, (_PASSED, pack(passed, 0), (1,))] if passed else blocks


def _priced(row: sqlite3.Row) -> Priced | None:
    if row["read"] is None:
        return None
    return Priced(
        (row["read"], row["write_1h"], row["write_5m"], row["uncached"]),
        (row["unit_read"], row["unit_write_1h"], row["unit_write_5m"], row["unit_uncached"]),
    )
