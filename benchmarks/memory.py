"""Does anything grow? Memory of the proxy's processes over many exchanges, none of which is like another.

    uv run benchmarks/memory.py [--exchanges 10000] [--minutes M] [--figure benchmarks/figures/memory]

One `claudeproxy serve` with everything on, as a user starts it: `CLIENTS` clients hold conversations whose bodies
grow to 200 KB, with models of three families (`memory_traffic`), as fast as the recorder keeps up, and every `ASK`
exchanges the API is asked for each kind of document. Told are resident memory and its proportional share (PSS: pages
that processes share are divided among them), sampled `SAMPLES` times, and how steep they rise over the second half.
Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import trio
from memory_traffic import Words, conversation, read, request, upstream
from plot import Line, Panel, figure
from processes import cpu_seconds, machine, serving
from sampling import children, slope, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES = 200
CLIENTS = 8
ASK = 200  # exchanges between two looks at the API
LAG = 64  # exchanges that the recorder may be behind
PATHS = (
    "requests?limit=50", "requests?q=answer&limit=5", "sessions?limit=20", "contexts?limit=50", "metrics/summary",
    "metrics/sources", "metrics/history", "quota", "health",
)  # fmt: skip
PROCESSES = ("proxy", "recorder")
Row = dict[str, float]


class Run:
    """One run over a proxy that serves already."""

    def __init__(self, home: Path, process: trio.Process, *, exchanges: int, seconds: float) -> None:
        state = json.loads((home / "serve.json").read_text())
        self.home, self.process, self.exchanges = home, process, exchanges
        self._until = trio.current_time() + seconds
        self.port, self.api = int(state["proxy"][1]), f"http://127.0.0.1:{state['api'][1]}/api/claude/"
        self.sent = self.recorded = self.conversations = 0
        self.samples: list[Row] = []
        self._words = Words(1)
        self._behind = trio.Condition()

    async def run(self) -> None:
        """Send them all, and wait until all are recorded."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(self._client)
            with trio.move_on_after(300):
                while self.recorded < self.sent:  # noqa: ASYNC110 (what is waited for happens in another process)
                    await trio.sleep(0.2)
            nursery.cancel_scope.cancel()
        self.sample()

    async def _client(self) -> None:
        host = f"127.0.0.1:{self.port}"
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)  # noqa: TID251 - a client's own connection
        async with stream:
            while not self._over:
                self.conversations += 1
                for body in conversation(self.conversations, self._words):
                    async with self._behind:
                        while self.sent - self.recorded > LAG:
                            await self._behind.wait()
                    self.sent += 1
                    await stream.send_all(request(body, host))
                    if await read(stream) is None:
                        raise RuntimeError("the proxy closed the connection")
                    if self.sent % max(1, self.exchanges // SAMPLES) == 0:
                        self.sample()
                    if self._over:
                        break

    @property
    def _over(self) -> bool:
        return self.sent >= self.exchanges or trio.current_time() > self._until

    async def _look(self) -> None:
        """Ask how far the recorder is, and now and then for everything else."""
        asked = 0
        async with httpx.AsyncClient(base_url=self.api, trust_env=False, timeout=60) as client:
            while True:
                health = (await client.get("health")).json()
                self.recorded = int((health.get("recorder") or {}).get("stored", 0))
                async with self._behind:
                    self._behind.notify_all()
                if self.sent >= asked + ASK:
                    asked = self.sent
                    for path in PATHS:
                        (await client.get(path)).raise_for_status()
                    rows = (await client.get("requests?limit=3")).json()["requests"]
                    for row in rows:
                        await client.get(f"requests/{row['id']}")
                await trio.sleep(0.1)

    def sample(self) -> None:
        """Note how large everything is now."""
        row: Row = {"exchanges": self.sent}
        recorder = next(iter(children(self.process.pid)), 0)
        for name, pid in zip(PROCESSES, (self.process.pid, recorder), strict=True):
            if found := usage(pid):
                row |= {f"{name}_resident": found.resident, f"{name}_peak": found.peak, f"{name}_pss": pss(pid)}
        row["database"] = sum(path.stat().st_size for path in self.home.glob("captures.db*"))
        self.samples.append(row)


def pss(pid: int) -> int:
    """Return the proportional share of a process in bytes (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


async def main(exchanges: int, seconds: float, scratch: Path) -> dict[str, object]:
    """Start upstream and proxy, run, and say what came of it."""
    home = scratch / "home"
    async with trio.open_nursery() as nursery:
        listeners: Sequence[trio.SocketListener] = await nursery.start(trio.serve_tcp, upstream, 0)
        port = listeners[0].socket.getsockname()[1]
        command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(home)]
        command += ["--bind", "127.0.0.1:0", "--api", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{port}"]
        with (scratch / "log").open("wb") as log:
            process = await trio.lowlevel.open_process(command, stdout=log, stderr=log)
        try:
            await serving(home, process, scratch / "log")
            run = Run(home, process, exchanges=exchanges, seconds=seconds)
            began = trio.current_time()
            await run.run()
            took, cpu = trio.current_time() - began, cpu_seconds(process.pid)
        finally:
            process.terminate()
            with trio.move_on_after(60, shield=True):  # its home is deleted next: not under its feet
                await process.wait()
            process.kill()
            nursery.cancel_scope.cancel()
    return {
        "machine": machine(),
        "exchanges": run.sent,
        "recorded": run.recorded,
        "conversations": run.conversations,
        "seconds": round(took),
        "cpu_seconds": round(cpu),
        "load": os.getloadavg()[0],
        **summary(run.samples),
        "samples": run.samples,
    }


def summary(samples: Sequence[Row]) -> dict[str, object]:
    """MB at the end and at most, and MB for 10,000 exchanges more over the second half."""
    found: dict[str, object] = {}
    settled = samples[len(samples) // 2 :]
    for name in PROCESSES:
        sizes = [row[f"{name}_resident"] / 1e6 for row in settled if f"{name}_resident" in row]
        points = [
            (row["exchanges"] / 1e4, row[f"{name}_resident"] / 1e6) for row in settled if f"{name}_resident" in row
        ]
        shares = [row[f"{name}_pss"] / 1e6 for row in settled if f"{name}_pss" in row]
        found[name] = {
            "resident_median": round(sorted(sizes)[len(sizes) // 2], 1),
            "resident_most": round(max(sizes), 1),
            "resident_per_10000": round(slope(points), 2),
            "pss_median": round(sorted(shares)[len(shares) // 2], 1),
        }
    return found


def picture(found: dict[str, object], samples: Sequence[Row]) -> str:
    """The figure: memory over exchanges."""

    def line(label: str, key: str) -> Line:
        points = [(row["exchanges"], row[key] / 1e6) if key in row else None for row in samples]
        return Line(name=label, points=points)

    lines = [line(f"{name}{label}", f"{name}_{key}") for name in PROCESSES for label, key in LABELS]
    panel = Panel(title="Memory by process", x="exchanges", y="MB", lines=lines)
    return figure(f"Memory over {found['exchanges']} exchanges of {found['conversations']} conversations", (panel,))


LABELS = (("", "resident"), (", its share", "pss"))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=600.0, help="ends then, however many were sent")
    parser.add_argument("--figure", type=Path, help="where to write NAME.svg and NAME.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = trio.run(main, arguments.exchanges, arguments.minutes * 60, Path(directory))
    rows = outcome.pop("samples")
    if arguments.figure:
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        head = json.dumps(outcome, indent=1)[:-2]
        arguments.figure.with_suffix(".json").write_text(f'{head},\n "samples": [\n{lines}\n ]\n}}\n')
        arguments.figure.with_suffix(".svg").write_text(picture(outcome, rows))
    print(json.dumps(outcome, indent=1))
