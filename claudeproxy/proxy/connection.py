"""A client's connection: classify, unwrap, classify again, until there is HTTP to answer or a tunnel to carry.

Apart from the decisions (`entry`), which are pure, and from HTTP (`session`). Three levels at most: TLS to this proxy,
a CONNECT inside, TLS to the host inside that. A failure ends this connection and no other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import HandshakeError, ProtocolError, UpstreamError
from claudeproxy.logs import get_logger
from claudeproxy.model import EntryMode
from claudeproxy.proxy.answers import bad_gateway, bad_request
from claudeproxy.proxy.entry import (
    ConnectRequest,
    Endpoints,
    Layer,
    Opening,
    TLSAction,
    TLSDecision,
    classify,
    decide_connect,
    decide_tls,
)
from claudeproxy.proxy.session import HTTPSession, refuse
from claudeproxy.proxy.sockets import direct
from claudeproxy.proxy.streams import Ending, PrefixedStream, reset, splice
from claudeproxy.sansio.clienthello import ClientHello, parse_client_hello
from claudeproxy.tls.stream import TLSStream

if TYPE_CHECKING:
    from claudeproxy.proxy.context import ProxyContext

log = get_logger("claudeproxy.proxy")

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# RFC 6066, 3: a fatal unrecognized_name(112), in the clear, because no keys exist yet.
_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
# RFC 8446, 6.2: a fatal decode_error(50).
_DECODE_ERROR = b"\x15\x03\x03\x00\x02\x02\x32"


class ClientConnection:
    """One accepted connection, from its first byte to its close."""

    def __init__(self, context: ProxyContext, stream: trio.abc.Stream, endpoints: Endpoints) -> None:
        self._context = context
        self._settings = context.settings
        self._raw = stream
        self._endpoints = endpoints

    def __repr__(self) -> str:
        return f"<ClientConnection from {self._client}>"

    async def serve(self) -> None:
        """Serve it until it ends; the stream is closed then. Raises nothing that the peers can cause."""
        try:
            await self._unwrap(PrefixedStream(direct(self._raw)), Layer())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            log.debug("connection broke", client=self._client, error=str(exc))
        finally:
            await trio.aclose_forcefully(self._raw)

    @property
    def _client(self) -> str:
        return self._endpoints.client

    async def _unwrap(self, stream: PrefixedStream, layer: Layer) -> None:
        """Classify a stream by its first byte and go on from there."""
        if not stream.prefix and not await self._wait_for_first(stream):
            return
        match classify(stream.prefix):
            case Opening.TLS:
                await self._unwrap_tls(stream, layer)
            case Opening.HTTP:
                await self._serve_http(stream, layer)
            case Opening.JUNK:
                answer = bad_request(ProtocolError("neither HTTP nor TLS"))
                await refuse(stream, answer, self._settings.linger_timeout)

    async def _wait_for_first(self, stream: PrefixedStream) -> bool:
        """Whether a first byte came, before the limit and before the proxy is told to stop."""
        silent = self._context.silent
        with trio.move_on_after(0 if self._context.draining else self._settings.head_timeout) as limit:
            silent[limit] = self._client
            try:
                return await stream.look_further()
            finally:
                del silent[limit]
        return False

    # ---- HTTP

    async def _serve_http(self, stream: PrefixedStream, layer: Layer) -> None:
        below, first = stream.split()
        session = HTTPSession(self._context, below, self._raw, layer, self._endpoints, first=first)
        request = await session.serve()
        if request is not None:
            await self._connect(PrefixedStream(below, session.pending), layer, request)

    async def _connect(self, stream: PrefixedStream, layer: Layer, request: ConnectRequest) -> None:
        """Answer a CONNECT: open the tunnel up, or carry it as it is."""
        if not decide_connect(self._settings, request.host, can_decrypt=self._context.can_decrypt):
            await self._tunnel(stream, request.host, request.port, greeting=_ESTABLISHED)
            return
        await stream.send_all(_ESTABLISHED)
        authority = (request.host, request.port)
        # Whoever came this far has shown the credentials that are asked for. The bytes inside a CONNECT are no TLS of
        # ours, even where the CONNECT itself came over TLS.
        await self._unwrap(stream, Layer(mode=EntryMode.CONNECT, authority=authority, authenticated=True))

    # ---- TLS

    async def _unwrap_tls(self, stream: PrefixedStream, layer: Layer) -> None:
        try:
            with trio.fail_after(self._settings.handshake_timeout):
                hello = await _read_hello(stream)
        except (ProtocolError, trio.TooSlowError) as exc:
            log.info("no TLS ClientHello", client=self._client, error=str(exc) or "timeout")
            await _send_alert(stream, _DECODE_ERROR)
            return
        if hello is None:
            return
        decision = decide_tls(self._settings, layer, self._endpoints, hello.sni, can_decrypt=self._context.can_decrypt)
        match decision.action:
            case TLSAction.TUNNEL:
                await self._tunnel(stream, decision.host, decision.port)
            case TLSAction.INTERCEPT | TLSAction.TERMINATE if self._context.certificates is not None:
                await self._terminate(stream, layer, decision, hello.sni)
            case _:
                log.info("TLS refused", client=self._client, server_name=hello.sni)
                await _send_alert(stream, _UNRECOGNIZED_NAME)

    async def _terminate(self, stream: PrefixedStream, layer: Layer, decision: TLSDecision, sni: str | None) -> None:
        certificates = self._context.certificates
        assert certificates is not None
        below, first = stream.split()
        tls = TLSStream(below, certificates.server_context(), default_host=decision.host, first=first)
        try:
            with trio.fail_after(self._settings.handshake_timeout):
                await tls.do_handshake()
        except (HandshakeError, trio.TooSlowError) as exc:
            self._handshake_failed(exc, sni or decision.host)
            return
        inner = replace(layer, tls=True)
        if decision.action is TLSAction.INTERCEPT and layer.authority is None:
            inner = replace(inner, mode=EntryMode.TLS, authority=(decision.host, decision.port))
        await self._unwrap(PrefixedStream(tls), inner)

    def _handshake_failed(self, exc: HandshakeError | trio.TooSlowError, name: str) -> None:
        self._context.counters.handshakes_failed += 1
        if not isinstance(exc, HandshakeError) or not exc.distrusted:
            log.info("TLS handshake failed", client=self._client, server_name=name, error=str(exc) or "timeout")
        elif self._context.is_first_distrust(self._client, name):
            log.warning(
                "a client does not trust the certificate authority of claudeproxy",
                client=self._client,
                server_name=name,
                error=str(exc),
                remedy="start it with `claudeproxy run -- ...`, or set NODE_EXTRA_CA_CERTS (SSL_CERT_FILE for Python) "
                "to the file that `claudeproxy ca path` prints, or run `claudeproxy ca install`",
            )

    # ---- tunnels

    async def _tunnel(self, stream: PrefixedStream, host: str, port: int, *, greeting: bytes = b"") -> None:
        """Carry bytes to `host:port` and back, unopened. `greeting` tells an HTTP client that it may begin."""
        try:
            upstream = await self._context.dialer.open(host, port)
        except UpstreamError as exc:
            log.warning("tunnel failed", host=host, port=port, kind=exc.kind, error=str(exc))
            if greeting:
                await refuse(stream, bad_gateway(exc), self._settings.linger_timeout)
            return
        counters = self._context.counters
        counters.tunnels += 1
        counters.tunnels_total += 1
        try:
            if greeting:
                await stream.send_all(greeting)
            ending = await splice(stream, upstream)
            if ending is Ending.RIGHT_BROKE:
                await reset(stream, self._raw)
        finally:
            counters.tunnels -= 1
            await trio.aclose_forcefully(upstream)


async def _read_hello(stream: PrefixedStream) -> ClientHello | None:
    """Look at the ClientHello without taking it; None when the client closed first. Raises ProtocolError."""
    while (hello := parse_client_hello(stream.prefix)) is None:
        if not await stream.look_further():
            return None
    return hello


async def _send_alert(stream: trio.abc.Stream, alert: bytes) -> None:
    try:
        await stream.send_all(alert)
    except trio.BrokenResourceError:
        return
    with trio.move_on_after(1):  # let the client read it: a reset could be faster
        await stream.aclose()
