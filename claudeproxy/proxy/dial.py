"""Ways to an upstream: name, TCP, a corporate proxy, TLS; and the refusal to dial ourselves.

Apart from the pool because tunnels dial too and pool nothing. Every failure leaves here as an `UpstreamError` with a
stable kind; nothing else of trio, ssl or the resolver gets out.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import ProtocolError, UpstreamError, UpstreamLoopError
from claudeproxy.proxy.sockets import CHUNK, DirectStream, direct
from claudeproxy.proxy.streams import PrefixedStream
from claudeproxy.sansio.headers import HeadParser
from claudeproxy.sansio.target import is_loopback
from claudeproxy.tls.upstream import UpstreamTLSStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from claudeproxy.model import Origin
    from claudeproxy.proxy.settings import ProxySettings, UpstreamProxy

_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104  # compared with, not bound to  # compared with, not bound to


class Dialer:
    """Opens connections. `listening` holds the addresses that this process accepts on: dialling one is a loop."""

    def __init__(self, settings: ProxySettings, client_config: Callable[[], ssl.SSLContext]) -> None:
        self._settings = settings
        self._client_config = client_config
        self.listening: set[tuple[str, int]] = set()

    def via_proxy(self, host: str) -> UpstreamProxy | None:
        """The upstream proxy that leads to `host`; a host of this machine is reached without."""
        return None if is_loopback(host) else self._settings.upstream_proxy

    async def open(self, host: str, port: int) -> trio.abc.Stream:
        """A stream whose other end is `host:port`, through the upstream proxy where there is one."""
        with _limited(self._settings.connect_timeout, host):
            return await self._open(host, port)

    async def open_origin(self, origin: Origin) -> tuple[trio.abc.Stream, trio.SocketStream]:
        """A stream that an HTTP request to `origin` can be written to, TLS included, and its socket.

        For a plain origin behind an upstream proxy it ends at that proxy, which wants absolute-form targets.
        """
        with _limited(self._settings.connect_timeout, origin.host):
            proxy = self.via_proxy(origin.host)
            if origin.scheme == "http" and proxy is not None:
                stream = await self._open_proxy(proxy)
            else:
                stream = await self._open(origin.host, origin.port)
            raw = socket_of(stream)
            return (await self._wrap(stream, origin.host) if origin.scheme == "https" else stream), raw

    async def _open(self, host: str, port: int) -> trio.abc.Stream:
        proxy = self.via_proxy(host)
        if proxy is None:
            return await self._tcp(host, port)
        stream = await self._open_proxy(proxy)
        try:
            return await _connect_through(stream, host, port, proxy, self._settings.max_head_bytes)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise

    async def _open_proxy(self, proxy: UpstreamProxy) -> trio.abc.Stream:
        stream = await self._tcp(proxy.origin.host, proxy.origin.port)
        return await self._wrap(stream, proxy.origin.host) if proxy.origin.scheme == "https" else stream

    async def _tcp(self, host: str, port: int) -> trio.abc.Stream:
        address = self._settings.upstream_addresses.get(host, host)
        try:
            stream = await trio.open_tcp_stream(address, port)  # noqa: TID251  # this is the one way out  # this is proxy/upstream's way out
        except OSError as exc:
            raise _connect_error(exc, host) from exc
        if self._is_loop(stream):
            await trio.aclose_forcefully(stream)
            raise UpstreamLoopError(
                f"{host} port {port} is this proxy itself; if a hosts file leads it here, set upstream_addresses"
            )
        if self._is_beyond_reach(host, port, stream):
            await trio.aclose_forcefully(stream)
            raise UpstreamError(
                f"{host} port {port} is a service of the proxy's own machine, and other machines may use this proxy",
                kind="forbidden",
            )
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return direct(stream)

    def _is_loop(self, stream: trio.SocketStream) -> bool:
        """Whether the peer is one of our own listeners, by its address or, for a wildcard, by its port on this host."""
        try:
            ours, peer = stream.socket.getsockname()[0], stream.socket.getpeername()
        except OSError:  # reset already; the first use will say so
            return False
        address = _unmapped(peer[0])
        if (address, peer[1]) in self.listening:
            return True
        here = peer[0] == ours or is_loopback(address)
        return here and any(port == peer[1] and host in _WILDCARDS for host, port in self.listening)

    def _is_beyond_reach(self, host: str, port: int, stream: trio.SocketStream) -> bool:
        """Whether a client chose a service of this machine through a proxy that other machines may use as well.

        Such services (the REST API without a token is one) trust whoever reaches a loopback address; who sits at
        another machine must not get there by way of us. What the configuration names is the owner's own choice.
        """
        if all(is_loopback(address) for address, _ in self.listening):
            return False
        settings = self._settings
        named = [way.origin for way in (settings.upstream, settings.upstream_proxy) if way is not None]
        if host in settings.upstream_addresses or (host, port) in [(origin.host, origin.port) for origin in named]:
            return False
        try:
            return is_loopback(stream.socket.getpeername()[0])
        except OSError:  # reset already; the first use will say so
            return False

    async def _wrap(self, stream: trio.abc.Stream, host: str) -> trio.abc.Stream:
        tls = UpstreamTLSStream(stream, self._client_config(), server_hostname=host)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError as exc:
            await trio.aclose_forcefully(stream)
            raise _handshake_error(exc, host) from exc
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return tls


def _unmapped(address: str) -> str:
    """An IPv4 address that came as an IPv6 one (``::ffff:127.0.0.1``) in its own form."""
    return address.removeprefix("::ffff:") if "." in address else address


def socket_of(stream: trio.abc.Stream) -> trio.SocketStream:
    """The socket at the bottom of a stream that this module opened."""
    while not isinstance(stream, trio.SocketStream):
        stream = _below(stream)
    return stream


def _below(stream: trio.abc.Stream) -> trio.abc.Stream:
    if isinstance(stream, DirectStream):
        return stream.raw
    assert isinstance(stream, PrefixedStream | UpstreamTLSStream)
    return stream.transport


@contextmanager
def _limited(seconds: float, host: str) -> Iterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as exc:
        raise UpstreamError(f"no connection to {host} within {seconds:g} seconds", kind="timeout") from exc


async def _connect_through(
    stream: trio.abc.Stream, host: str, port: int, proxy: UpstreamProxy, max_head_bytes: int
) -> trio.abc.Stream:
    """Ask the upstream proxy for a tunnel (RFC 9110, 9.3.6)."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode()
    if proxy.authorization is not None:
        request += b"Proxy-Authorization: " + proxy.authorization + b"\r\n"
    parser = HeadParser(max_bytes=max_head_bytes)
    try:
        await stream.send_all(request + b"\r\n")
        while (head := parser.response(method="CONNECT")) is None or head.status_code < 200:
            if head is not None:
                continue
            data = await stream.receive_some(CHUNK)
            if not data:
                raise UpstreamError("the upstream proxy closed the connection", kind="proxy")
            parser.feed(data)
    except (trio.BrokenResourceError, ProtocolError) as exc:
        raise UpstreamError("the upstream proxy did not answer as a proxy does", kind="proxy") from exc
    if head.status_code >= 300:
        hint = ": check the credentials in upstream_proxy" if head.status_code == 407 else ""
        raise UpstreamError(f"the upstream proxy refused with status {head.status_code}{hint}", kind="proxy")
    rest = parser.leftover
    return PrefixedStream(stream, rest) if rest else stream


def _connect_error(exc: OSError, host: str) -> UpstreamError:
    causes: list[BaseException] = [exc]
    if isinstance(exc.__cause__, BaseExceptionGroup):  # trio tried several addresses
        causes += exc.__cause__.exceptions
    elif exc.__cause__ is not None:
        causes.append(exc.__cause__)
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return UpstreamError(f"the name {host} does not resolve", kind="dns")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return UpstreamError(f"{host} refuses the connection", kind="refused")
    return UpstreamError(f"{host} cannot be reached", kind="unreachable")


def _handshake_error(exc: trio.BrokenResourceError, host: str) -> UpstreamError:
    cause = exc.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return UpstreamError(
            f"the certificate of {host} is not trusted ({cause.verify_message}); "
            "if a company inspects TLS on the way, set upstream_ca to its CA file",
            kind="certificate",
        )
    if isinstance(cause, ssl.SSLEOFError):
        return UpstreamError(f"{host} closed the connection during the TLS handshake", kind="closed")
    if isinstance(cause, ssl.SSLError):
        return UpstreamError(f"no TLS with {host} ({cause.reason or 'handshake failed'})", kind="tls")
    return UpstreamError(f"{host} reset the connection during the TLS handshake", kind="reset")
