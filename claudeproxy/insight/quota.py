"""`Quota`: how full an account's limits were, and what ate them: by source, session, hour.

Reads only. Every answer's head says how full each window was at that moment (`sansio.quota`). Where a later one says
more, the rise is laid on the requests that were at work in between, in proportion to what they cost (by weighted tokens
where a price is unknown), by largest remainder: the shares of a window add up to its rises, to the millionth. That is
all there is to know: if the same account is used elsewhere at the same time, its share falls on what was captured here.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.insight.quota_values import QuotaBy, QuotaHour, QuotaShare, QuotaState, QuotaUse
from claudeproxy.sansio.quota import MILLION, UNIFIED
from claudeproxy.sansio.sharing import share
from claudeproxy.store.aggregates import HOUR

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from claudeproxy.store.storage import CaptureStorage

NO_SESSION = "no session"
NOT_EXPLAINED = "not explained"
_ALWAYS = 1 << 62  # ns: later than any capture
_SAME_PERIOD = 300_000_000_000  # ns: the end of a window may be told with some rounding, no window is this short

_LATEST = """
SELECT w.account, w.name, h.last_at, h.used, h.capacity, h.remaining, h.reset, h.status FROM quota_windows w
JOIN quota_hours h ON h."window" = w.id AND h.hour = (SELECT max(hour) FROM quota_hours WHERE "window" = w.id)
ORDER BY w.account, w.id
"""
_HOURS = """
SELECT w.account, w.name, h.* FROM quota_hours h JOIN quota_windows w ON w.id = h."window"
WHERE (:name IS NULL OR w.name = :name) AND (h.hour + 1) * :width > :since AND h.hour * :width < :until
ORDER BY h.hour, w.account, w.id
"""
# From the last sample before the time that is asked for, so that its first rise is one.
SAMPLES = """
SELECT s.at, s.used, s.remaining, s.reset, s.request, q.request_initiated, q.delivered, q.session_id, q.cost,
  ifnull(p.input_tokens, 0) * 20 + ifnull(p.cache_read_input_tokens, 0) * 2 + ifnull(p.output_tokens, 0) * 100
  + ifnull(p.cache_creation_1h, 0) * 40
  + (ifnull(p.cache_creation_input_tokens, 0) - ifnull(p.cache_creation_1h, 0)) * 25 AS weight
FROM quota_samples s JOIN requests q ON q.n = s.request LEFT JOIN responses p ON p.request = s.request
WHERE s."window" = :window AND s.used IS NOT NULL AND s.at < :until AND s.at >= ifnull(
  (SELECT max(at) FROM quota_samples WHERE "window" = :window AND at < :since AND used IS NOT NULL), :since)
ORDER BY s.at, s.request
"""
_SOURCES = """
SELECT s.request, o.label, s.tokens, s.cost FROM request_sources s JOIN sources o ON o.id = s.source
WHERE s.request IN (SELECT value FROM json_each(?)) ORDER BY s.request, o.label
"""


@dataclass(slots=True)
class _Request:
    number: int
    began: int
    ended: int
    session: str
    cost: int | None
    weight: int
    rise: int = 0


class Quota:
    """Limits in an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def windows(self) -> list[QuotaState]:
        """Return each window as it was last seen."""
        with self._storage.reading() as connection:
            return [_state(row) for row in connection.execute(_LATEST).fetchall()]

    def history(
        self, *, since: int | None = None, until: int | None = None, window: str | None = None
    ) -> list[QuotaHour]:
        """Return the hours that touch a time (`since` inclusive, `until` exclusive), in order. Survives retention."""
        bounds = {"name": window, "width": HOUR, "since": since or 0, "until": _ALWAYS if until is None else until}
        with self._storage.reading() as connection:
            rows = connection.execute(_HOURS, bounds).fetchall()
        return [
            QuotaHour(
                start=row["hour"] * HOUR,
                samples=row["samples"],
                rejected=row["rejected"],
                least=_share(row["least"]),
                most=_share(row["most"]),
                latest=_state(row),
            )
            for row in rows
        ]

    def eaten(
        self, by: QuotaBy, *, since: int | None = None, until: int | None = None, window: str | None = None
    ) -> list[QuotaUse]:
        """Return what ate each window, of the captures that are there.

        :param window: this one; by default a subscription's windows, or all there are where there is no subscription.
        """
        bounds = {"since": since or 0, "until": _ALWAYS if until is None else until}
        uses = []
        with self._storage.reading() as connection:
            for row in _chosen(connection, window):
                samples = connection.execute(SAMPLES, {**bounds, "window": row["id"]}).fetchall()
                requests = _rises(samples, bounds["since"])
                shares = _by_source(connection, requests) if by is QuotaBy.SOURCE else _by(requests, by)
                if requests:
                    uses.append(
                        QuotaUse(
                            account=row["account"],
                            window=row["name"],
                            millionths=sum(one.rise for one in requests),
                            requests=len(requests),
                            shares=_in_order(shares, by),
                        )
                    )
        return uses


