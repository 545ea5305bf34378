"""What several workers cost and bring, beside one, in one run on one machine.

    uv run benchmarks/workers.py [--workers N] [--rounds N] [--body BYTES] [--json FILE]

Two services, `claudeproxy serve` with one worker and with N (2), take the same load in interleaved rounds, in turning
order; each is idle again, its recorder too, before the other one begins. The load is 2, 20 and 100 keep-alive
connections at a time, opened for the round, each request a body that was never sent before; and `each-20`, 20 clients
that open a connection for every request. Looked at are

- CPU an exchange, of all processes that relay, and of the recorder, which does the same for both: the lowest of all
  rounds, for what else the machine does adds to it and never takes from it;
- how the load falls to the workers: exchanges and CPU of the one that got most, as a share, the largest of any round;
- exchanges a second (`x one`: the median of the rounds' ratios), which mean something only where load generator,
  upstream, recorder and N relays have cores each.

CPU is what the scheduler counted, in nanoseconds (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from contenders import PEERS
from load import Requests, Route, Sample, Scenario, exchange, measure
from processes import Contender, free_port, machine, settle, start, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

SCENARIOS = (
    Scenario(name="json-2", concurrency=2, requests=50),
    Scenario(name="json-20", concurrency=20, requests=6),
    Scenario(name="json-100", concurrency=100, requests=2),
    Scenario(name="each-20", concurrency=20, requests=6),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A `claudeproxy serve` and its processes. `workers` are those that accept: itself where there is one."""

    contender: Contender
    workers: Sequence[int]
    recorder: int

    @property
    def relays(self) -> set[int]:
        """Everything but the recorder."""
        assert self.contender.pid is not None
        return {self.contender.pid, *self.workers}

    def health(self) -> dict[str, Any]:
        """What it says of itself."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.contender.api}/api/claude/health", timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def exchanges(self) -> dict[int, int]:
        """Of each worker so far."""
        health = self.health()
        found = {one["pid"]: one["exchanges_total"] for one in health.get("workers", [])}
        return found or {self.workers[0]: health["proxy"]["exchanges_total"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one service gave in one round of one scenario."""

    relay_ms: float  # CPU an exchange
    recorder_ms: float
    per_second: float
    median_ms: float  # of a request
    most_exchanges: float  # share of the worker that got most
    most_cpu: float


