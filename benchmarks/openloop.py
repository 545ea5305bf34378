"""How long requests take at half of what another proxy can carry: through it, and through claudeproxy.

    uv run benchmarks/openloop.py [--against mitmproxy --against claude-tap --against litellm] [--quick]
                                  [--rounds N] [--seconds S] [--json FILE]

For every rival, mode and kind of answer (``json``, and ``burst``: a stream of 100 events in one write): first its
maximum, the most requests a second of some rounds with 100 concurrent connections that each wait for their answers;
then half of that rate, as requests come from many people: at random instants (Poisson), whatever became of those
before. Both proxies get the same instants, in turns, interleaved, each at rest before the other begins. A request's
time counts from the instant at which it was to be sent, so none is left out because its forerunner was slow.

A figure is the median over rounds of each round's percentile; `p99_ratio` is claudeproxy's 99th percentile as a share
of the rival's, where 0.3 is aimed at. Bodies, upstream and ways into the proxies are those of `overhead.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from contenders import MODES, recorded, running
from load import Requests, Sample, Scenario, drive, measure
from overhead import BODY_BYTES, Row, percentile
from processes import cpu_seconds, machine, settle
from rivals import PACKAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processes import Contender

CLOSED = (
    Scenario(name="json-100", concurrency=100, requests=5),
    Scenario(name="burst-100", concurrency=100, requests=3),
)
CLOSED_QUICK = (Scenario(name="json-20", concurrency=20, requests=3),)
POOL = 20  # connections that lie open when it begins
FEWEST = 300  # requests of a drive, which lasts longer where a rival is slow: of fewer there is no 99th percentile
TARGET = 0.3
SHARES = (0.5, 0.95, 0.99)


async def maximum(contender: Contender, scenario: Scenario, requests: Requests, rounds: int) -> float:
    """The most requests a second that a contender answered in any round."""
    best = 0.0
    for _ in range(rounds):
        sample = await measure(contender.route, scenario, requests)
        best = max(best, len(sample.whole) / sample.seconds)
        await settle(contender)
    return best


async def beside(
    pair: tuple[Contender, Contender],
    scenario: Scenario,
    requests: Requests,
    *,
    rounds: int,
    seconds: float,
    fewest: int,
) -> list[Row]:
    """Drive a rival and claudeproxy at half of the rival's maximum; a row for each."""
    most = await maximum(pair[0], scenario, requests, rounds)
    seconds = max(seconds, fewest / (most / 2))
    samples: dict[str, list[Sample]] = {one.name: [] for one in pair}
    cpu = dict.fromkeys(samples, 0.0)
    for number in range(rounds):
        for one in pair if number % 2 else pair[::-1]:
            before, sample = cpu_seconds(one.pid), Sample()
            await drive(one.route, scenario.target(0), requests, sample, rate=most / 2, seconds=seconds, pool=POOL)
            samples[one.name].append(sample)
            cpu[one.name] += await settle(one) - before
    rows = []
    for one in pair:
        row: Row = {"mode": one.mode, "kind": scenario.name.split("-")[0], "rival": pair[0].name, "contender": one.name}
        row |= {"maximum_per_second": most, "rate": most / 2, **figures(samples[one.name])}
        row["cpu_ms"] = 1000 * cpu[one.name] / sum(sample.sent + POOL for sample in samples[one.name])
        rows.append(row)
    theirs, ours = (row.get("p99_ms") for row in rows)
    if isinstance(ours, float) and isinstance(theirs, float):
        rows[1]["p99_ratio"] = ours / theirs
    return rows


def figures(samples: Sequence[Sample]) -> Row:
    """Medians over rounds of each round's percentiles, in milliseconds; how many requests were sent and lost."""
    row: Row = {"sent": float(sum(sample.sent for sample in samples))}
    row["failed"] = float(sum(sample.failed for sample in samples))
    if all(sample.whole for sample in samples):
        for share in SHARES:
            values = [percentile(sample.whole, share) for sample in samples]
            row[f"p{share * 100:g}_ms"] = 1000 * statistics.median(values)
        row["most_ms"] = 1000 * max(max(sample.whole) for sample in samples)
    return row


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    keys = ("maximum_per_second", "rate", "p50_ms", "p95_ms", "p99_ms", "most_ms", "cpu_ms", "sent", "failed")
    names = ("mode", "kind", "rival", "contender")
    head = "".join(f"{name:<12}" for name in names) + "".join(f"{key[:9]:>10}" for key in keys) + " p99 ratio"
    lines = [head]
    for row in rows:
        cells = [f"{row[name]!s:<12}" for name in names]
        cells += [f"{value:>10.1f}" if isinstance(value := row.get(key), float) else f"{'':>10}" for key in keys]
        ratio = row.get("p99_ratio")
        lines.append("".join(cells) + (f"{ratio:>10.2f}" if isinstance(ratio, float) else ""))
    return "\n".join(lines)


async def run(
    scenarios: Sequence[Scenario], *, rivals: Sequence[str], rounds: int, seconds: float, fewest: int
) -> dict[str, object]:
    """Measure everything; returns what the JSON file holds. Without rivals: the bare splice in their place."""
    requests, rows = Requests(BODY_BYTES), list[Row]()
    with tempfile.TemporaryDirectory() as scratch:
        async with running(Path(scratch), events=100, claudeproxy=True, rivals=rivals) as contenders:
            for name in rivals or ("splice",):
                for mode in MODES:
                    field = {one.name: one for one in contenders if one.mode == mode}
                    for scenario in scenarios if name in field else ():
                        pair = field[name], field["claudeproxy"]
                        rows += await beside(pair, scenario, requests, rounds=rounds, seconds=seconds, fewest=fewest)
                        print(table(rows[-2:]), flush=True)
            kept = {f"{one.name} {one.mode}": recorded(one) for one in contenders if one.api is not None}
    versions = {name: PACKAGES[name] for name in rivals}
    settings = {"rounds": rounds, "seconds": seconds, "body_bytes": requests.size, "target": TARGET}
    return {"machine": machine(), **settings, "versions": versions, "rows": rows, "recorded": kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run beside the bare splice; its figures mean little"
    )
    parser.add_argument("--rounds", type=int, help="interleaved rounds (5; 1 with --quick)")
    parser.add_argument("--seconds", type=float, help="of each drive at least (15; 2 with --quick)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument(
        "--against", action="append", choices=list(PACKAGES), help="another proxy, by its name on PyPI (all)"
    )
    args = parser.parse_args()
    rounds = args.rounds or (1 if args.quick else 5)
    seconds = args.seconds or (2.0 if args.quick else 15.0)
    rivals = tuple(args.against or (() if args.quick else PACKAGES))
    scenarios, fewest = (CLOSED_QUICK, 1) if args.quick else (CLOSED, FEWEST)
    result = trio.run(lambda: run(scenarios, rivals=rivals, rounds=rounds, seconds=seconds, fewest=fewest))
    rows = result["rows"]
    assert isinstance(rows, list)
    print(f"\nmilliseconds from the instant a request was due; at most {TARGET} is aimed at\n{table(rows)}")
    print(f"recorded: {result['recorded']}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
