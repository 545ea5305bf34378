"""The other proxies that people record this API with, started as their documentation says, everything they keep kept.

Each is fetched from PyPI by ``uv tool run`` at the version named here, into uv's cache and nowhere else, and runs with
a home of its own in the scratch directory. What their options mean:

- mitmproxy: ``mitmdump`` writes flows to a file. Without streaming it holds an answer back until it is whole, so it is
  measured as a user of a streaming API must run it: bodies are streamed, and stored all the same.
- claude-tap: as it comes, without its dashboard; reverse and forward.
- LiteLLM: the pass-through of its proxy, without a database: it forwards and keeps nothing. Reverse only.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from load import Route
from processes import Contender, Upstreams, free_port, start, wait_for

if TYPE_CHECKING:
    import trio

PACKAGES = {"mitmproxy": "mitmproxy==11.0.2", "claude-tap": "claude-tap==0.1.146", "litellm": "litellm[proxy]==1.106.2"}
START_SECONDS = 180.0  # uv may have to fetch some hundred megabytes first


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """One process of a rival: its command, what it needs in its environment, and its CA when it has one."""

    command: tuple[str, ...]
    environment: dict[str, str]
    ca: Path | None = None
    prefix: str = ""


def _mitmproxy(mode: str, port: int, upstreams: Upstreams, home: Path) -> _Start:
    kept = ("-q", "--listen-host", "127.0.0.1", "-p", str(port), "-w", str(home / "flows"))
    options = ("stream_large_bodies=1", "store_streamed_bodies=true", f"confdir={home}")
    options += (f"ssl_verify_upstream_trusted_ca={upstreams.ca}",)
    where = f"reverse:http://127.0.0.1:{upstreams.plain}" if mode == "reverse" else "regular"
    settings = tuple(part for option in options for part in ("--set", option))
    return _Start(
        command=("mitmdump", *kept, "--mode", where, *settings), environment={}, ca=home / "mitmproxy-ca-cert.pem"
    )


def _claude_tap(mode: str, port: int, upstreams: Upstreams, home: Path) -> _Start:
    quiet = ("--tap-no-launch", "--tap-no-open", "--tap-no-live", "--tap-max-traces", "0")
    where = ("--tap-port", str(port), "--tap-host", "127.0.0.1")
    if mode == "reverse":
        way: tuple[str, ...] = ("--tap-target", f"http://127.0.0.1:{upstreams.plain}")
    else:
        way = ("--tap-proxy-mode", "forward")
    return _Start(
        command=("claude-tap", *quiet, *where, *way),
        environment={"SSL_CERT_FILE": str(upstreams.ca)},
        ca=home / ".claude-tap" / "ca.pem",
    )


def _litellm(port: int, upstreams: Upstreams, home: Path) -> _Start:
    config = home / "config.yaml"
    config.write_text("model_list: []\n")
    environment = {
        "ANTHROPIC_API_BASE": f"http://127.0.0.1:{upstreams.plain}",
        "ANTHROPIC_API_KEY": "sk-ant-api03-dummy",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # no fetch from the network at the start
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "LITELLM_LOG": "ERROR",
    }
    command = ("litellm", "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False")
    return _Start(command=command, environment=environment, prefix="/anthropic")


async def start_rival(nursery: trio.Nursery, scratch: Path, upstreams: Upstreams, name: str) -> list[Contender]:
    """Start one of `PACKAGES` in every mode that it has. Raises RuntimeError with its output when it does not come."""
    found = []
    for mode in ("reverse",) if name == "litellm" else ("reverse", "connect"):
        home = scratch / f"{name}-{mode}"
        home.mkdir()
        port = free_port()
        if name == "litellm":
            wanted = _litellm(port, upstreams, home)
        else:
            wanted = (_mitmproxy if name == "mitmproxy" else _claude_tap)(mode, port, upstreams, home)
        command = ("uv", "tool", "run", "--quiet", "--from", PACKAGES[name], *wanted.command)
        # uv keeps its cache, wherever the rival's home is: asking it once is all that differs from a user's machine.
        cache = {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))}
        log = scratch / f"log-{name}-{mode}"
        environment = os.environ | cache | {"HOME": str(home)} | wanted.environment
        with log.open("wb") as output:
            process, _ = await start(nursery, *command, wants_port=False, stderr=output, environment=environment)
        await wait_for(port, seconds=START_SECONDS, log=log, name=name)
        if mode == "reverse":
            route = Route(port=port, prefix=wanted.prefix)
        else:
            trust = ssl.create_default_context(cafile=str(wanted.ca))
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # their certificates lack what RFC 5280 asks for
            route = Route(port=port, trust=trust, connect=f"127.0.0.1:{upstreams.tls}", name="127.0.0.1")
        found.append(Contender(name=name, mode=mode, route=route, pid=process.pid))
    return found
