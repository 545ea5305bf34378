"""What claudeproxy adds, beside a direct connection and a bare Trio splice, in one run on one machine.

    uv run benchmarks/overhead.py [--quick] [--rounds N] [--json FILE] [--without-claudeproxy]

Modes: ``reverse`` (plain HTTP on both legs) and ``connect`` (CONNECT, TLS on both legs; direct is TLS to the upstream).
Scenarios, each at 1 and 100 concurrent connections, each request a body of 100 KB that was never sent before: ``json``
(one document back), ``burst`` (a stream of 100 events in one write) and ``paced`` (an event every so often).

Rounds are interleaved (each contender once a round, in turning order), the figures are medians over rounds, and the
ones to look at are ratios and differences to `direct` and `splice`: absolute times belong to the machine. `whole` is
the time of a request from its first byte to the answer's last, `event` that of a paced event from the upstream's send
to the client's receive. Load generator, upstream and each contender are separate processes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from contenders import MODES, cpu_seconds, recorded, running, settle
from load import Requests, Sample, Scenario, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

BODY_BYTES = 100_000
FULL = (
    Scenario(name="json-1", concurrency=1, requests=60),
    Scenario(name="burst-1", concurrency=1, requests=40),
    Scenario(name="paced-1", concurrency=1, requests=1, delay=0.02),
    Scenario(name="json-100", concurrency=100, requests=5),
    Scenario(name="burst-100", concurrency=100, requests=3),
    Scenario(name="paced-100", concurrency=100, requests=1, delay=0.1),
)
QUICK = (
    Scenario(name="json-1", concurrency=1, requests=10),
    Scenario(name="burst-1", concurrency=1, requests=10),
    Scenario(name="paced-1", concurrency=1, requests=1, delay=0.005),
    Scenario(name="json-100", concurrency=100, requests=1),
    Scenario(name="paced-20", concurrency=20, requests=1, delay=0.05),
)
Row = dict[str, "float | str | None"]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(mode: str, scenario: Scenario, name: str, samples: Sequence[Sample]) -> Row:
    """The figures of one contender in one scenario, in milliseconds: medians over rounds of each round's figure."""
    row: Row = {"mode": mode, "scenario": scenario.name, "contender": name}
    for label, of in (("whole", "whole"), ("first", "first"), ("event", "events")):
        rounds = [values for sample in samples if (values := getattr(sample, of))]
        if not rounds:
            continue
        row[f"{label}_median_ms"] = 1000 * statistics.median(statistics.median(values) for values in rounds)
        row[f"{label}_p95_ms"] = 1000 * statistics.median(percentile(values, 0.95) for values in rounds)
        row[f"{label}_p99_ms"] = 1000 * statistics.median(percentile(values, 0.99) for values in rounds)
    row["per_second"] = statistics.median(len(sample.whole) / sample.seconds for sample in samples)
    return row


def compare(rows: Sequence[Row]) -> None:
    """Add to each row how it stands to `direct` and to `splice` in the same mode and scenario."""
    found = {(row["mode"], row["scenario"], row["contender"]): row for row in rows}
    for row in rows:
        figure = "event" if "event_median_ms" in row else "whole"
        for peer in ("direct", "splice"):
            other = found.get((row["mode"], row["scenario"], peer))
            ours, theirs = row[f"{figure}_median_ms"], other and other[f"{figure}_median_ms"]
            if isinstance(ours, float) and isinstance(theirs, float) and other is not row:
                row[f"added_to_{peer}_ms"] = ours - theirs
                row[f"ratio_to_{peer}"] = ours / theirs


def table(rows: Sequence[Row]) -> str:
    """The rows for people; the figure is the event's delay where events are paced, else the whole request."""
    columns = ("median", "p95", "p99", "req/s", "+direct", "x direct", "x splice")
    lines = [f"{'mode':<9}{'scenario':<11}{'contender':<12}" + "".join(f"{name:>10}" for name in columns)]
    for row in rows:
        figure = "event" if "event_median_ms" in row else "whole"
        keys = [f"{figure}_median_ms", f"{figure}_p95_ms", f"{figure}_p99_ms", "per_second"]
        keys += ["added_to_direct_ms", "ratio_to_direct", "ratio_to_splice"]
        cells = "".join(f"{value:>10.2f}" if isinstance(value := row.get(key), float) else f"{'':>10}" for key in keys)
        lines.append(f"{row['mode']!s:<9}{row['scenario']!s:<11}{row['contender']!s:<12}{cells}")
    return "\n".join(lines)


async def run(scenarios: Sequence[Scenario], *, rounds: int, events: int, claudeproxy: bool) -> dict[str, object]:
    """Measure everything; returns what the JSON file holds."""
    requests = Requests(BODY_BYTES)
    rows: list[Row] = []
    work: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=events, claudeproxy=claudeproxy) as contenders:
            started = {id(c): cpu_seconds(c.pid) for c in contenders}
            done: dict[int, int] = defaultdict(int)
            for scenario in scenarios:
                for mode in MODES:
                    field = [c for c in contenders if c.mode == mode]
                    samples: dict[str, list[Sample]] = {c.name: [] for c in field}
                    for number in range(rounds):
                        for contender in field[number % len(field) :] + field[: number % len(field)]:
                            samples[contender.name].append(await measure(contender.route, scenario, requests))
                            await settle(contender)  # or its recorder would slow the next one down
                            done[id(contender)] += scenario.concurrency * (scenario.requests + 1)  # and the warm one
                    rows += [summary(mode, scenario, name, taken) for name, taken in samples.items()]
                    print(f"{scenario.name} {mode} done", flush=True)
            for contender in contenders:
                if contender.pid is not None:
                    used = await settle(contender) - started[id(contender)]
                    exchanges = done[id(contender)]
                    row: Row = {"mode": contender.mode, "contender": contender.name, "exchanges": float(exchanges)}
                    work.append(row | {"cpu_ms_per_exchange": 1000 * used / exchanges, "recorded": recorded(contender)})
    compare(rows)
    machine = {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.system()}
    return {
        "machine": machine,
        "rounds": rounds,
        "body_bytes": requests.size,
        "events": events,
        "rows": rows,
        "cpu": work,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: few requests, one round, figures mean little"
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--without-claudeproxy", action="store_true", help="direct and splice only")
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 5)
    scenarios = QUICK if args.quick else FULL
    result = trio.run(lambda: run(scenarios, rounds=rounds, events=100, claudeproxy=not args.without_claudeproxy))
    rows, work = result["rows"], result["cpu"]
    assert isinstance(rows, list)
    assert isinstance(work, list)
    print(f"\nmilliseconds; medians of {rounds} rounds; `paced` rows: delay of an event\n{table(rows)}\n")
    for row in work:
        kept = "" if row["recorded"] is None else f", {row['recorded']} of {row['exchanges']:.0f} recorded"
        print(f"{row['mode']:<9}{row['contender']:<12}{row['cpu_ms_per_exchange']:8.2f} ms of CPU an exchange{kept}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