def on_cpu(pid: int) -> int:
    """Nanoseconds that a process's threads have run."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat"))


def started_by(pid: int, module: bytes) -> list[int]:
    """The processes that this one started to run this module."""
    return [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/cmdline")
        if module in entry.read_bytes()
        and int((entry.parent / "stat").read_text().rpartition(")")[2].split()[1]) == pid
    ]


async def reconnecting(route: Route, scenario: Scenario, requests: Requests) -> Sample:
    """As `measure`, with a connection for each request."""
    sample = Sample()

    async def client() -> None:
        for _ in range(scenario.requests):
            stream = await route.open()
            await exchange(stream, requests.make("/v1/messages?kind=json", route.host), sample)
            await stream.aclose()

    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(scenario.concurrency):
            nursery.start_soon(client)
    sample.seconds = time.perf_counter() - began
    return sample


async def one_round(service: Service, scenario: Scenario, requests: Requests) -> Round:
    """Put the load on a service that is idle, and wait until it is so again."""
    await settle(service.contender)
    exchanges = service.exchanges()
    cpu, recorder = {pid: on_cpu(pid) for pid in service.relays}, on_cpu(service.recorder)
    load = reconnecting if scenario.name.startswith("each") else measure
    sample = await load(service.contender.route, scenario, requests)
    cpu = {pid: on_cpu(pid) - before for pid, before in cpu.items()}
    await settle(service.contender)
    recorder = on_cpu(service.recorder) - recorder
    taken = {pid: count - exchanges[pid] for pid, count in service.exchanges().items()}
    done = sum(taken.values())
    of_workers = [cpu[pid] for pid in service.workers]
    return Round(
        relay_ms=sum(cpu.values()) / done / 1e6,
        recorder_ms=recorder / done / 1e6,
        per_second=len(sample.whole) / sample.seconds,
        median_ms=1000 * statistics.median(sample.whole),
        most_exchanges=max(taken.values()) / done,
        most_cpu=max(of_workers) / sum(of_workers),
    )


def summary(rounds: Sequence[Round], beside: Sequence[Round]) -> dict[str, float]:
    """CPU at its lowest, rates and times in the median, shares at their largest; beside what the one worker did."""
    rates = [one.per_second / other.per_second for one, other in zip(rounds, beside, strict=True)]
    relay = min(one.relay_ms for one in rounds)
    return {
        "relay_ms": relay,
        "relay_ratio": relay / min(one.relay_ms for one in beside),
        "recorder_ms": min(one.recorder_ms for one in rounds),
        "per_second": statistics.median(one.per_second for one in rounds),
        "rate_ratio": statistics.median(rates),
        "median_ms": statistics.median(one.median_ms for one in rounds),
        "most_exchanges": max(one.most_exchanges for one in rounds),
        "most_cpu": max(one.most_cpu for one in rounds),
    }


async def serve(nursery: trio.Nursery, scratch: Path, upstream: int, workers: int) -> Service:
    """Start `claudeproxy serve` as a user would, with a home of its own."""
    port, api = free_port(), free_port()
    command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(scratch / f"home-{workers}")]
    command += ["--bind", f"127.0.0.1:{port}", "--api", f"127.0.0.1:{api}", "--workers", str(workers)]
    command += ["--upstream", f"http://127.0.0.1:{upstream}"]
    log = scratch / f"log-{workers}"
    with log.open("wb") as stderr:
        process, _ = await start(nursery, *command, wants_port=False, stderr=stderr)
    await wait_for(api, seconds=60, log=log, name=f"claudeproxy with {workers} workers")
    contender = Contender(name=str(workers), mode="reverse", route=Route(port=port), pid=process.pid, api=api)
    await settle(contender)  # the spare worker is loaded by then
    (recorder,) = started_by(process.pid, b"claudeproxy.recording")
    service = Service(contender=contender, workers=[process.pid], recorder=recorder)
    return replace(service, workers=[one["pid"] for one in service.health().get("workers", [])] or [process.pid])


async def run(*, workers: int, rounds: int, body_bytes: int) -> dict[str, object]:
    """Measure; what the JSON file holds."""
    requests = Requests(body_bytes)
    found: dict[str, dict[int, list[Round]]] = {one.name: {1: [], workers: []} for one in SCENARIOS}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        async with trio.open_nursery() as nursery:
            _, port = await start(nursery, sys.executable, str(PEERS), "upstream", "--events=100", wants_port=True)
            services = {count: await serve(nursery, Path(scratch), port, count) for count in (1, workers)}
            for number in range(rounds):
                for scenario in SCENARIOS:
                    for count in (1, workers) if number % 2 == 0 else (workers, 1):
                        found[scenario.name][count].append(await one_round(services[count], scenario, requests))
            nursery.cancel_scope.cancel()
    rows = {name: {str(count): summary(of[count], of[1]) for count in (1, workers)} for name, of in found.items()}
    return {"machine": machine(), "rounds": rounds, "body_bytes": requests.size, "workers": workers, "rows": rows}


def table(rows: dict[str, dict[str, dict[str, float]]]) -> str:
    """The rows for people."""
    columns = {
        "relay CPU ms": "relay_ms",
        "x one": "relay_ratio",
        "recorder ms": "recorder_ms",
        "req/s": "per_second",
        "x one ": "rate_ratio",
        "median ms": "median_ms",
        "most exch.": "most_exchanges",
        "most CPU": "most_cpu",
    }
    lines = [f"{'scenario':<10}{'workers':>8}" + "".join(f"{name:>14}" for name in columns)]
    for scenario, of in rows.items():
        for count, row in of.items():
            cells = (
                f"{row[key]:>14.0%}" if key.startswith("most") else f"{row[key]:>14.2f}" for key in columns.values()
            )
            lines.append(f"{scenario:<10}{count:>8}" + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="how many stand against one (2)")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    parser.add_argument("--body", type=int, default=10_000, help="bytes of a request, about (10,000)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    result = trio.run(lambda: run(workers=args.workers, rounds=args.rounds, body_bytes=args.body))
    rows = result["rows"]
    assert isinstance(rows, dict)
    print(f"{args.rounds} rounds; milliseconds of CPU at their lowest, shares at their largest\n{table(rows)}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
