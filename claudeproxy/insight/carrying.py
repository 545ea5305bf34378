"""`Carrying`: what a session's context cost over its life: fetched once, then sent again with every turn.

Reads only, from what each request was billed. Every piece of every prompt is laid over the price classes of its bill,
as `store.numbers` does it, so the costs of all lives and of the output add up to the session's cost to the last digit.
Blocks that lie in one class, nearly all of them, are only counted, and multiplied at the end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from claudeproxy.insight.carrying_values import CarriedSource, CarryingCost, OutputTotal
from claudeproxy.insight.lives import Ledgered, Lives
from claudeproxy.insight.sessions import Sessions
from claudeproxy.model import Source, SourceType
from claudeproxy.store.numbers import Priced
from claudeproxy.store.paths import read_paths

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from claudeproxy.insight.carrying_values import Life
    from claudeproxy.store.storage import CaptureStorage

REQUESTS = """
SELECT q.n, q.id, q.request_initiated, q.agent_id, q.agent_type, q.request_class, q.turn_index,
  ifnull(q.context_node, q.node) AS last, q.cost, q.subscription,
  a.ledger, a.clock, a.corrections, a.read, a.write_1h, a.write_5m, a.uncached,
  x.read AS unit_read, x.write_1h AS unit_1h, x.write_5m AS unit_5m, x.uncached AS unit_uncached
FROM requests q LEFT JOIN accounts a ON a.request = q.n LEFT JOIN rates x ON x.id = a.rates
WHERE q.session_id = ? ORDER BY q.request_initiated, q.n
"""
_LOOSE = """
SELECT m.request, m.ordinal, m.tokens, l.source, l.kind, s.json_path,
  row_number() OVER (PARTITION BY m.request, l.source, l.kind, s.json_path ORDER BY m.ordinal) AS nth
FROM request_segments m JOIN loose_segments s ON s.id = m.segment JOIN segment_labels l ON l.id = s.label
WHERE m.request IN (SELECT value FROM json_each(?)) AND m.tokens > 0 ORDER BY m.request, m.ordinal
"""
_OUTPUT = """
SELECT source, sum(tokens) AS tokens, sum(cost) AS cost, count(*) = count(cost) AS known FROM request_sources
WHERE request IN (SELECT value FROM json_each(?)) AND output GROUP BY source ORDER BY 3 DESC, 1
"""


class Carrying:
    """Carrying costs in an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def session(self, session_id: str) -> CarryingCost:
        """Return what the context of a session cost, by its id or an unambiguous beginning of one.

        :raises NotFoundError: with near ids.
        """
        found = Sessions(self._storage).find(session_id)
        with self._storage.reading() as connection:
            rows = connection.execute(REQUESTS, (found,)).fetchall()
            billed = [row for row in rows if row["read"] is not None]
            numbers = json.dumps([row["n"] for row in billed])
            clocks = [(row["ledger"], row["clock"]) for row in billed]
            paths = read_paths(connection, {row["last"] for row in billed if row["last"]}, clocks)
            loose: dict[int, list[sqlite3.Row]] = defaultdict(list)
            for row in connection.execute(_LOOSE, (numbers,)):
                loose[row["request"]].append(row)
            sources = _sources(connection)
            output = connection.execute(_OUTPUT, (numbers,)).fetchall()
        lives = Lives(paths, sources)
        for row in billed:
            lives.add(_ledgered(row), loose.get(row["n"], ()))
        told = lives.finished()
        return CarryingCost(
            session_id=found,
            requests=len(billed),
            unbilled=sum(row["read"] is None and row["request_class"] != "count_tokens" for row in rows),
            unpriced=sum(row["cost"] is None for row in billed),
            subscription=any(row["subscription"] for row in rows),
            cost=sum(row["cost"] or 0 for row in billed),
            sources=_by_source(told, lives),
            output=[
                OutputTotal(
                    source=sources[row["source"]], tokens=row["tokens"], cost=row["cost"] if row["known"] else None
                )
                for row in output
            ],
            lives=sorted(told, key=lambda life: (-(life.cost or 0), -life.tokens, life.first_at)),
        )


def _ledgered(row: sqlite3.Row) -> Ledgered:
    kind = row["request_class"]
    # What is no turn has a context of its own, but the compaction reads the conversation's.
    side = kind if row["turn_index"] is None and kind != "compaction" else None
    nameless = row["agent_type"] if row["agent_id"] is None and kind == "subagent" else None
    return Ledgered(
        id=row["id"],
        at=row["request_initiated"],
        agent_id=row["agent_id"],
        thread=(row["agent_id"], nameless, side),
        compaction=kind == "compaction",
        last=row["last"],
        ledger=row["ledger"],
        clock=row["clock"],
        corrections=row["corrections"],
        priced=Priced(
            (row["read"], row["write_1h"], row["write_5m"], row["uncached"]),
            (row["unit_read"], row["unit_1h"], row["unit_5m"], row["unit_uncached"]),
        ),
    )


def _sources(connection: sqlite3.Connection) -> Mapping[int, Source]:
    return {
        row["id"]: Source(type=SourceType(row["type"]), name=row["name"], plugin=row["plugin"], via=row["via"])
        for row in connection.execute("SELECT id, type, name, plugin, via FROM sources")
    }


def _by_source(told: Iterable[Life], lives: Lives) -> Sequence[CarriedSource]:
    grouped: dict[Source, list[Life]] = defaultdict(list)
    for life in told:
        grouped[life.source].append(life)
    found = [
        CarriedSource(
            source=source,
            lives=len(ones),
            turns=lives.turns(source),
            fetched_tokens=sum(life.fetched_tokens for life in ones),
            carried_tokens=sum(life.carried_tokens for life in ones),
            fetched_cost=_sum(life.fetched_cost for life in ones),
            carried_cost=_sum(life.carried_cost for life in ones),
        )
        for source, ones in grouped.items()
    ]
    return sorted(found, key=lambda one: (-(one.fetched_cost or 0) - (one.carried_cost or 0), one.source.label))


def _sum(costs: Iterable[int | None]) -> int | None:
    total = 0
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
