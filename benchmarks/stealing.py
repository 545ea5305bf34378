"""Whether large requests delay the events of streams that run beside them.

    uv run benchmarks/stealing.py [--quick] [--rounds N] [--json FILE] [--against mitmproxy --against claude-tap ...]

Fifty streams at once, each with an event every tenth of a second; then the same while requests of 1 MB arrive, five a
second on average at random instants. One event loop serves both, so whatever it does for a large request in one piece
(and whatever holds the interpreter's lock beside it) every event waits for. Rounds are interleaved over contenders:
`direct` says what load generator and upstream themselves make of it, `splice` what a bare Trio program does.

Figures are medians over rounds of each round's percentile of an event's delay, in milliseconds. `added_p99_ms` is the
99th percentile above that of a direct connection under the same load: under 10 is aimed at. CPU is that of all
processes of a contender, until they rest.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from contenders import MODES, running
from load import Requests, Sample, Scenario, drive, measure
from overhead import BODY_BYTES, Row, percentile
from processes import cpu_seconds, machine, settle
from rivals import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processes import Contender

STREAMS = Scenario(name="paced-50", concurrency=50, requests=1, delay=0.1)
QUICK = Scenario(name="paced-10", concurrency=10, requests=1, delay=0.02)
LARGE_BYTES = 1_000_000
LARGE_RATE = 5.0  # a second
LARGE = "/v1/messages?beta=true&kind=json"
EVENTS = 100  # of a stream
TARGET = 10.0  # ms
SHARES = (0.5, 0.95, 0.99, 0.999)


async def beside(contender: Contender, streams: Scenario, small: Requests, large: Requests) -> tuple[Sample, Sample]:
    """Run the streams with large requests beside them; what the streams and what the large requests gave."""
    bulk = Sample()
    endless = partial(drive, rate=LARGE_RATE, seconds=math.inf, pool=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(endless, contender.route, LARGE, large, bulk)
        sample = await measure(contender.route, streams, small)
        nursery.cancel_scope.cancel()
    return sample, bulk


def row(contender: Contender, load: str, samples: Sequence[Sample], bulk: Sequence[Sample], cpu: float) -> Row:
    """The figures of one contender under one load."""
    found: Row = {"mode": contender.mode, "load": load, "contender": contender.name}
    for share in SHARES:
        values = [percentile(sample.events, share) for sample in samples]
        found[f"p{share * 100:g}_ms"] = 1000 * statistics.median(values)
    found["most_ms"] = 1000 * max(max(sample.events) for sample in samples)
    found["events"] = float(sum(len(sample.events) for sample in samples))
    found["large"] = float(sum(len(sample.whole) for sample in bulk))
    if contender.pid is not None:
        found["cpu_seconds"] = cpu / len(samples)
    return found


def compare(rows: Sequence[Row]) -> None:
    """Add what each contender adds to a direct connection under the same load."""
    direct = {(one["mode"], one["load"]): one for one in rows if one["contender"] == "direct"}
    for one in rows:
        if one["contender"] == "direct":
            continue
        for share in (0.5, 0.99):
            key = f"p{share * 100:g}_ms"
            ours, theirs = one[key], direct[one["mode"], one["load"]][key]
            assert isinstance(ours, float)
            assert isinstance(theirs, float)
            one[f"added_{key}"] = ours - theirs


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    keys = ("p50_ms", "p95_ms", "p99_ms", "p99.9_ms", "most_ms", "added_p50_ms", "added_p99_ms", "cpu_seconds", "large")
    lines = [f"{'mode':<9}{'load':<14}{'contender':<12}" + "".join(f"{key:>13}" for key in keys)]
    for one in rows:
        cells = [f"{value:>13.2f}" if isinstance(value := one.get(key), float) else f"{'':>13}" for key in keys]
        lines.append(f"{one['mode']!s:<9}{one['load']!s:<14}{one['contender']!s:<12}" + "".join(cells))
    return "\n".join(lines)


async def interleaved(field: Sequence[Contender], streams: Scenario, rounds: int) -> list[Row]:
    """Every contender once a round under either load, in turning order; each rests before the next one begins."""
    small, large = Requests(BODY_BYTES), Requests(LARGE_BYTES)
    rows = []
    for load in ("streams alone", "1 MB beside"):
        samples: dict[str, list[Sample]] = {one.name: [] for one in field}
        bulk: dict[str, list[Sample]] = {one.name: [] for one in field}
        cpu = dict.fromkeys(samples, 0.0)
        for number in range(rounds):
            for one in (*field[number % len(field) :], *field[: number % len(field)]):
                before = cpu_seconds(one.pid)
                if load == "streams alone":
                    samples[one.name].append(await measure(one.route, streams, small))
                else:
                    stream, others = await beside(one, streams, small, large)
                    samples[one.name].append(stream)
                    bulk[one.name].append(others)
                cpu[one.name] += await settle(one) - before
        rows += [row(one, load, samples[one.name], bulk[one.name], cpu[one.name]) for one in field]
    return rows


async def run(streams: Scenario, *, rounds: int, rivals: Sequence[str]) -> list[Row]:
    """Measure everything."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=EVENTS, claudeproxy=True, rivals=rivals) as contenders:
            for mode in MODES:
                rows += await interleaved([one for one in contenders if one.mode == mode], streams, rounds)
    compare(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smoke run: ten streams, one round")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--against", action="append", choices=list(PACKAGES), default=[], help="another proxy, by its name on PyPI"
    )
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 5)
    streams = QUICK if args.quick else STREAMS
    rows = trio.run(lambda: run(streams, rounds=rounds, rivals=tuple(args.against)))
    print(f"delay of an event, ms; less than {TARGET:g} in added_p99_ms is aimed at\n{table(rows)}")
    if args.json:
        versions = {name: PACKAGES[name] for name in args.against}
        settings = {"rounds": rounds, "streams": streams.concurrency, "events": EVENTS, "delay": streams.delay}
        whole = {"machine": machine(), **settings, "large_bytes": LARGE_BYTES, "large_per_second": LARGE_RATE}
        args.json.write_text(json.dumps({**whole, "versions": versions, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
