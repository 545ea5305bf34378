"""`ProxyServer`: the listeners, a task for each connection, and an end that lets streams finish.

Apart from what a connection does (`connection`). It owns the nursery of connections and the shutdown; it never looks at
a byte. Only the failure of a listener ends `run`.
"""

from __future__ import annotations

import errno
import socket
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from claudeproxy.logs import get_logger
from claudeproxy.proxy.admission import Admission, Admitted
from claudeproxy.proxy.connection import ClientConnection
from claudeproxy.proxy.context import ProxyContext
from claudeproxy.proxy.entry import Endpoints, Layer
from claudeproxy.proxy.session import HTTPSession
from claudeproxy.proxy.settings import ProxySettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from claudeproxy.model import Tap
    from claudeproxy.proxy.accepting import SharedListener
    from claudeproxy.tls.cache import CertificateCache

log = get_logger("claudeproxy.proxy")

# accept(2) fails with these when the machine is short of something, and works again when it is not.
_SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_SHORTAGE_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatistics:
    """Numbers of a running proxy: what is open now, and totals since it was made."""

    connections: int
    connections_total: int
    connections_refused: int
    connections_displaced: int
    exchanges: int
    exchanges_total: int
    tunnels: int
    tunnels_total: int
    handshakes_failed: int
    upstream_idle: int
    upstream_opened: int
    upstream_reused: int
    capture_failures: int
    draining: bool


