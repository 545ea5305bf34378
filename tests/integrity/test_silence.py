"""Half an hour without a byte in the middle of an answer: in virtual time, which needs every peer in memory.

The proxy's own limits are the usual ones and all of them run out meanwhile. It writes the usual journal; a service that
is started afterwards stores what is in it.
"""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.policy import BodyPolicy
from claudeproxy.capture.redact import KeyHasher
from claudeproxy.capture.secret import load_or_create_secret
from claudeproxy.capture.tap import JournalTap
from claudeproxy.proxy.server import ProxyServer
from claudeproxy.proxy.settings import ProxySettings, parse_upstream
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from tests.integrity.house import WAYS, House
from tests.support.faulty_client import AnswerReader, Seen, Ways, request
from tests.support.faulty_upstream import LAST_CHUNK, chunk, head, message
from tests.support.memory_network import MemoryNetwork
from tests.support.service import configuration, prompt
from tests.support.wire import Wire

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integrity.conftest import SayRow

SILENCE = 30 * 60.0  # seconds
EVENTS = message("One word after the other")
BODY = prompt("hello", stream=True)


class MemoryWays(Ways):
    """The ways into a proxy in memory."""

    def __init__(self, server: ProxyServer, nursery: trio.Nursery, trust: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 8443), lambda: trust)
        self._server = server
        self._nursery = nursery

    async def dial(self) -> Wire:
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._server.handle_connection, theirs)
        return Wire(ours, ours)  # type: ignore[arg-type]


async def falls_silent(stream: trio.abc.Stream) -> None:
    """The upstream: half of a stream, nothing for half an hour, the other half."""
    wire = Wire(stream, stream)  # type: ignore[arg-type]
    await wire.read_message()
    await wire.send(head(stream=True) + b"".join(map(chunk, EVENTS[:4])))
    await trio.sleep(SILENCE)
    await wire.send(b"".join(map(chunk, EVENTS[4:])) + LAST_CHUNK)
    await wire.wait_gone()


async def ask_in_every_way(home: Path) -> dict[str, tuple[Seen, float]]:
    """What each client saw, and after how many seconds its answer was whole."""
    config = configuration(home)
    config.paths.create()
    authority = CertificateAuthority.generate_root_ca()
    writer = JournalWriter(config.journal_path, max_bytes=config.journal_max_bytes)
    tap = JournalTap(writer, policy=BodyPolicy(), key_hash=KeyHasher(load_or_create_secret(config.secret_path)))
    settings = ProxySettings(upstream=parse_upstream("http://127.0.0.1:80"))
    server = ProxyServer(settings, certificates=CertificateCache(authority), tap=tap)
    trust = ssl.create_default_context(cadata=authority.root_pem.decode())
    seen: dict[str, tuple[Seen, float]] = {}

    async def ask(mode: str) -> None:
        begun = trio.current_time()
        wire, target, host = await ways.enter(WAYS[mode], f"/v1/messages?{mode.replace(' ', '-')}")
        await wire.send(request("POST", target, host, BODY))
        answer = await AnswerReader(wire).run()
        seen[mode] = (answer, trio.current_time() - begun)
        await wire.aclose()

    async with trio.open_nursery() as nursery:
        MemoryNetwork(nursery, falls_silent).install()
        ways = MemoryWays(server, nursery, trust)
        async with trio.open_nursery() as clients:
            for mode in WAYS:
                clients.start_soon(ask, mode)
        nursery.cancel_scope.cancel()
    writer.close()
    return seen


def test_a_stream_that_is_silent_for_half_an_hour_is_one_exchange(tmp_path: Path, row: SayRow) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    seen = trio.run(partial(ask_in_every_way, tmp_path / "home"), clock=clock)
    house = House(tmp_path / "home", "http://127.0.0.1:9")
    house.start()
    try:
        for mode, (answer, seconds) in seen.items():
            assert SILENCE <= seconds < SILENCE + 1
            (record,) = trio.run(house.records, f"?{mode.replace(' ', '-')}", 1)
            assert (record.body, record.answer, bytes(answer.payload)) == (BODY, b"".join(EVENTS), b"".join(EVENTS))
            words = f"is silent for {SILENCE / 60:.0f} minutes in a stream (virtual time)"
            row("Upstream", words, mode, client=answer.words, record=record.words)
    finally:
        house.stop()
    assert set(seen) == set(WAYS)
