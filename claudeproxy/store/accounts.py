"""What requests cost, stored: numbers on nodes and on the request, and their sums by source.

Apart from `totals`, which adds up estimates where there is no account, and from `numbers`, which gives everything back.
A node's number is written once and read by every later request; a request keeps only what differs (`schema.accounting`
says how). Whoever changes a request's sums does it inside `SourceAggregates.changing`.
"""

from __future__ import annotations

import json
from dataclasses import astuple
from itertools import compress, count
from operator import ne
from typing import TYPE_CHECKING

from claudeproxy.model import Rates, Segment, Source, SourceType
from claudeproxy.sansio.sharing import share
from claudeproxy.store import ledgers
from claudeproxy.store.labels import MAX_REMEMBERED, remember
from claudeproxy.store.laid import Laid
from claudeproxy.store.numbers import (
    ACCURACIES,
    AFTER,
    BEFORE,
    ESTIMATED,
    UNSEEN,
    Priced,
    decode_corrections,
    encode_corrections,
    unpack,
)
from claudeproxy.store.runs import SourceRow
from claudeproxy.store.sums import SourceSums
from claudeproxy.store.text import clean
from claudeproxy.store.totals import Counted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.model import Account, PricedBill
    from claudeproxy.store.aggregates import SourceAggregates
    from claudeproxy.store.labels import Labels
    from claudeproxy.store.skeleton import PathStep
    from claudeproxy.store.totals import RequestTotals

API_OVERHEAD = Source(type=SourceType.OVERHEAD, name="API overhead")
UNSEEN_CONTEXT = Source(type=SourceType.FRAMEWORK, name="unseen thread context")

_AS_OF = """
SELECT t.node, t.packed FROM node_tokens t JOIN (
  SELECT node, max(clock) AS clock FROM node_tokens
  WHERE node IN (SELECT value FROM json_each(:nodes)) AND ledger = :ledger AND clock <= :clock GROUP BY node) l
ON t.node = l.node AND t.clock = l.clock AND t.ledger = :ledger
"""
_LOOSE = """
SELECT m.ordinal, m.tokens, m.accuracy, l.source, s.tokens * m.repeats AS size
FROM request_segments m JOIN loose_segments s ON s.id = m.segment JOIN segment_labels l ON l.id = s.label
WHERE m.request = ? ORDER BY m.ordinal
"""
_SPECIAL = """
SELECT ordinal, tokens, accuracy FROM request_segments WHERE request = ? AND ordinal IN (-2, -1, 1000001)
"""
_FORGET_SPECIAL = "DELETE FROM request_segments WHERE request = ? AND ordinal IN (-2, -1, 1000001)"
_ACCOUNT = """
SELECT a.ledger, a.clock, a.corrections, a.read, a.write_1h, a.write_5m, a.uncached, q.total_tokens,
  x.read AS unit_read, x.write_1h AS unit_write_1h, x.write_5m AS unit_write_5m, x.uncached AS unit_uncached
FROM accounts a JOIN requests q ON q.n = a.request LEFT JOIN rates x ON x.id = a.rates WHERE a.request = ?
"""
_RATES = (
    "model",
    "source",
    "modifiers",
    "read",
    "write_1h",
    "write_5m",
    "uncached",
    "output",
    "web_search",
    "web_fetch",
)