class ProxyServer:
    """An HTTP/1.1 proxy for one API. Usable alone: `run` in a nursery of yours, or `handle_connection` for a stream.

    Without `certificates` nothing is decrypted. `tap` hears of every exchange on an intercepted host. `on_load` is told
    how many connections there are whenever that changes.
    """

    def __init__(
        self,
        settings: ProxySettings | None = None,
        *,
        certificates: CertificateCache | None = None,
        tap: Tap | None = None,
        on_load: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._context = ProxyContext.make(settings or ProxySettings(), certificates, tap)
        self._admission = Admission(self._context, on_load)
        self._stop_accepting = trio.CancelScope()
        self._connections: trio.CancelScope | None = None
        self._draining = trio.Event()
        self._ended = trio.Event()

    def __repr__(self) -> str:
        return f"<ProxyServer {self._context.counters.connections} connections>"

    @property
    def settings(self) -> ProxySettings:
        """What it was told."""
        return self._context.settings

    def should_intercept(self, host: str) -> bool:
        """Whether traffic to `host` is opened up and recorded."""
        return self.settings.decrypt and host in self.settings.intercept

    async def run(
        self,
        listeners: Sequence[trio.SocketListener | SharedListener] | None = None,
        *,
        task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept connections until cancelled or drained; started with the bound (IP, port)s.

        Cancelling it stops the listeners at once and gives connections `drain_seconds` to end, shielded; `abort` cuts
        that short. Raises OSError when a listener cannot be opened or fails.
        """
        if listeners is None:
            listeners = await trio.open_tcp_listeners(self.settings.bind_port, host=self.settings.bind_host)
        bound = [_address(listener.socket.getsockname()) for listener in listeners]
        self._context.dialer.listening.update(bound)
        failures: list[OSError] = []
        try:
            async with trio.open_nursery() as nursery:
                connections = await nursery.start(self._hold_connections)
                try:
                    with self._stop_accepting:
                        async with trio.open_nursery() as accepting:
                            for listener in listeners:
                                accepting.start_soon(self._accept, listener, connections, failures)
                            log.debug("proxy listens", bound=[f"{host}:{port}" for host, port in bound])
                            task_status.started(bound)
                finally:
                    self._draining.set()
        finally:
            self._context.dialer.listening.difference_update(bound)
            self._ended.set()
        if failures:
            raise failures[0]

    async def drain(self) -> None:
        """Stop accepting, let connections end within `drain_seconds`, and wait for that."""
        self._stop_accepting.cancel()
        await self._ended.wait()

    def abort(self) -> None:
        """End every connection now; what was in flight is recorded as interrupted."""
        self._stop_accepting.cancel()
        if self._connections is not None:
            self._connections.cancel()

    async def _hold_connections(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Be the parent of all connections, shielded: the end of the listeners is not theirs."""
        with trio.CancelScope(shield=True) as self._connections:
            try:
                async with trio.open_nursery() as connections:
                    task_status.started(connections)
                    await self._draining.wait()
                    self._connections.deadline = trio.current_time() + self.settings.drain_seconds
                    self._context.close_idle()
            finally:
                await self._context.pool.aclose()

    async def _accept(
        self, listener: trio.SocketListener | SharedListener, connections: trio.Nursery, failures: list[OSError]
    ) -> None:
        async with listener:
            while True:
                try:
                    stream = await _accept_one(listener)
                except OSError as exc:
                    failures.append(exc)
                    self._stop_accepting.cancel()
                    return
                try:
                    admitted = await self._admission.admit(endpoints_of(stream).client)
                except BaseException:
                    # First, without a checkpoint between: whoever sees this connection end may connect again at once,
                    # and is then to be refused by the system rather than accepted by nobody.
                    listener.socket.close()
                    await trio.aclose_forcefully(stream)
                    raise
                if admitted is None:
                    await trio.aclose_forcefully(stream)
                else:
                    connections.start_soon(self._serve, stream, admitted)

    async def _serve(self, stream: trio.SocketStream, admitted: Admitted) -> None:
        try:
            await self.handle_connection(stream)
        except Exception as exc:  # noqa: BLE001  # a bug of ours ends this connection and no other
            for leaf in _leaves(exc):
                # Frames only: an exception's text or a frame's variables could hold a header or a body.
                frames = "".join(traceback.format_tb(leaf.__traceback__))
                log.error("connection failed", error=type(leaf).__name__, frames=frames)
        finally:
            self._admission.release(admitted)

    async def handle_connection(self, stream: trio.abc.Stream) -> None:
        """Serve one client's stream, whatever it speaks, until it ends; closes it."""
        counters = self._context.counters
        counters.connections += 1
        counters.connections_total += 1
        try:
            await ClientConnection(self._context, stream, endpoints_of(stream)).serve()
        finally:
            counters.connections -= 1

    async def proxy_request(self, stream: trio.abc.Stream, layer: Layer | None = None) -> None:
        """Answer one origin-form or absolute-form request that comes on `stream`, in the clear; closes it.

        :param layer: whom it is for, as if that much had been taken off the stream.
        """
        layer = layer or Layer()
        session = HTTPSession(self._context, stream, stream, layer, endpoints_of(stream), only_one=True)
        try:
            await session.serve()
        finally:
            await trio.aclose_forcefully(stream)

    def statistics(self) -> ProxyStatistics:
        """What is open now, and totals."""
        counters, pool = self._context.counters, self._context.pool
        return ProxyStatistics(
            connections=counters.connections,
            connections_total=counters.connections_total,
            connections_refused=self._admission.refused,
            connections_displaced=self._admission.displaced,
            exchanges=counters.exchanges,
            exchanges_total=counters.exchanges_total,
            tunnels=counters.tunnels,
            tunnels_total=counters.tunnels_total,
            handshakes_failed=counters.handshakes_failed,
            upstream_idle=pool.idle,
            upstream_opened=pool.opened,
            upstream_reused=pool.reused,
            capture_failures=self._context.tap.failures,
            draining=self._context.draining,
        )


async def _accept_one(listener: trio.SocketListener | SharedListener) -> trio.SocketStream:
    while True:
        try:
            return await listener.accept()
        except OSError as exc:
            if exc.errno in _SHORTAGE:
                log.warning("cannot accept for want of resources", error=errno.errorcode[exc.errno])
                await trio.sleep(_SHORTAGE_PAUSE)
            else:
                raise


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _leaves(inner)
    else:
        yield exc


def endpoints_of(stream: trio.abc.Stream) -> Endpoints:
    """Both addresses of a socket's stream; nothing for other streams."""
    if not isinstance(stream, trio.SocketStream):
        return Endpoints()
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # or a client that lost power is never noticed
        return Endpoints(local=_address(stream.socket.getsockname()), remote=_address(stream.socket.getpeername()))
    except OSError:  # gone already
        return Endpoints()


def _address(name: tuple[object, ...]) -> tuple[str, int]:
    host, port = name[0], name[1]
    assert isinstance(host, str)
    assert isinstance(port, int)
    return host, port
