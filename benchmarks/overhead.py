"""What claudeproxy adds, beside a direct connection, a bare Trio splice and other proxies, in one run on one machine.

    uv run benchmarks/overhead.py [--quick] [--rounds N] [--json FILE] [--without-claudeproxy]
                                  [--against mitmproxy --against claude-tap --against litellm]

Modes: ``reverse`` (plain HTTP on both legs) and ``connect`` (CONNECT, TLS on both legs; direct is TLS to the upstream).
Scenarios, each at 1 and 100 concurrent connections, each request a body of 100 KB that was never sent before: ``json``
(one document back), ``burst`` (a stream of 100 events in one write) and ``paced`` (an event every so often).

Rounds are interleaved (each contender once a round, in turning order), the figures are medians over rounds, and the
ones to look at are ratios and differences to `direct` and `splice`: absolute times belong to the machine. `whole` is
the time of a request from its first byte to the answer's last, `event` that of a paced event from the upstream's send
to the client's receive. CPU is that of all processes of a contender in that scenario, its recorder's included, until it
rests. Load generator, upstream and each contender are separate processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from contenders import MODES, recorded, running
from load import Requests, Sample, Scenario, measure
from processes import Contender, cpu_seconds, machine, settle
from rivals import PACKAGES

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


def summary(scenario: Scenario, contender: Contender, samples: Sequence[Sample], cpu: float) -> Row:
    """The figures of one contender in one scenario, in milliseconds: medians over rounds of each round's figure."""
    row: Row = {"mode": contender.mode, "scenario": scenario.name, "contender": contender.name}
    for label, of in (("whole", "whole"), ("first", "first"), ("event", "events")):
        rounds = [values for sample in samples if (values := getattr(sample, of))]
        if not rounds:
            continue
        row[f"{label}_median_ms"] = 1000 * statistics.median(statistics.median(values) for values in rounds)
        row[f"{label}_p95_ms"] = 1000 * statistics.median(percentile(values, 0.95) for values in rounds)
        row[f"{label}_p99_ms"] = 1000 * statistics.median(percentile(values, 0.99) for values in rounds)
    row["per_second"] = statistics.median(len(sample.whole) / sample.seconds for sample in samples)
    if failed := sum(sample.failed for sample in samples):
        row["failed"] = float(failed)
    if contender.pid is not None:
        exchanges = len(samples) * scenario.concurrency * (scenario.requests + 1)  # and the warm one
        row |= {"exchanges": float(exchanges), "cpu_ms": 1000 * cpu / exchanges}
    return row


def compare(rows: Sequence[Row]) -> None:
    """Add to each row how it stands to the others of the same mode and scenario.

    `ratio_to_X` is its figure as a multiple of X's; `added_share_of_X` what it adds to a direct connection, as a share
    of what X adds; `work_to_X` how many exchanges it does with the CPU time in which X does one.
    """
    for row in rows:
        others = {
            str(one["contender"]): one
            for one in rows
            if (one["mode"], one["scenario"]) == (row["mode"], row["scenario"]) and one is not row
        }
        ours, direct = _figure(row), _figure(others["direct"]) if "direct" in others else None
        for name, other in others.items():
            theirs = _figure(other)
            row[f"ratio_to_{name}"] = ours / theirs
            if direct is not None and name == "direct":
                row["added_ms"] = ours - direct
            elif direct is not None and theirs > direct:
                row[f"added_share_of_{name}"] = (ours - direct) / (theirs - direct)
            used, mine = other.get("cpu_ms"), row.get("cpu_ms")
            if isinstance(used, float) and isinstance(mine, float) and mine:
                row[f"work_to_{name}"] = used / mine


def _figure(row: Row) -> float:
    """What counts in a row, in milliseconds: the delay of an event where events are paced, else the whole request."""
    value = row.get("event_median_ms", row["whole_median_ms"])
    assert isinstance(value, float)
    return value


