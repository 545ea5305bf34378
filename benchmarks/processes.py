"""Processes that are measured: starting them, waiting until they serve and until they rest, and their CPU time."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import trio

if TYPE_CHECKING:
    from load import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to the upstream: its name, the mode it belongs to, its process (None: none of its own)."""

    name: str
    mode: str
    route: Route
    pid: int | None = None
    api: int | None = None  # claudeproxy's API port: what it says it recorded


async def serving(home: Path, process: trio.Process, log: Path) -> None:
    """Wait until a ``claudeproxy serve`` over this home has published where it listens. Raises RuntimeError."""
    with trio.move_on_after(60):
        while not (home / "serve.json").exists() and process.returncode is None:  # noqa: ASYNC110 - another process
            await trio.sleep(0.1)
    if not (home / "serve.json").exists():
        raise RuntimeError(f"claudeproxy serve did not come up:\n{log.read_text()[-3000:]}")  # noqa: ASYNC240


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {"python": platform.python_version(), "cpus": os.cpu_count(), "system": platform.system()}


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def start(
    nursery: trio.Nursery,
    *command: str,
    wants_port: bool,
    stderr: BinaryIO | None = None,
    environment: dict[str, str] | None = None,
) -> tuple[trio.Process, int]:
    """Start a process that lives as long as the nursery. With `wants_port` its first line is its port."""
    stdout = subprocess.PIPE if wants_port else stderr or subprocess.DEVNULL
    serve = partial(trio.run_process, command, stdout=stdout, stderr=stderr, check=False, env=environment)
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


async def wait_for(port: int, *, seconds: float, log: Path, name: str) -> None:
    """Wait until somebody listens there. Raises RuntimeError with the end of the log when nobody does."""
    with trio.move_on_after(seconds):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)  # noqa: TID251 - only a look
            except OSError:
                await trio.sleep(0.05)
            else:
                await stream.aclose()
                return
    said = await trio.Path(log).read_text()
    raise RuntimeError(f"{name} did not come up within {seconds:g} s:\n{said[-3000:]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """Where the upstream listens, without TLS and with it, and the CA (PEM) of its certificate."""

    plain: int
    tls: int
    ca: Path
