"""How what the proxy adds grows with connections at once, and with the size of bodies.

Part of `growth`: points of its first two curves. Beside a direct connection and a bare splice, in either mode; relay
and recorder are told apart, in CPU and in memory. Linux only.

Connections: so many paced streams at once, which have 500 events a second between them, however many they are; each
connection has had an answer before, and each request is 100 KB. Bodies: one request after another on one connection,
each the next turn of a conversation of that size, of which the proxy has seen all but the last result.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from contenders import running
from load import Requests, Scenario, measure
from overhead import BODY_BYTES, Row, percentile
from processes import Contender, cpu_seconds, settle
from sampling import forget_peak, recorder_of, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    Take: TypeAlias = "Callable[[list[Row]], None]"  # gets all rows of one point

ONE = Scenario(name="json-1", concurrency=1, requests=1)
CONNECTIONS = (1, 3, 10, 30, 100, 300, 1000)
BODIES = (1_000, 10_000, 100_000, 1_000_000, 3_200_000, 10_000_000, 32_000_000)
EVENTS = 20  # of a stream
EVENTS_PER_SECOND = 500  # of all streams
SHORTEST = 0.02  # seconds between two events of a stream
STREAMS = 20  # of a point at least, one after the other where they are few
SENT_BYTES = 20_000_000  # of a point at least, in 5 to 100 requests
SETTINGS = {"CLAUDEPROXY_MAX_CONNECTIONS": "2000", "CLAUDEPROXY_MAX_CONNECTIONS_PER_CLIENT": "2000"}


class Watch:
    """CPU and peak memory of a contender's processes since it was made; what is not claudeproxy has no recorder."""

    def __init__(self, contender: Contender) -> None:
        self._pid = contender.pid
        self._recorder = None if contender.api is None or contender.pid is None else recorder_of(contender.pid)
        for pid in (self._pid, self._recorder):
            if pid is not None:
                forget_peak(pid)
        self._before = self._used()

    def _used(self) -> tuple[float, float]:
        recorder = cpu_seconds(self._recorder)
        return cpu_seconds(self._pid) - recorder, recorder

    def figures(self, exchanges: int) -> Row:
        """CPU for an exchange in milliseconds, and peaks in MB, of relay and recorder."""
        row: Row = {}
        for name, pid, before, now in zip(
            ("relay", "recorder"), (self._pid, self._recorder), self._before, self._used(), strict=True
        ):
            if pid is not None and (found := usage(pid)) is not None:
                row |= {f"{name}_cpu_ms": 1000 * (now - before) / exchanges, f"{name}_mb": found.peak / 1e6}
        return row


async def connections(counts: Sequence[int], take: Take) -> None:
    """Take points for so many connections at once."""
    requests = Requests(BODY_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=EVENTS, claudeproxy=True, settings=SETTINGS) as contenders:
            for contender in contenders:
                await measure(contender.route, ONE, requests)  # what all have in common is known
            for count in sorted(counts):
                delay = max(SHORTEST, count / EVENTS_PER_SECOND)
                scenario = Scenario(name=f"paced-{count}", concurrency=count, requests=1, delay=delay)
                rows = []
                for contender in contenders:
                    row: Row = {"connections": float(count), "mode": contender.mode, "contender": contender.name}
                    rows.append(row | await _streams(contender, scenario, requests))
                take(rows)


async def _streams(contender: Contender, scenario: Scenario, requests: Requests) -> Row:
    times = max(1, STREAMS // scenario.concurrency)
    await settle(contender)
    watch, events, failed = Watch(contender), list[float](), 0
    for _ in range(times):
        sample = await measure(contender.route, scenario, requests)
        events += sample.events
        failed += sample.failed
    await settle(contender)
    row = watch.figures(2 * times * scenario.concurrency)  # each connection's first request, and its stream
    row |= {"event_median_ms": 1000 * statistics.median(events), "event_p99_ms": 1000 * percentile(events, 0.99)}
    return row | {"failed": float(failed)}


async def bodies(sizes: Sequence[int], take: Take) -> None:
    """Take points for bodies of so many bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=EVENTS, claudeproxy=True) as contenders:
            for size in sorted(sizes):
                requests = Requests(size)
                times = min(100, max(5, SENT_BYTES // size))
                rows = []
                for contender in contenders:
                    await measure(contender.route, ONE, requests)  # as above
                    row: Row = {"bytes": float(requests.size), "mode": contender.mode, "contender": contender.name}
                    rows.append(row | await _turns(contender, requests, times))
                take(rows)


async def _turns(contender: Contender, requests: Requests, times: int) -> Row:
    await settle(contender)
    watch, whole = Watch(contender), list[float]()
    for _ in range(times):
        sample = await measure(contender.route, ONE, requests)
        whole += sample.whole
    await settle(contender)
    row = watch.figures(2 * times)  # a connection's first request, and the one that is timed
    return row | {"whole_median_ms": 1000 * statistics.median(whole)}


def added(rows: Sequence[Row], x: str, figure: str) -> list[Row]:
    """Rows with what each contender adds to a direct connection, for the same `x` and mode: ``added_ms``."""
    direct = {(row[x], row["mode"]): row[figure] for row in rows if row["contender"] == "direct"}
    found = []
    for row in rows:
        ours, base = row[figure], direct.get((row[x], row["mode"]))
        if row["contender"] != "direct" and isinstance(ours, float) and isinstance(base, float):
            found.append({**row, "added_ms": ours - base})
    return found
