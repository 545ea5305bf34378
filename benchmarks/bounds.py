"""The most memory that peers can make the proxy and its recorder take, beside the bound that follows from the settings.

    uv run benchmarks/bounds.py [--json FILE] [SCENARIO ...]

Each scenario has a `claudeproxy serve` of its own, whose peers do their worst: a thousand connections that say nothing
or lie unused or trickle, uploads of 32 MB at once, answers without end that nobody reads, live feeds that nobody reads.
Given are the resident memory of each process at its peak above that of an idle one, and whether a new client was
answered meanwhile. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import ssl
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from bounds_upstream import CHUNK, Upstream
from load import HOST, Route
from processes import serving
from sampling import children, forget_peak, usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

MB = 1e6
UPLOAD = 32 << 20
IDLE = 1000
UPLOADS = 100
READERS = 100
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
ASKED = b'{"model":"claude-opus-4-8","max_tokens":9,"messages":[{"role":"user","content":"Say hello"}]}'


@dataclass(slots=True, kw_only=True)
class Bench:
    """One running proxy with an upstream in this process. `hold` keeps the upstream from reading."""

    port: int
    api: int
    pid: int
    trust: ssl.SSLContext
    hold: trio.Event = field(default_factory=trio.Event)
    streams: list[trio.abc.Stream] = field(default_factory=list)

    @property
    def plain(self) -> Route:
        """To the base URL."""
        return Route(port=self.port)

    @property
    def tunnel(self) -> Route:
        """By CONNECT, with TLS inside."""
        return Route(port=self.port, trust=self.trust, connect=f"{HOST}:443")

    async def open(self, route: Route, data: bytes = b"") -> trio.abc.Stream:
        """Connect and send; the stream stays open to the scenario's end."""
        stream = await route.open()
        self.streams.append(stream)
        if data:
            await stream.send_all(data)
        return stream

    async def answers(self) -> bool:
        """Whether a new client gets its answer within ten seconds."""
        with trio.move_on_after(10):
            stream = await self.plain.open()
            await stream.send_all(head("/v1/models?kind=json", self.port, method="GET"))
            data = await stream.receive_some(CHUNK)
            await trio.aclose_forcefully(stream)
            return data.startswith(b"HTTP/1.1 200")
        return False


def head(target: str, port: int, *, length: int = 0, method: str = "POST", host: str | None = None) -> bytes:
    fields = f"Host: {host or f'127.0.0.1:{port}'}\r\nContent-Type: application/json\r\n"
    return f"{method} {target} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n".encode()


# ---- what peers do


async def silent(bench: Bench) -> None:
    """A thousand connections that never say a word."""
    for _ in range(IDLE):
        await bench.open(bench.plain)


async def unused(bench: Bench) -> None:
    """A thousand TLS connections that had an answer and lie unused."""
    limit = trio.CapacityLimiter(50)

    async def one() -> None:
        async with limit:
            stream = await bench.open(bench.tunnel, head("/v1/models?kind=json", 0, method="GET", host=HOST))
            await stream.receive_some(CHUNK)

    async with trio.open_nursery() as nursery:
        for _ in range(IDLE):
            nursery.start_soon(one)


