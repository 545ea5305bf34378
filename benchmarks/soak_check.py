"""Whether the record is what both ends saw: each exchange once, in the right state, byte for byte.

Apart from the run because it must not disturb it: what has ended is checked once a minute over a read-only connection,
and then forgotten, so that a day's soak needs no more memory here than a minute's.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from soak_traffic import answer_body, kind_of, request_body

from claudeproxy.errors import StorageError
from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from pathlib import Path

    from soak_peers import Sighting, Sightings

    from claudeproxy.store.values import CapturedRequest

_NUMBER = re.compile(r"soak=(\d+)")
PAGE = 1000


class Checker:
    """Checks one database against sightings. `problems` are sentences; there should be none."""

    def __init__(self, database: Path, sightings: Sightings) -> None:
        self._database = database
        self._sightings = sightings
        self._seen: dict[int, int] = {}  # checked: number to row, until retention takes it
        self.checked = self.unreached = self.bytes_compared = self.records = 0
        self.states: dict[str, Counter[str]] = defaultdict(Counter)
        self.problems: list[str] = []

    def check(self, *, since: int, last: bool = False) -> None:
        """Compare what is over. `since`: rows before this instant were checked. `last`: what is missing is lost."""
        with CaptureStorage(self._database, read_only=True) as storage:
            for row in self._rows(storage, since):
                number = int(found[1]) if (found := _NUMBER.search(row.url)) else -1
                self._row(storage, number, row)
        waiting = [number for number, sighting in self._sightings.items() if sighting.over]
        for number in waiting:
            if not self._sightings[number].reached:
                self.unreached += 1
                del self._sightings[number]
            elif last:
                self.problems.append(f"{number} ({kind_of(number).name}) reached the upstream and is not recorded")

    def forget_before(self, number: int) -> None:
        """Forget which rows were seen of exchanges before this one: retention has deleted them."""
        self._seen = {one: row for one, row in self._seen.items() if one >= number}

    def _rows(self, storage: CaptureStorage, since: int) -> list[CapturedRequest]:
        rows: list[CapturedRequest] = []
        as_of = None
        while True:
            page = storage.query_requests(RequestFilters(since=since, limit=PAGE, offset=len(rows), as_of=as_of))
            rows += page.rows
            as_of = page.as_of
            if len(page.rows) < PAGE:
                return rows

    def _row(self, storage: CaptureStorage, number: int, row: CapturedRequest) -> None:
        seen = self._seen.get(number)
        if seen is not None:
            if seen != hash(row.id):
                self.problems.append(f"{number} ({kind_of(number).name}) is recorded twice")
            return
        sighting = self._sightings.get(number)
        if sighting is None or not sighting.over or row.state is State.IN_FLIGHT:
            return
        kind = kind_of(number)
        self.records += 1
        self.states[kind.name][str(row.state)] += 1
        for problem in self._compare(storage, number, row, sighting):
            self.problems.append(f"{number} ({kind.name}, {row.state}): {problem}")
        self._seen[number] = hash(row.id)
        self.checked += sighting.reached
        self.unreached += not sighting.reached
        del self._sightings[number]

    def _compare(self, storage: CaptureStorage, number: int, row: CapturedRequest, sighting: Sighting) -> list[str]:
        kind, problems = kind_of(number), [sighting.wrong] if sighting.wrong else []
        if str(row.state) not in kind.states and sighting.reached:
            problems.append(f"expected {' or '.join(kind.states)}; {row.error}")
        sent, kept = request_body(number), storage.request_body(row.id)
        if kept != sent[: len(kept)] or len(kept) < sighting.received:
            problems.append(
                f"request: {len(kept)} bytes kept, {sighting.received} reached the upstream, or they differ"
            )
        if kind.client not in {"half", "early"} and len(kept) != len(sent):
            problems.append(f"request: {len(kept)} of {len(sent)} bytes kept")
        self.bytes_compared += len(kept)
        if sighting.answered or (row.status_code is not None and kind.upstream not in {"garbage", "silent"}):
            whole = answer_body(number)
            try:
                answer = storage.response_body(row.id)
            except StorageError as error:
                return [*problems, str(error)]
            if answer != whole[: len(answer)] or len(answer) < sighting.answered:
                problems.append(f"answer: {len(answer)} bytes kept, {sighting.answered} seen, or they differ")
            if kind.states == ("complete",) and len(answer) != len(whole):
                problems.append(f"answer: {len(answer)} of {len(whole)} bytes kept")
            self.bytes_compared += len(answer)
        return problems
