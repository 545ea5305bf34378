"""Connections to the upstream and the bounded pool of idle ones.

The rule that shapes it: nothing is ever sent twice. A pooled connection is looked at before it is used (readable means
closed, or worse: unasked-for bytes), and what closes all the same is reported, not retried (RFC 9110, 9.2.2). The pool
owns no task: what grew too old is closed when the pool is next touched.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import trio

from claudeproxy.errors import UpstreamError
from claudeproxy.proxy.sockets import CHUNK
from claudeproxy.proxy.streams import has_unread

if TYPE_CHECKING:
    from claudeproxy.model import Buffer, Origin
    from claudeproxy.proxy.dial import Dialer
    from claudeproxy.proxy.settings import ProxySettings


class UpstreamConnection:
    """One HTTP/1.1 connection to an origin. `reused` once it has carried an exchange to its end."""

    __slots__ = ("_raw", "_stream", "connect_us", "idle_since", "origin", "proxied", "proxy_authorization", "reused")

    def __init__(self, origin: Origin, stream: trio.abc.Stream, raw: trio.SocketStream) -> None:
        self.origin = origin
        self.proxied = False  # ends at an upstream proxy that wants absolute-form targets
        self.proxy_authorization: bytes | None = None
        self.reused = False
        self.connect_us = 0
        self.idle_since = 0.0
        self._stream = stream
        self._raw = raw

    def __repr__(self) -> str:
        return f"<UpstreamConnection {self.origin} {'reused' if self.reused else 'fresh'}>"

    @property
    def stream(self) -> trio.abc.Stream:
        """The stream itself, for a WebSocket that takes it over."""
        return self._stream

    def is_stale(self) -> bool:
        """Whether an idle connection may not be used: it is readable, so it was closed or talks unasked."""
        return self._raw.socket.fileno() < 0 or self._raw.socket.is_readable() or has_unread(self._stream)

    async def send(self, data: Buffer) -> None:
        """Send all of it. Raises UpstreamError."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise UpstreamError("the upstream closed the connection while being sent to", kind="reset") from exc

    async def receive(self) -> bytes:
        """What has arrived, empty at the end. Raises UpstreamError."""
        try:
            return bytes(await self._stream.receive_some(CHUNK))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise UpstreamError("the upstream reset the connection", kind="reset") from exc

    async def aclose(self) -> None:
        """Close at once and without ceremony: the user pays for every token that is still generated."""
        with trio.CancelScope(shield=True):  # it does not block, and a pool that is cancelled has more to close
            await trio.aclose_forcefully(self._stream)


class UpstreamPool:
    """Idle connections by origin, the latest first; as many in use as there are exchanges."""

    def __init__(self, settings: ProxySettings, dialer: Dialer) -> None:
        self._settings = settings
        self._dialer = dialer
        self._idle: dict[Origin, deque[UpstreamConnection]] = {}
        self._closing: list[UpstreamConnection] = []
        self.opened = 0
        self.reused = 0

    def __repr__(self) -> str:
        return f"<UpstreamPool {self.idle} idle, {self.opened} opened, {self.reused} reused>"

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return sum(len(group) for group in self._idle.values())

    def acquire_nowait(self, origin: Origin) -> UpstreamConnection | None:
        """An idle connection that is open as far as can be seen without sending, or None."""
        group = self._idle.get(origin)
        while group:
            connection = group.pop()
            if self._is_old(connection) or connection.is_stale():
                self._closing.append(connection)
                continue
            self.reused += 1
            connection.reused = True
            connection.connect_us = 0
            return connection
        self._idle.pop(origin, None)
        return None

    async def connect(self, origin: Origin) -> UpstreamConnection:
        """A new connection. Raises UpstreamError."""
        await self.sweep()
        begun = time.monotonic_ns()
        stream, raw = await self._dialer.open_origin(origin)
        self.opened += 1
        connection = UpstreamConnection(origin, stream, raw)
        connection.connect_us = (time.monotonic_ns() - begun) // 1000
        proxy = self._dialer.via_proxy(origin.host)
        if proxy is not None and origin.scheme == "http":
            connection.proxied = True
            connection.proxy_authorization = proxy.authorization
        return connection

    async def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose exchange ended cleanly on both sides."""
        await self.sweep()
        group = self._idle.setdefault(connection.origin, deque())
        if len(group) >= self._settings.max_idle_per_origin or self.idle >= self._settings.max_idle_total:
            await connection.aclose()
            return
        connection.idle_since = trio.current_time()
        group.append(connection)

    def _is_old(self, connection: UpstreamConnection) -> bool:
        return trio.current_time() - connection.idle_since > self._settings.upstream_idle_timeout

    async def sweep(self) -> None:
        """Close what was found stale or has been idle for too long."""
        for origin, group in list(self._idle.items()):
            while group and self._is_old(group[0]):
                self._closing.append(group.popleft())
            if not group:
                del self._idle[origin]
        while self._closing:
            await self._closing.pop().aclose()

    async def aclose(self) -> None:
        """Close every idle connection."""
        for group in self._idle.values():
            self._closing.extend(group)
        self._idle.clear()
        while self._closing:
            await self._closing.pop().aclose()
