"""Hours of mixed faults: is anything lost, does anything grow?

    uv run benchmarks/soak.py --hours 24 [--rate 3] [--figure benchmarks/figures/soak]

One `claudeproxy serve` between clients and an upstream that both misbehave (`soak_traffic.KINDS`): half of the clients
come by CONNECT, half to the base URL; every body is unlike all others. Beside them REST readers and a live stream read,
captures of more than `KEPT` seconds are deleted, and the recorder is killed (SIGKILL) at `KILLS`, which leaves it a
long life between to show whether it grows. Every exchange that reached the upstream must be recorded once, in the state
that its fault has, with the bytes that both ends saw (`soak_check`). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import ssl
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import trio
import trustme
from load import HOST, Route
from processes import serving
from sampling import children, usage
from soak_check import Checker
from soak_peers import Client, Sightings
from soak_report import Row, picture, result, written
from soak_upstream import Upstream

from claudeproxy.errors import StorageError
from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from collections.abc import Sequence

CLIENTS = 24
KILLS = (0.01, 0.02, 0.04, 0.06, 0.08, 0.97, 0.98)  # of the run, when the recorder is killed
KEPT = 900.0  # seconds, a quarter of a short run; older captures are deleted
CHECK_EVERY, READ_EVERY = 60.0, 2.0
PATHS = ("requests?limit=20", "requests?q=soak&limit=5", "metrics/summary", "metrics/sources?order=asc", "health")


class Soak:
    """One run. `samples` are rows for the figure; what it finds is in `checker`."""

    def __init__(self, home: Path, process: trio.Process, *, seconds: float, rate: float) -> None:
        state = json.loads((home / "serve.json").read_text())
        self.home, self.process, self.seconds, self.rate = home, process, seconds, rate
        self.port, self.api = int(state["proxy"][1]), f"http://127.0.0.1:{state['api'][1]}/api/claude/"
        self.sightings: Sightings = {}
        self.checker = Checker(home / "captures.db", self.sightings)
        self.samples: list[Row] = []
        self.kept = min(KEPT, seconds / 4)
        self.began, self.started = time.time_ns(), trio.current_time()
        self.sent = self.held_back = self.kills = self.reads = self.failed_reads = self.live_events = self.deleted = 0

    async def run(self) -> None:
        """Send, read, kill, sample and check until the time is over, then until all is recorded."""
        async with trio.open_nursery() as nursery:
            for task in (self._sample, self._read, self._live, self._kill, self._check, self._delete):
                nursery.start_soon(task)
            await self._send()
            nursery.cancel_scope.cancel()
        with trio.move_on_after(120):
            while any(sighting.reached for sighting in self.sightings.values()):
                await trio.sleep(2)
                await self._look()

    async def _send(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.home / "ca.crt"))
        routes = (
            (Route(port=self.port), f"127.0.0.1:{self.port}"),
            (Route(port=self.port, trust=trust, connect=f"{HOST}:443"), HOST),
        )
        send, receive = trio.open_memory_channel[int](0)

        async def work(client: Client) -> None:
            async for number in receive.clone():
                await client.exchange(number)
                if random.random() < 0.05:
                    await client.close()

        async with trio.open_nursery() as nursery:
            for number in range(CLIENTS):
                route, host = routes[number % 2]
                nursery.start_soon(work, Client(route, host, self.sightings))
            while self._now < self.seconds:
                await trio.sleep(random.expovariate(self.rate))
                try:
                    send.send_nowait(self.sent)
                except trio.WouldBlock:
                    self.held_back += 1
                else:
                    self.sent += 1
            send.close()
            with trio.move_on_after(60):
                await trio.sleep(1)  # for the last one to be taken up
                while any(not sighting.over for sighting in self.sightings.values()):  # noqa: ASYNC110
                    await trio.sleep(0.2)
            nursery.cancel_scope.cancel()

    @property
    def _now(self) -> float:
        return trio.current_time() - self.started

    async def _sample(self) -> None:
        every = max(10.0, self.seconds / 720)
        while True:
            row: Row = {"seconds": round(self._now, 1), "sent": self.sent, "checked": self.checker.checked}
            recorder = next(iter(children(self.process.pid)), 0)
            for name, pid in (("relay", self.process.pid), ("recorder", recorder), ("harness", os.getpid())):
                found = usage(pid)
                row |= {f"{name}_{key}": value for key, value in asdict(found).items()} if found else {}
            row["database"] = sum(path.stat().st_size for path in self.home.glob("captures.db*"))
            row["wal"] = sum(path.stat().st_size for path in self.home.glob("captures.db-wal"))
            row["journal"] = sum(path.stat().st_size for path in self.home.glob("journal/*/*") if path.exists())
            self.samples.append(row)
            await trio.sleep(every)

    async def _read(self) -> None:
        async with httpx.AsyncClient(base_url=self.api, trust_env=False, timeout=30) as client:
            number = 0
            while True:
                await trio.sleep(READ_EVERY)
                number += 1
                try:
                    answer = await client.get(PATHS[number % len(PATHS)])
                    self.failed_reads += answer.status_code != 200
                    if number % 5 == 0 and (rows := (await client.get("requests?limit=3")).json()["requests"]):
                        await client.get(f"requests/{rows[-1]['id']}")
                except (httpx.HTTPError, KeyError):
                    self.failed_reads += 1
                self.reads += 1

    async def _live(self) -> None:
        async with httpx.AsyncClient(base_url=self.api, trust_env=False, timeout=None) as client:
            while True:
                try:
                    async with client.stream("GET", "live") as answer:
                        async for line in answer.aiter_lines():
                            self.live_events += line.startswith("data:")
                except httpx.HTTPError:
                    self.failed_reads += 1
                await trio.sleep(1)

    async def _kill(self) -> None:
        for share in KILLS:
            await trio.sleep(max(0.0, share * self.seconds - self._now))
            for pid in children(self.process.pid):
                os.kill(pid, signal.SIGKILL)
                self.kills += 1

    async def _delete(self) -> None:
        async with httpx.AsyncClient(base_url=self.api, trust_env=False, timeout=300) as client:
            while True:
                await trio.sleep(self.kept / 3)
                until = datetime.fromtimestamp(time.time() - self.kept, UTC).isoformat()
                try:
                    answer = await client.delete("requests", params={"end_time": until})
                    self.deleted += int(answer.json()["requests"])
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    self.failed_reads += 1
                    print(f"not deleted this time: {error!r}", flush=True)

    async def _check(self) -> None:
        while True:
            await trio.sleep(CHECK_EVERY)
            await self._look()
            print(self.line(), flush=True)

    async def _look(self) -> None:
        since = max(self.began, time.time_ns() - int(self.kept * 2 / 3 * 1e9))
        try:
            await trio.to_thread.run_sync(lambda: self.checker.check(since=since))
        except StorageError as error:
            print(f"not checked this time: {error}", flush=True)

    def line(self) -> str:
        """How it stands."""
        last, checker = self.samples[-1], self.checker
        memory = {name: round((last.get(f"{name}_resident") or 0) / 1e6) for name in ("relay", "recorder", "harness")}
        return (
            f"{self._now / 60:6.1f} min, {self.sent} sent, {checker.checked} checked, {len(self.sightings)} open, "
            f"{len(checker.problems)} problems, MB {memory}"
        )


async def main(seconds: float, rate: float, scratch: Path) -> tuple[dict[str, object], Sequence[Row]]:
    """Start everything, run, end it in good order, and look at what is left."""
    authority, home = trustme.CA(), scratch / "home"
    ca = scratch / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.set_alpn_protocols(["http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=256)
    port = listeners[0].socket.getsockname()[1]
    command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(home), "--upstream-ca", str(ca)]
    command += ["--bind", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", f"https://127.0.0.1:{port}"]
    with (scratch / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
    try:
        await serving(home, process, scratch / "log")
        soak = Soak(home, process, seconds=seconds, rate=rate)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, Upstream(soak.sightings, tls).serve, listeners)
            await soak.run()
            async with httpx.AsyncClient(base_url=soak.api, trust_env=False, timeout=30) as client:
                health = (await client.get("health")).json()
            process.send_signal(signal.SIGINT)
            with trio.fail_after(60):
                code = await process.wait()
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
    soak.checker.check(since=time.time_ns() - int(soak.kept * 2 / 3 * 1e9), last=True)
    with CaptureStorage(home / "captures.db", read_only=True) as storage, storage.reading() as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        verified = storage.verify()
    end = {"exit_code": code, "integrity_check": sound, "verify": {"ok": verified.ok, "problems": verified.problems}}
    return result(soak, health, end), soak.samples


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=3.0, help="exchanges a second")
    parser.add_argument("--figure", type=Path, help="where to write NAME.svg and NAME.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome, rows = trio.run(main, arguments.hours * 3600, arguments.rate, Path(directory))
    if arguments.figure:
        arguments.figure.with_suffix(".json").write_text(written(outcome))
        arguments.figure.with_suffix(".svg").write_text(picture(outcome, rows))
    print(json.dumps({key: value for key, value in outcome.items() if key != "samples"}, indent=1))
    sys.exit(1 if outcome["problems"] else 0)
