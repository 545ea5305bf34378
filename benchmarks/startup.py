"""How long until a command has answered, and until the proxy takes a connection, beside an empty Python program.

    uv run benchmarks/startup.py [--rounds N] [--json FILE]

Each round runs everything once, in turning order: ``python -c pass``, ``claudeproxy --help``, ``claudeproxy query`` on
a database of `PAIRS` captures, ``claudeproxy serve`` in a home that was used before (until its proxy port accepts, and
its API's) and in a new one, where it makes its certificate authority and database. Printed: medians on the clock,
what they are above the empty program of the same round, and the CPU of the process itself until then. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import fill
from processes import free_port, machine
from sampling import usage

from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = 400  # captures that `query` lists the last of
LOOK = 0.002  # seconds between two knocks at a port
PATIENCE = 60.0
NOTHING = "python -c pass"
TARGETS = {"claudeproxy --help": 0.1, "claudeproxy query": 0.3, "serve: proxy port": 0.7}  # seconds above NOTHING
PROGRAM = str(Path(sys.executable).with_name("claudeproxy"))

Times = dict[str, tuple[float, float]]  # by name: seconds on the clock, of the processor


def run(name: str, *command: str) -> Times:
    """Run a command to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return {name: (seconds, used.ru_utime + used.ru_stime)}


def serve(name: str, home: Path) -> Times:
    """Start a proxy, knock at its ports until they answer, and end it."""
    proxy, api = free_port(), free_port()
    command = [PROGRAM, "serve", "--home", str(home), "--bind", f"127.0.0.1:{proxy}", "--api", f"127.0.0.1:{api}"]
    found: Times = {}
    with (home / "log").open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for what, port in (("proxy", proxy), ("API", api)):
            _knock(port, process, home / "log")
            found[f"{name}: {what} port"] = (time.perf_counter() - began, _used(process.pid))
    finally:
        process.terminate()
        process.wait()
    return found


def _knock(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(LOOK)
    raise RuntimeError(f"claudeproxy serve did not come up:\n{log.read_text()[-3000:]}")


def _used(pid: int) -> float:
    found = usage(pid)
    return found.cpu if found else 0.0


def contenders(scratch: Path) -> list[Callable[[], Times]]:
    """What a round runs."""
    used = scratch / "used"
    used.mkdir()
    with CaptureStorage(used / "captures.db") as storage:
        fill(storage, PAIRS)
    serve("", used)  # makes the certificate authority

    def first() -> Times:
        new = scratch / "new"
        new.mkdir()
        try:
            return serve("serve, first start", new)
        finally:
            shutil.rmtree(new)

    return [
        lambda: run(NOTHING, sys.executable, "-c", "pass"),
        lambda: run("claudeproxy --help", PROGRAM, "--help"),
        lambda: run("claudeproxy query", PROGRAM, "query", "--home", str(used)),
        lambda: serve("serve", used),
        first,
    ]


def main(rounds: int) -> dict[str, object]:
    """Measure, print and return the figures."""
    clock: dict[str, list[float]] = defaultdict(list)
    above: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as directory:
        works = contenders(Path(directory))
        for number in range(rounds):
            found: Times = {}
            for place in range(len(works)):
                found |= works[(number + place) % len(works)]()
            for name, (seconds, used) in found.items():
                clock[name].append(seconds)
                above[name].append(seconds - found[NOTHING][0])
                cpu[name].append(used)
    rows = {
        name: {
            "seconds": round(statistics.median(clock[name]), 3),
            "above": round(statistics.median(above[name]), 3),
            "above_least": round(min(above[name]), 3),
            "cpu": round(statistics.median(cpu[name]), 3),
            "target": TARGETS.get(name),
        }
        for name in sorted(clock, key=lambda name: statistics.median(clock[name]))
    }
    print(f"{'':32}{'seconds':>9}{'above':>9}{'least':>9}{'target':>9}{'CPU':>9}")
    for name, row in rows.items():
        target = "" if row["target"] is None else f"{row['target']:.1f}"
        print(f"{name:32}{row['seconds']:9.3f}{row['above']:9.3f}{row['above_least']:9.3f}{target:>9}{row['cpu']:9.2f}")
    return {"machine": machine(), "rounds": rounds, "load": os.getloadavg()[0], "rows": rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    outcome = main(arguments.rounds)
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome, indent=1) + "\n")