def _chosen(connection: sqlite3.Connection, window: str | None) -> list[sqlite3.Row]:
    rows: list[sqlite3.Row] = connection.execute("SELECT * FROM quota_windows ORDER BY account, id").fetchall()
    if window is not None:
        return [row for row in rows if row["name"] == window]
    subscribed = {row["account"] for row in rows if row["name"] == UNIFIED or row["name"][:1].isdigit()}
    return [row for row in rows if row["account"] not in subscribed or row["name"][:1].isdigit()]


def _rises(samples: Iterable[sqlite3.Row], since: int) -> list[_Request]:
    """Lay each rise on the requests at work between the two answers that tell of it; return those asked for."""
    every: list[_Request] = []
    working: list[_Request] = []  # whose work the next rise may be
    before: sqlite3.Row | None = None
    for row in samples:
        request = _request(row)
        every.append(request)
        working.append(request)
        if before is None or row["at"] < since:
            rise = 0
        elif _new_period(before, row):
            working = [one for one in working if one.ended > before["reset"]]
            rise = row["used"]
        else:
            rise = row["used"] - before["used"]
        if rise > 0:
            for one, part in zip(working, share(rise, _weights(working)), strict=True):
                one.rise += part
        if before is None or rise or row["used"] != before["used"]:
            working = [one for one in working if one.ended > row["at"]]
        before = row
    return [one for one in every if one.rise or one.ended >= since]


def _request(row: sqlite3.Row) -> _Request:
    return _Request(
        number=row["request"],
        began=row["request_initiated"],
        ended=_ALWAYS if row["delivered"] is None else max(row["delivered"], row["at"] + 1),
        session=row["session_id"] or NO_SESSION,
        cost=row["cost"],
        weight=row["weight"],
    )


def _new_period(before: sqlite3.Row, row: sqlite3.Row) -> bool:
    """Tell whether a window has ended in between. A limit a minute fills up all the time and has no periods."""
    if row["remaining"] is not None or row["reset"] is None or before["reset"] is None:
        return False
    return bool(row["reset"] - before["reset"] > _SAME_PERIOD)


def _weights(requests: Sequence[_Request]) -> list[int]:
    costs = [one.cost for one in requests if one.cost is not None]
    return costs if len(costs) == len(requests) and any(costs) else [max(0, one.weight) for one in requests]


_Shares = Mapping[str, list[tuple[int, int]]]
"""Key to requests and their parts; a request is once with each."""


def _by(requests: Iterable[_Request], by: QuotaBy) -> _Shares:
    shares: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in requests:
        key = one.session if by is QuotaBy.SESSION else str(one.began // HOUR * HOUR)
        shares[key].append((one.number, one.rise))
    return shares


def _by_source(connection: sqlite3.Connection, requests: Sequence[_Request]) -> _Shares:
    sources: Mapping[int, list[sqlite3.Row]] = defaultdict(list)
    for row in connection.execute(_SOURCES, (json.dumps([one.number for one in requests if one.rise]),)):
        sources[row["request"]].append(row)
    shares: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in requests:
        rows = sources.get(one.number, [])
        if not rows:  # its body was not kept, or is not JSON
            shares[NOT_EXPLAINED].append((one.number, one.rise))
            continue
        costs = [row["cost"] for row in rows]
        weights = [row["tokens"] for row in rows] if None in costs or not any(costs) else costs
        for row, part in zip(rows, share(one.rise, weights), strict=True):
            shares[row["label"]].append((one.number, part))
    return shares


def _in_order(shares: _Shares, by: QuotaBy) -> tuple[QuotaShare, ...]:
    found = [
        QuotaShare(key=key, millionths=whole, requests=len({number for number, part in parts if part}))
        for key, parts in shares.items()
        if (whole := sum(part for _, part in parts))
    ]
    if by is QuotaBy.HOUR:
        return tuple(sorted(found, key=lambda one: int(one.key)))
    return tuple(sorted(found, key=lambda one: (-one.millionths, one.key)))


def _state(row: sqlite3.Row) -> QuotaState:
    return QuotaState(
        account=row["account"],
        window=row["name"],
        at=row["last_at"],
        used=_share(row["used"]),
        limit=row["capacity"],
        remaining=row["remaining"],
        reset=row["reset"],
        status=row["status"],
    )


def _share(millionths: int | None) -> float | None:
    return None if millionths is None else millionths / MILLION
