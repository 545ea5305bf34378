"""What the connections of one proxy share: settings, certificates, pool, tap, counters.

Apart so that a connection knows these and not the server that accepted it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from claudeproxy.proxy.dial import Dialer
from claudeproxy.proxy.tap import NullTap, SafeTap
from claudeproxy.proxy.upstream import UpstreamPool
from claudeproxy.tls.contexts import make_client_context

if TYPE_CHECKING:
    import ssl

    import trio

    from claudeproxy.model import Tap
    from claudeproxy.proxy.settings import ProxySettings
    from claudeproxy.tls.cache import CertificateCache

MAX_REMEMBERED = 1024  # distrusting clients that were already logged; beyond it they are forgotten and logged anew


class Session(Protocol):
    """What the context asks of a client stream that speaks HTTP."""

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
    silent: set[trio.CancelScope] = field(default_factory=set)  # connections that have not said what they are
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

    def is_first_distrust(self, client: str, name: str) -> bool:
        """Whether this client was not seen to refuse the CA for this name before."""
        if (client, name) in self.distrusting:
            return False
        if len(self.distrusting) >= MAX_REMEMBERED:
            self.distrusting.clear()
        self.distrusting.add((client, name))
        return True