class Accounts:
    """Writes over one connection. The caller holds the transaction and calls `forget` after a rollback."""

    def __init__(
        self, connection: sqlite3.Connection, labels: Labels, totals: RequestTotals, aggregates: SourceAggregates
    ) -> None:
        self._connection = connection
        self._labels = labels
        self._totals = totals
        self._aggregates = aggregates
        self._sums = SourceSums(connection)
        self._latest: dict[int, dict[int, int]] = {}  # by ledger and node: packed, as of the ledger's clock
        self._special: dict[int, int] = {}
        self._known_rates: dict[tuple[object, ...], int] = {}

    def forget(self) -> None:
        """Forget all ids: they may have been rolled back, or deleted by another process."""
        self._latest.clear()
        self._special.clear()
        self._known_rates.clear()
        self._sums.forget()

    def forget_numbers(self) -> None:
        """Forget nodes' numbers: another process wrote, which may have settled requests."""
        self._latest.clear()

    def save(self, number: int, path: Sequence[PathStep], account: Account, *, first: bool = False) -> None:
        """Store a request's account in place of what it had; `first`: no segment of its own has numbers.

        `path` knows the explanation of each node.
        """
        ledger = ledgers.ledger_id(self._connection, account.provider, account.model)
        if account.change is not None:
            clock = ledgers.save_change(self._connection, ledger, account.change)
        else:
            clock = ledgers.clock(self._connection, ledger)
        laid = Laid.of(path, account)
        corrections = self._place(path, laid.packed, ledger, clock, learned=account.change is not None)
        bill = account.bill
        self._connection.execute(
            "INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                number,
                ledger,
                clock,
                encode_corrections(corrections),
                *(bill.classes if bill is not None else (None, None, None, None)),
                self._rates(bill.rates) if bill is not None and bill.rates is not None else None,
            ),
        )
        self._connection.execute(
            "UPDATE requests SET total_tokens = ?, cost = ?, cost_note = ?, accuracy = ?, expected_error = ?"
            " WHERE n = ?",
            (
                account.total,
                None if bill is None else bill.cost,
                clean(account.note),
                0 if account.counted else ESTIMATED,
                None if account.counted else account.error,
                number,
            ),
        )
        with self._aggregates.changing(number):
            self._write(number, path, laid, _priced(bill), self._outputs(bill), first=first)

    def again(self, number: int, path: Sequence[PathStep]) -> bool:
        """Divide a request's numbers among its segments anew; False where it has no account."""
        row = self._connection.execute(_ACCOUNT, (number,)).fetchone()
        if row is None:
            return False
        known = self._as_of(path, row["ledger"], row["clock"])
        corrected = decode_corrections(row["corrections"])
        packed = [corrected.get(index, known.get(step.node, 0)) for index, step in enumerate(path)]
        special = {r["ordinal"]: r for r in self._connection.execute(_SPECIAL, (number,))}
        before, unseen, after = (special[o]["tokens"] if o in special else 0 for o in (BEFORE, UNSEEN, AFTER))
        rest = row["total_tokens"] - before - unseen - after - sum(unpack(one)[0] for one in packed)
        label = max((r["accuracy"] for r in special.values()), default=ESTIMATED)
        laid = Laid(packed=packed, before=before, unseen=unseen, after=after, rest=rest, label=label)
        priced = None
        if row["read"] is not None:
            classes = (row["read"], row["write_1h"], row["write_5m"], row["uncached"])
            units = (row["unit_read"], row["unit_write_1h"], row["unit_write_5m"], row["unit_uncached"])
            priced = Priced(classes, units)
        with self._aggregates.changing(number):
            self._write(number, path, laid, priced)
        return True

    # --- nodes ----------------------------------------------------------------------------------------------

    def _place(
        self, path: Sequence[PathStep], packed: Sequence[int], ledger: int, clock: int, *, learned: bool
    ) -> dict[int, int]:
        """Write the numbers that nodes do not have yet, or return them as corrections when nothing was learned."""
        # Before, not while it is filled: all of this path is needed.
        if sum(map(len, self._latest.values())) + len(path) > MAX_REMEMBERED:
            self._latest.clear()
        latest = self._latest.setdefault(ledger, {})
        known = [latest.get(step.node) for step in path]
        if None in known:
            missing = [step for step, number in zip(path, known, strict=True) if number is None]
            found = self._as_of(missing, ledger, clock)
            latest.update((step.node, found.get(step.node, -1)) for step in missing)
            known = [latest[step.node] for step in path]
        differing = {index: packed[index] for index in compress(count(), map(ne, known, packed))}
        if not learned:
            return {index: number for index, number in differing.items() if number or latest[path[index].node] >= 0}
        rows = [(path[index].node, ledger, clock, number) for index, number in differing.items()]
        self._connection.executemany("INSERT INTO node_tokens VALUES (?, ?, ?, ?)", rows)
        latest.update((node, number) for node, _, _, number in rows)
        return {}

    def _as_of(self, path: Sequence[PathStep], ledger: int, clock: int) -> dict[int, int]:
        nodes = json.dumps([step.node for step in path])
        rows = self._connection.execute(_AS_OF, {"nodes": nodes, "ledger": ledger, "clock": clock}).fetchall()
        return {row["node"]: row["packed"] for row in rows}

    # --- the request's own ----------------------------------------------------------------------------------

    def _write(
        self,
        number: int,
        path: Sequence[PathStep],
        laid: Laid,
        priced: Priced | None,
        outputs: Sequence[SourceRow] | None = None,
        *,
        first: bool = False,
    ) -> None:
        """Write what belongs to no node, and the sums by source."""
        run = self._connection.execute
        if not first:
            run(_FORGET_SPECIAL, (number,))
            run(
                "UPDATE request_segments SET tokens = NULL, accuracy = NULL WHERE request = ? AND tokens >= 0",
                (number,),
            )
        for ordinal, tokens in ((BEFORE, laid.before), (UNSEEN, laid.unseen), (AFTER, laid.after)):
            if tokens:
                row = (number, ordinal, self._special_segment(ordinal), 1, tokens, laid.label)
                run("INSERT INTO request_segments VALUES (?, ?, ?, ?, ?, ?)", row)
        rows = run(_LOOSE, (number,)).fetchall()
        if laid.rest:
            own = [row for row in rows if row["ordinal"] not in (BEFORE, UNSEEN, AFTER)]
            for row, tokens in zip(own, share(laid.rest, [row["size"] for row in own]), strict=True):
                run(
                    "UPDATE request_segments SET tokens = ?, accuracy = ? WHERE request = ? AND ordinal = ?",
                    (tokens, laid.label, number, row["ordinal"]),
                )
            rows = run(_LOOSE, (number,)).fetchall()
        loose = [(row["ordinal"], row["tokens"] or 0, row["accuracy"] or 0, row["source"]) for row in rows]
        self._sums.save(number, path, laid.packed, loose, priced, outputs)

    def _special_segment(self, ordinal: int) -> int:
        if ordinal not in self._special:
            segment, path = _SPECIAL_SEGMENTS[ordinal]
            counted = Counted(segment, 0, path, -1, "system")
            remember(self._special, ordinal, self._totals.loose_segment(counted))
        return self._special[ordinal]

    def _outputs(self, bill: PricedBill | None) -> list[SourceRow]:
        return [
            SourceRow(self._labels.source(part.source), part.tokens, ACCURACIES.index(part.accuracy), part.cost, 1, 1)
            for part in (bill.output if bill is not None else ())
        ]

    def _rates(self, rates: Rates) -> int:
        values = astuple(rates)
        if (known := self._known_rates.get(values)) is None:
            where = " AND ".join(f"{name} IS ?" for name in _RATES)
            row = self._connection.execute(f"SELECT id FROM rates WHERE {where}", values).fetchone()  # noqa: S608 - ours
            if row is None:
                names, marks = ", ".join(_RATES), ", ".join("?" * len(_RATES))
                row = self._connection.execute(
                    f"INSERT INTO rates ({names}) VALUES ({marks}) RETURNING id",  # noqa: S608 - ours
                    values,
                ).fetchone()
            known = int(row[0])
            remember(self._known_rates, values, known)
        return known


def _priced(bill: PricedBill | None) -> Priced | None:
    if bill is None:
        return None
    rates = bill.rates
    units = (None,) * 4 if rates is None else (rates.read, rates.write_1h, rates.write_5m, rates.uncached)
    return Priced(bill.classes, (units[0], units[1], units[2], units[3]))


def _special_piece(source: Source, kind: str, rule: str) -> Segment:
    return Segment(source=source, kind=kind, path="", start=None, end=None, byte_start=0, byte_end=0, rule=rule)


_SPECIAL_SEGMENTS = {
    BEFORE: (_special_piece(API_OVERHEAD, "preamble", "bill.overhead"), "$.tools"),
    UNSEEN: (_special_piece(UNSEEN_CONTEXT, "unseen", "thread.unseen"), "$.thread"),
    AFTER: (_special_piece(API_OVERHEAD, "tail", "bill.overhead"), "$"),
}