async def trickling(bench: Bench) -> None:
    """A thousand heads of 64 KiB that lack their last byte."""
    start = b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    field = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    unfinished = start + field * ((65_000 - len(start)) // len(field))
    for _ in range(IDLE):
        await bench.open(bench.plain, unfinished)


async def uploading(bench: Bench, count: int) -> None:
    """Uploads of 32 MB at once, half of them through TLS."""
    words = b"so many words " * (CHUNK // 14)

    async def one(number: int) -> None:
        route, host = ((bench.plain, None), (bench.tunnel, HOST))[number % 2]
        stream = await bench.open(route, head("/v1/messages?kind=json", bench.port, length=UPLOAD, host=host))
        start = b'{"model":"claude-opus-4-8","messages":[{"role":"user","content":"%d ' % number
        await stream.send_all(start)
        left = UPLOAD - len(start) - 4
        while left:
            data = words[:left]
            await stream.send_all(data)
            left -= len(data)
        await stream.send_all(b'"}]}')
        await stream.receive_some(CHUNK)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(one, number)


async def stuck(bench: Bench) -> None:
    """A hundred uploads of 32 MB to an upstream that does not read."""

    async def one() -> None:
        try:
            stream = await bench.open(bench.plain, head("/v1/messages?kind=stuck", bench.port, length=UPLOAD))
            await stream.send_all(b"x" * UPLOAD)
        except trio.BrokenResourceError:
            return

    with trio.move_on_after(15):
        async with trio.open_nursery() as nursery:
            for _ in range(UPLOADS):
                nursery.start_soon(one)


async def not_reading(bench: Bench) -> None:
    """A hundred clients, half of them with TLS, that do not read an answer without end."""
    for number in range(READERS):
        route, host = ((bench.plain, None), (bench.tunnel, HOST))[number % 2]
        await bench.open(route, head("/v1/messages?kind=flood", bench.port, host=host))
    await trio.sleep(15)


async def live(bench: Bench) -> None:
    """A hundred readers of the live feed that do not read, and two thousand exchanges."""
    for number in range(READERS):
        upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        more = upgrade + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        path, fields = (("live", ""), ("ws", more))[number % 2]
        request = f"GET /api/claude/{path} HTTP/1.1\r\nHost: 127.0.0.1:{bench.api}\r\n{fields}\r\n"
        await bench.open(Route(port=bench.api), request.encode())
    stream = await bench.open(bench.plain)
    for _ in range(2000):
        await stream.send_all(head("/v1/messages?kind=json", bench.port, length=len(ASKED)) + ASKED)
        await stream.receive_some(CHUNK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What peers do, and the most MB that the proxy and the recorder may take for it above their idle size."""

    do: Callable[[Bench], Awaitable[None]]
    proxy: float
    recorder: float = 150


# A connection: tasks and parsers 0.1 MB, a TLS session 0.1 MB for each leg; a head 0.07; a piece of a body on its way
# 0.07, twice. The recorder: one body, decoded, cut and explained (sixteen times its length), and its memories.
SCENARIOS = {
    "1,000 silent connections": Scenario(do=silent, proxy=100),
    "1,000 unused connections, TLS": Scenario(do=unused, proxy=300),
    "1,000 heads of 64 KiB, unfinished": Scenario(do=trickling, proxy=250),
    # More than the journal holds: they are recorded without their bodies, and counted.
    "100 uploads of 32 MB": Scenario(do=partial(uploading, count=UPLOADS), proxy=100, recorder=600),
    "16 uploads of 32 MB": Scenario(do=partial(uploading, count=16), proxy=100, recorder=600),
    "100 uploads, upstream does not read": Scenario(do=stuck, proxy=100, recorder=600),
    "100 clients that do not read": Scenario(do=not_reading, proxy=100, recorder=150),
    "100 live readers that do not read": Scenario(do=live, proxy=100),
}


@asynccontextmanager
async def running(scratch: Path) -> AsyncIterator[Bench]:
    """A proxy, and the upstream behind it."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    home, port = scratch / "home", listeners[0].socket.getsockname()[1]
    command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(home), "--bind", "127.0.0.1:0"]
    command += ["--api", "127.0.0.1:0", "--upstream", f"http://127.0.0.1:{port}"]
    with (scratch / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(command, stdout=log, stderr=log, start_new_session=True)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, Upstream().serve, listeners)
            await serving(home, process, scratch / "log")
            state = json.loads((home / "serve.json").read_text())
            trust = ssl.create_default_context(cafile=str(home / "ca.crt"))
            bench = Bench(port=state["proxy"][1], api=state["api"][1], pid=process.pid, trust=trust)
            for _ in range(20):  # everything is loaded, in the recorder too, before it counts
                assert await bench.answers()
                start = head("/v1/messages?kind=json", 0, length=len(ASKED), host=HOST)
                stream = await bench.open(bench.tunnel, start + ASKED)
                await stream.receive_some(CHUNK)
            await trio.sleep(3)
            for stream in bench.streams:
                await trio.aclose_forcefully(stream)
            bench.streams.clear()
            yield bench
            for stream in bench.streams:
                await trio.aclose_forcefully(stream)
            nursery.cancel_scope.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the recorder too
        await process.wait()


async def measure(name: str, scenario: Scenario) -> dict[str, object]:
    """Run one scenario; its figures in MB."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        async with running(Path(directory)) as bench:
            pids = {"proxy": bench.pid, "recorder": children(bench.pid)[0]}
            idle = {what: found.resident for what, pid in pids.items() if (found := usage(pid))}
            for pid in pids.values():
                forget_peak(pid)
            with trio.move_on_after(300) as limit:
                await scenario.do(bench)
                answered = await bench.answers()
                await _at_rest(pids["recorder"])
            peaks = {what: found.peak for what, pid in pids.items() if (found := usage(pid))}
            held = usage(bench.pid)
    row: dict[str, object] = {"scenario": name, "new_client_answered": answered and not limit.cancelled_caught}
    row["descriptors"] = held.descriptors if held else None
    for what in pids:
        row[f"{what}_idle"] = round(idle[what] / MB)
        row[f"{what}_peak_above_idle"] = round((peaks[what] - idle[what]) / MB)
        row[f"{what}_bound"] = getattr(scenario, what)
    return row


async def _at_rest(pid: int) -> None:
    """Wait until a process has nothing to do for ten seconds, two minutes at the most: explaining comes last."""
    quiet, before = 0, -1.0
    with trio.move_on_after(120):
        while quiet < 5 and (found := usage(pid)) is not None:
            quiet = quiet + 1 if found.cpu - before < 0.02 else 0
            before = found.cpu
            await trio.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("scenario", nargs="*", help="words in a scenario's name; without any: all")
    args = parser.parse_args()
    wanted = {n: s for n, s in SCENARIOS.items() if not args.scenario or any(word in n for word in args.scenario)}
    rows = []
    for name, scenario in wanted.items():
        rows.append(trio.run(measure, name, scenario))
        print(json.dumps(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