def table(rows: Sequence[Row]) -> str:
    """The rows for people; the figure is the event's delay where events are paced, else the whole request."""
    columns = ("median", "p95", "p99", "req/s", "+direct", "x direct", "x splice", "CPU ms")
    lines = [f"{'mode':<9}{'scenario':<11}{'contender':<12}" + "".join(f"{name:>10}" for name in columns)]
    for row in rows:
        figure = "event" if "event_median_ms" in row else "whole"
        keys = [f"{figure}_median_ms", f"{figure}_p95_ms", f"{figure}_p99_ms", "per_second"]
        keys += ["added_ms", "ratio_to_direct", "ratio_to_splice", "cpu_ms"]
        cells = "".join(f"{value:>10.2f}" if isinstance(value := row.get(key), float) else f"{'':>10}" for key in keys)
        failed = f"  {row['failed']:.0f} failed" if "failed" in row else ""
        lines.append(f"{row['mode']!s:<9}{row['scenario']!s:<11}{row['contender']!s:<12}{cells}{failed}")
    return "\n".join(lines)


def standing(rows: Sequence[Row], rivals: Sequence[str]) -> str:
    """How claudeproxy stands to each rival: the share of their latency that it adds, its work for the same CPU."""
    lines = [f"{'mode':<9}{'scenario':<11}{'rival':<12}{'added, share of theirs':>24}{'exchanges a CPU second':>24}"]
    for row in rows:
        for name in rivals if row["contender"] == "claudeproxy" else ():
            added, work = row.get(f"added_share_of_{name}"), row.get(f"work_to_{name}")
            if isinstance(added, float) and isinstance(work, float):
                lines.append(f"{row['mode']!s:<9}{row['scenario']!s:<11}{name:<12}{added:>24.2f}{work:>23.2f}x")
    return "\n".join(lines)


async def run(
    scenarios: Sequence[Scenario], *, rounds: int, events: int, claudeproxy: bool, rivals: Sequence[str]
) -> dict[str, object]:
    """Measure everything; returns what the JSON file holds."""
    requests = Requests(BODY_BYTES)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=events, claudeproxy=claudeproxy, rivals=rivals) as contenders:
            for scenario in scenarios:
                for mode in MODES:
                    field = [c for c in contenders if c.mode == mode]
                    rows += await _interleaved(field, scenario, requests, rounds)
                    print(f"{scenario.name} {mode} done", flush=True)
            kept = {f"{c.name} {c.mode}": recorded(c) for c in contenders if c.api is not None}
    compare(rows)
    return {
        "machine": machine(),
        "rounds": rounds,
        "body_bytes": requests.size,
        "events": events,
        "versions": {name: PACKAGES[name] for name in rivals},
        "rows": rows,
        "recorded": kept,
    }


async def _interleaved(field: Sequence[Contender], scenario: Scenario, requests: Requests, rounds: int) -> list[Row]:
    """Every contender once a round, in turning order; each rests before the next one begins."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in field}
    cpu: dict[str, float] = defaultdict(float)
    for number in range(rounds):
        for contender in (*field[number % len(field) :], *field[: number % len(field)]):
            before = cpu_seconds(contender.pid)
            samples[contender.name].append(await measure(contender.route, scenario, requests))
            cpu[contender.name] += await settle(contender) - before
    return [summary(scenario, contender, samples[contender.name], cpu[contender.name]) for contender in field]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: few requests, one round, figures mean little"
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--without-claudeproxy", action="store_true", help="direct and splice only")
    parser.add_argument(
        "--against", action="append", choices=list(PACKAGES), default=[], help="another proxy, by its name on PyPI"
    )
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 5)
    scenarios, with_us = QUICK if args.quick else FULL, not args.without_claudeproxy
    result = trio.run(
        lambda: run(scenarios, rounds=rounds, events=100, claudeproxy=with_us, rivals=tuple(args.against))
    )
    rows = result["rows"]
    assert isinstance(rows, list)
    print(f"\nmilliseconds; medians of {rounds} rounds; `paced` rows: delay of an event\n{table(rows)}\n")
    if args.against:
        print(f"claudeproxy beside its rivals\n{standing(rows, args.against)}\n")
    print(f"recorded: {result['recorded']}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
