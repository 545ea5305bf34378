"""The state file: who serves from a home, and where it listens. Written by `serve`, read by `run` and `doctor`.

A file and not a fixed port, because ports are configuration and may be chosen by the system. It may lie (the process
was killed): readers ask whether the process lives and whether its port answers.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from claudeproxy.private import replace_private

if TYPE_CHECKING:
    from pathlib import Path

# A server on this machine answers in milliseconds; a stopped one (Ctrl-Z) would keep us waiting for ever.
ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server as its state file describes it; addresses are (host, port) as bound."""

    pid: int
    proxy: tuple[str, int]
    api: tuple[str, int] | None
    version: str
    particular: bool = (
        False  # flags or variables of its own say where traffic goes or what is kept: none can replace it
    )

    @property
    def proxy_url(self) -> str:
        """How a client on this machine reaches the proxy."""
        return url(self.proxy)

    @property
    def api_url(self) -> str | None:
        """How a client on this machine reaches the API."""
        return None if self.api is None else url(self.api)


def reachable(address: tuple[str, int]) -> tuple[str, int]:
    """The address to connect to for one that may be bound to every interface."""
    host, port = address
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104  (compared, not bound)


def url(address: tuple[str, int]) -> str:
    """``http://HOST:PORT`` of a bound address; always with the scheme, without which some clients hang."""
    host, port = reachable(address)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_state(path: Path, server: RunningServer) -> None:
    """Publish a server: whole or not at all, and readable by its owner only."""
    replace_private(path, json.dumps(asdict(server)).encode())


def remove_state(path: Path, pid: int, before: RunningServer | None = None) -> None:
    """Take our publication back, unless another server has published itself since.

    `before` is who was published when we came: while that one lives, it is published again.
    """
    server = read_state(path)
    if server is None or server.pid != pid:
        return
    with suppress(OSError):
        if before is not None and process_lives(before.pid) and answers(before.proxy):
            write_state(path, before)
        else:
            path.unlink()


def read_state(path: Path) -> RunningServer | None:
    """What the file says; None when there is none, or it is not ours to understand."""
    try:
        value = json.loads(path.read_bytes())
        api = value["api"]
        return RunningServer(
            pid=int(value["pid"]),
            proxy=(str(value["proxy"][0]), int(value["proxy"][1])),
            api=None if api is None else (str(api[0]), int(api[1])),
            version=str(value["version"]),
            particular=bool(value.get("particular", False)),
        )
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def find_server(path: Path) -> RunningServer | None:
    """The server that runs now: its process lives and its ports answer."""
    server = read_state(path)
    if server is None or not process_lives(server.pid) or not answers(server.proxy):
        return None
    return server if server.api is None or healthy(server.api) else None


def process_lives(pid: int) -> bool:
    """Whether there is a process of that number (on Windows always yes: the port decides)."""
    if os.name == "nt":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, and is somebody else's
        return True
    return True


def answers(address: tuple[str, int]) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with socket.create_connection(reachable(address), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False


def healthy(api: tuple[str, int]) -> bool:
    """Whether claudeproxy's own API answers there: another program may have got a dead server's port.

    401 counts: a server with a token is a server. A raw request, because http.client costs more to import than this.
    """
    try:
        with socket.create_connection(reachable(api), timeout=ANSWER_SECONDS) as connection:
            host = url(api).removeprefix("http://")
            head = f"GET /api/claude/health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode())
            answer = connection.recv(64)
    except OSError:
        return False
    return answer[:9] == b"HTTP/1.1 " and answer[9:12] in {b"200", b"401", b"503"}
