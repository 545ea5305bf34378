"""A proxy between a client and an upstream that both write bytes by hand; the upstream keeps all that it received."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pytest
import trustme

from claudeproxy.model import Origin
from tests.proxy.support import API, Proxy, running_proxy
from tests.support.raw_upstream import RawUpstream, raw_upstream
from tests.support.strict_http import Message, NotHTTPError, read_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.raw_upstream import Script
    from tests.support.wire import Wire

PROBE = b"/probe"


@cache
def _ca() -> trustme.CA:
    return trustme.CA()


@cache
def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _ca().issue_cert(API).configure_cert(context)
    return context


@pytest.fixture(scope="session")
def upstream_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the proxy trusts the upstream by."""
    path = tmp_path_factory.mktemp("hygiene") / "ca.pem"
    path.write_bytes(_ca().cert_pem.bytes())
    return path


@dataclass
class Site:
    """A proxy that leads to an upstream under the API's own name, by one way in."""

    proxy: Proxy
    upstream: RawUpstream
    way: str

    @property
    def scheme(self) -> str:
        return "https" if self.way == "connect+tls" else "http"

    @property
    def origin(self) -> str:
        return f"{API}:{self.upstream.port}"

    @property
    def host(self) -> str:
        return self.proxy.own_host if self.way == "reverse" else self.origin

    def target(self, path: str) -> str:
        return f"http://{self.origin}{path}" if self.way == "absolute" else path

    def fill(self, raw: bytes, path: str = "/v1/x") -> bytes:
        """The bytes of a trick, made for this way in."""
        for name, value in (
            ("TARGET", self.target(path)),
            ("HOST", self.host),
            ("NAME", self.host.partition(":")[0]),
            ("SCHEME", self.scheme),
            ("ORIGIN", self.origin),
        ):
            raw = raw.replace(f"@{name}@".encode(), value.encode())
        return raw

    async def enter(self) -> Wire:
        if self.way in ("reverse", "absolute"):
            return await self.proxy.dial()
        tunnel = await self.proxy.connect(API, self.upstream.port)
        return await self.proxy.dial_tls(API, tunnel) if self.way == "connect+tls" else tunnel

    async def ask(self, client: Wire, path: bytes = PROBE) -> bytes:
        """A clean request and its whole answer."""
        await client.send(self.fill(b"GET @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n", path.decode()))
        head, body = await client.read_message()
        return head + body


@asynccontextmanager
async def site(way: str, script: Script, upstream_ca: Path) -> AsyncIterator[Site]:
    """Serve `script` to the proxy's upstream connections."""
    tls = _server_context() if way == "connect+tls" else None
    async with raw_upstream(script, tls=tls) as upstream:
        async with running_proxy(
            api_origin=Origin(scheme="http", host=API, port=upstream.port),
            upstream_addresses={API: "127.0.0.1"},
            upstream_ca=None if tls is None else upstream_ca,
        ) as proxy:
            yield Site(proxy, upstream, way)


@dataclass
class Recording:
    """An upstream that answers each whole request with its target and keeps every byte, connection by connection."""

    received: list[bytearray] = field(default_factory=list)
    requests: list[Message] = field(default_factory=list)

    async def script(self, wire: Wire) -> None:
        got = bytearray()
        self.received.append(got)
        left = b""
        while data := await wire.stream.receive_some(65536):
            got += data
            left += data
            while (request := _whole(left)) is not None:
                message, left = request
                self.requests.append(message)
                body = b"" if message.start[0] == b"HEAD" else message.start[1]
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def _whole(data: bytes) -> tuple[Message, bytes] | None:
    try:
        return read_request(data)
    except NotHTTPError:
        return None
