"""What is measured together: upstreams, splices, claudeproxy and its rivals, each in processes of its own."""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio
import trustme
from load import AUTHORITY, HOST, Requests, Route, Scenario, measure
from processes import Contender, Upstreams, free_port, settle, start, wait_for
from rivals import start_rival

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

PEERS = Path(__file__).with_name("peers.py")
MODES = ("reverse", "connect")


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


@asynccontextmanager
async def running(
    scratch: Path,
    *,
    events: int,
    claudeproxy: bool,
    rivals: Sequence[str] = (),
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[list[Contender]]:
    """Start upstreams, splices, claudeproxy (if wanted) and rivals, for both modes; end them all at the end.

    :param settings: claudeproxy's, in its environment.
    """
    authority = trustme.CA()
    ca = scratch / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    pem = scratch / "server.pem"
    authority.issue_cert("127.0.0.1", HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    trust = ssl.create_default_context(cafile=str(ca))
    peers = (sys.executable, str(PEERS))
    async with trio.open_nursery() as nursery:
        _, plain = await start(nursery, *peers, "upstream", f"--events={events}", wants_port=True)
        _, tls = await start(nursery, *peers, "upstream", f"--events={events}", f"--pem={pem}", wants_port=True)
        spliced, port = await start(nursery, *peers, "splice", f"--to={plain}", wants_port=True)
        both = ("splice", f"--to={tls}", f"--pem={pem}", f"--trust={ca}")
        tunnelled, tls_port = await start(nursery, *peers, *both, wants_port=True)
        contenders = [
            Contender(name="direct", mode="reverse", route=Route(port=plain)),
            Contender(name="splice", mode="reverse", route=Route(port=port), pid=spliced.pid),
            Contender(name="direct", mode="connect", route=Route(port=tls, trust=trust)),
            Contender(
                name="splice",
                mode="connect",
                route=Route(port=tls_port, trust=trust, connect=AUTHORITY),
                pid=tunnelled.pid,
            ),
        ]
        if claudeproxy:
            environment = os.environ | (settings or {})
            reverse = f"http://127.0.0.1:{plain}"
            contenders.append(await _claudeproxy(nursery, scratch, "reverse", reverse, None, environment))
            connect = f"https://127.0.0.1:{tls}"
            contenders.append(await _claudeproxy(nursery, scratch, "connect", connect, ca, environment))
        for name in rivals:
            contenders += await start_rival(nursery, scratch, Upstreams(plain=plain, tls=tls, ca=ca), name)
        for contender in contenders:  # what each does once a process or a day (a tokenizer, a price list) is behind it
            await measure(contender.route, Scenario(name="json-1", concurrency=1, requests=1), Requests(10_000))
            await settle(contender)
        yield contenders
        nursery.cancel_scope.cancel()


async def _claudeproxy(
    nursery: trio.Nursery, scratch: Path, mode: str, upstream: str, ca: Path | None, environment: dict[str, str]
) -> Contender:
    """Start ``claudeproxy serve`` as a user would, with a home of its own."""
    home = scratch / f"home-{mode}"
    port, api = free_port(), free_port()
    command = [sys.executable, "-m", "claudeproxy_cli", "serve", "--home", str(home)]
    command += ["--bind", f"127.0.0.1:{port}", "--api", f"127.0.0.1:{api}", "--upstream", upstream]
    command += ["--upstream-ca", str(ca)] if ca else []
    log = scratch / f"log-{mode}"
    with log.open("wb") as stderr:  # it logs as it would to any file
        process, _ = await start(nursery, *command, wants_port=False, stderr=stderr, environment=environment)
    await wait_for(port, seconds=30, log=log, name="claudeproxy serve")
    await wait_for(api, seconds=30, log=log, name="claudeproxy's API")
    if mode == "reverse":
        route = Route(port=port)
    else:
        route = Route(port=port, trust=ssl.create_default_context(cafile=str(home / "ca.crt")), connect=AUTHORITY)
    return Contender(name="claudeproxy", mode=mode, route=route, pid=process.pid, api=api)
