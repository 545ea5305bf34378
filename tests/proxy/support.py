"""A proxy on real sockets, clients for each way into it, and a tap that keeps what it is told."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import trio

from claudeproxy.model import Direction
from claudeproxy.proxy.server import ProxyServer
from claudeproxy.proxy.settings import ProxySettings, parse_upstream
from claudeproxy.sansio.target import HostSet
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from tests.support.faulty_client import API, Ways, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from claudeproxy.model import Buffer, ExchangeEnd, ExchangeStart, RawHeaders, ResponseStart, Tap

__all__ = ["API", "request"]


@cache
def authority() -> CertificateAuthority:
    return CertificateAuthority.generate_root_ca()


@cache
def trusting_context() -> ssl.SSLContext:
    """What a client has that trusts our CA."""
    context = ssl.create_default_context(cadata=authority().root_pem.decode())
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass
class Recorded:
    """One exchange as its tap heard of it."""

    start: ExchangeStart
    request: bytes = b""
    informational: list[int] = field(default_factory=list)
    head: ResponseStart | None = None
    response: bytes = b""
    sent: bytes = b""  # after a 101
    received: bytes = b""
    ends: list[ExchangeEnd] = field(default_factory=list)
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def end_value(self) -> ExchangeEnd:
        assert len(self.ends) == 1
        return self.ends[0]

    def request_body(self, data: Buffer) -> None:
        assert not self.ends
        self.request += bytes(data)

    def informational_head(self, status_code: int) -> None:
        self.informational.append(status_code)

    def response_start(self, head: ResponseStart) -> None:
        assert self.head is None
        self.head = head

    def response_body(self, data: Buffer) -> None:
        assert self.head is not None
        self.response += bytes(data)

    def websocket(self, direction: Direction, data: Buffer) -> None:
        assert self.head is not None
        assert not self.ends
        if direction is Direction.SENT:
            self.sent += bytes(data)
        else:
            self.received += bytes(data)

    def end(self, end: ExchangeEnd) -> None:
        self.ends.append(end)
        self.ended.set()


class _Half:
    """The protocol's names on a `Recorded`, whose field `informational` is a list."""

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        self.request_body = recorded.request_body
        self.response_start = recorded.response_start
        self.response_body = recorded.response_body
        self.websocket = recorded.websocket
        self.end = recorded.end

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        self._recorded.informational_head(status_code)


class MemoryTap:
    """A tap that keeps lists."""

    def __init__(self) -> None:
        self.exchanges: list[Recorded] = []

    def exchange(self, start: ExchangeStart) -> _Half:
        recorded = Recorded(start)
        self.exchanges.append(recorded)
        return _Half(recorded)

    async def ended(self, count: int) -> list[Recorded]:
        """The exchanges, all `count` of them ended."""
        assert len(self.exchanges) == count
        for recorded in self.exchanges:
            await recorded.ended.wait()
        return self.exchanges

    async def only(self) -> Recorded:
        """The one exchange there was, after its end."""
        (recorded,) = self.exchanges
        await recorded.ended.wait()
        return recorded


class Proxy(Ways):
    """A running proxy and the ways into it."""

    def __init__(self, server: ProxyServer, tap: MemoryTap, address: tuple[str, int]) -> None:
        super().__init__(address, trusting_context)
        self.server = server
        self.tap = tap


MODES = {
    "connect+tls": "connect",
    "connect+plain": "connect",
    "tls": "tls",
    "tls to proxy, connect+tls": "connect",
    "tls to proxy by IP, connect+tls": "connect",
    "tls to proxy, reverse": "reverse",
    "reverse": "reverse",
    "absolute": "absolute",
    "absolute to the proxy": "reverse",
}


@asynccontextmanager
async def running_proxy(
    upstream: str | None = None,
    *,
    settings: ProxySettings | None = None,
    tap: Tap | None = None,
    upstream_ca: object = None,
    decrypting: bool = True,
    **values: object,
) -> AsyncIterator[Proxy]:
    """A proxy whose API traffic goes to `upstream` (a URL); `values` are further settings."""
    if settings is None:
        values.setdefault("drain_seconds", 0.2)
        values.setdefault("linger_timeout", 0.5)
        settings = ProxySettings(upstream=None if upstream is None else parse_upstream(upstream), **values)  # type: ignore[arg-type]
    memory = MemoryTap()
    certificates = CertificateCache(authority(), upstream_ca=upstream_ca) if decrypting else None  # type: ignore[arg-type]
    server = ProxyServer(settings, certificates=certificates, tap=tap or memory)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        bound = await nursery.start(server.run, listeners)
        proxy = Proxy(server, memory, bound[0])
        try:
            with trio.fail_after(20):
                yield proxy
        finally:
            await proxy.close()
            server.abort()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EVERYTHING = HostSet(("anthropic.com", "localhost", "127.0.0.1"))
