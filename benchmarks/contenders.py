"""Starting what is measured, each in processes of its own, and reading how much CPU time they used."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.request
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio
import trustme
from load import HOST, Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PEERS = Path(__file__).with_name("peers.py")
MODES = ("reverse", "connect")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to the upstream: its name, the mode it belongs to, its process (None: none of its own)."""

    name: str
    mode: str
    route: Route
    pid: int | None = None
    api: int | None = None  # claudeproxy's API port: what it says it recorded


def cpu_seconds(pid: int | None) -> float:
    """User and system time of a process and all that it started (Linux; 0.0 elsewhere)."""
    if pid is None or not Path("/proc/self/stat").exists():
        return 0.0
    children: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        process = int(entry.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        used[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total, waiting = 0.0, [pid]
    while waiting:
        process = waiting.pop()
        total += used.get(process, 0.0)
        waiting += children.get(process, [])
    return total


async def settle(contender: Contender) -> float:
    """Wait until a contender is idle (a recorder works on after the last answer); returns its CPU time."""
    used = cpu_seconds(contender.pid)
    with trio.move_on_after(60):
        while contender.pid is not None:
            await trio.sleep(0.4)
            before, used = used, cpu_seconds(contender.pid)
            if used - before < 0.02:
                break
    return used


def recorded(contender: Contender) -> int | None:
    """How many exchanges claudeproxy's database holds, by its own API; None when it cannot be asked."""
    if contender.api is None:
        return None
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{contender.api}/api/claude/requests?limit=1", timeout=5
        ) as answer:
            return int(json.load(answer)["total"])
    except (OSError, ValueError, KeyError):
        return None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def _start(
    nursery: trio.Nursery, *command: str, wants_port: bool, stderr: BinaryIO | None = None
) -> tuple[trio.Process, int]:
    """Start a process that lives as long as the nursery. With `wants_port` its first line is its port."""
    stdout = subprocess.PIPE if wants_port else subprocess.DEVNULL
    serve = partial(trio.run_process, command, stdout=stdout, stderr=stderr, check=False)
    process: trio.Process = await nursery.start(serve)
    if not wants_port:
        return process, 0
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        data = await process.stdout.receive_some()
        if not data:
            raise RuntimeError(f"{command} ended before it served")
        line += data
    return process, int(line)


async def _wait_for(port: int, *, seconds: float) -> None:
    with trio.fail_after(seconds):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)  # noqa: TID251 - only a look
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return


@asynccontextmanager
async def running(scratch: Path, *, events: int, claudeproxy: bool) -> AsyncIterator[list[Contender]]:
    """Start upstreams, splices and claudeproxy (if wanted), for both modes; end them all at the end."""
    authority = trustme.CA()
    ca = scratch / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    pem = scratch / "server.pem"
    authority.issue_cert("127.0.0.1", HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    trust = ssl.create_default_context(cafile=str(ca))
    peers = (sys.executable, str(PEERS))
    async with trio.open_nursery() as nursery:
        _, plain = await _start(nursery, *peers, "upstream", f"--events={events}", wants_port=True)
        _, tls = await _start(nursery, *peers, "upstream", f"--events={events}", f"--pem={pem}", wants_port=True)
        spliced, port = await _start(nursery, *peers, "splice", f"--to={plain}", wants_port=True)
        both = ("splice", f"--to={tls}", f"--pem={pem}", f"--trust={ca}")
        tunnelled, tls_port = await _start(nursery, *peers, *both, wants_port=True)
        contenders = [
            Contender(name="direct", mode="reverse", route=Route(port=plain)),
            Contender(name="splice", mode="reverse", route=Route(port=port), pid=spliced.pid),
            Contender(name="direct", mode="connect", route=Route(port=tls, trust=trust)),
            Contender(
                name="splice", mode="connect", route=Route(port=tls_port, trust=trust, connect=True), pid=tunnelled.pid
            ),
        ]
        if claudeproxy:
            contenders.append(await _claudeproxy(nursery, scratch, "reverse", f"http://127.0.0.1:{plain}", None))
            contenders.append(await _claudeproxy(nursery, scratch, "connect", f"https://127.0.0.1:{tls}", ca))
        yield contenders
        nursery.cancel_scope.cancel()


async def _claudeproxy(nursery: trio.Nursery, scratch: Path, mode: str, upstream: str, ca: Path | None) -> Contender:
    """Start ``claudeproxy serve`` as a user would, with a home of its own."""
    home = scratch / f"home-{mode}"
    port, api = _free_port(), _free_port()
    command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(home)]
    command += ["--bind", f"127.0.0.1:{port}", "--api", f"127.0.0.1:{api}", "--upstream", upstream]
    command += ["--upstream-ca", str(ca)] if ca else []
    log = scratch / f"log-{mode}"
    with log.open("wb") as stderr:  # it logs as it would to any file
        process, _ = await _start(nursery, *command, wants_port=False, stderr=stderr)
    try:
        await _wait_for(port, seconds=30)
        await _wait_for(api, seconds=30)
    except trio.TooSlowError:
        raise RuntimeError(f"claudeproxy serve did not come up:\n{log.read_text()[-3000:]}") from None
    if mode == "reverse":
        route = Route(port=port)
    else:
        route = Route(port=port, trust=ssl.create_default_context(cafile=str(home / "ca.crt")), connect=True)
    return Contender(name="claudeproxy", mode=mode, route=route, pid=process.pid, api=api)
