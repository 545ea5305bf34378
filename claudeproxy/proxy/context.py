"""What the connections of one proxy share: settings, certificates, pool, tap, counters.

Apart so that a connection knows these and not the server that accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

from claudeproxy.proxy.dial import Dialer
from claudeproxy.proxy.tap import NullTap, SafeTap
from claudeproxy.proxy.upstream import UpstreamPool
from claudeproxy.tls.contexts import make_client_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    import trio

    from claudeproxy.model import Tap
    from claudeproxy.proxy.settings import ProxySettings
    from claudeproxy.tls.cache import CertificateCache

MAX_REMEMBERED = 1024  # distrusting clients that were already logged; beyond it they are forgotten and logged anew


class Session(Protocol):
    """What the context asks of a client stream that speaks HTTP."""

    @property
    def client(self) -> str:
        """The client's address."""
        ...

    @property
    def idle_since(self) -> float | None:
        """When it came to lie between two requests; None while it does not."""
        ...

    def close_when_idle(self) -> None:
        """End between two requests."""
        ...


@dataclass(slots=True, kw_only=True)
class Counters:
    """Plain numbers that the connections move; `ProxyServer.statistics` reads them."""

    connections: int = 0
    connections_total: int = 0
    exchanges: int = 0
    exchanges_total: int = 0
    tunnels: int = 0
    tunnels_total: int = 0
    handshakes_failed: int = 0


@dataclass(kw_only=True)
class ProxyContext:
    """One per `ProxyServer`. `draining`: no new requests, what runs may end."""

    settings: ProxySettings
    certificates: CertificateCache | None
    tap: SafeTap
    counters: Counters = field(default_factory=Counters)
    sessions: set[Session] = field(default_factory=set)
    silent: dict[trio.CancelScope, str] = field(default_factory=dict)  # clients that have not said what they speak
    draining: bool = False
    distrusting: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def make(cls, settings: ProxySettings, certificates: CertificateCache | None, tap: Tap | None) -> ProxyContext:
        """A context with its guard round the tap."""
        return cls(settings=settings, certificates=certificates, tap=SafeTap(tap if tap is not None else NullTap()))

    @property
    def can_decrypt(self) -> bool:
        """Whether TLS can be terminated at all."""
        return self.certificates is not None

    @cached_property
    def dialer(self) -> Dialer:
        """Opens connections to upstreams."""
        return Dialer(self.settings, self._client_config)

    @cached_property
    def pool(self) -> UpstreamPool:
        """Keeps idle ones."""
        return UpstreamPool(self.settings, self.dialer)

    def _client_config(self) -> ssl.SSLContext:
        return self._plain_config if self.certificates is None else self.certificates.get_client_config()

    @cached_property
    def _plain_config(self) -> ssl.SSLContext:
        """The upstream's trust when there are no certificates of ours: the system's."""
        return make_client_context()

    def close_idle(self) -> None:
        """Let go of every connection that has no request on its way; the others end after theirs."""
        self.draining = True
        for limit in list(self.silent):
            limit.cancel()
        for session in list(self.sessions):
            session.close_when_idle()

    def close_longest_idle(self, client: str | None = None) -> bool:
        """Close the connection that lies unused longest, to make room; False when none does. `client`: only its own."""
        waiting: list[tuple[float, Callable[[], None]]] = [
            (limit.deadline - self.settings.head_timeout, limit.cancel)
            for limit, host in self.silent.items()
            if client in (None, host) and not limit.cancel_called
        ]
        waiting += [
            (since, session.close_when_idle)
            for session in self.sessions
            if client in (None, session.client) and (since := session.idle_since) is not None
        ]
        if not waiting:
            return False
        min(waiting, key=itemgetter(0))[1]()
        return True

    def is_first_distrust(self, client: str, name: str) -> bool:
        """Whether this client was not seen to refuse the CA for this name before."""
        if (client, name) in self.distrusting:
            return False
        if len(self.distrusting) >= MAX_REMEMBERED:
            self.distrusting.clear()
        self.distrusting.add((client, name))
        return True
