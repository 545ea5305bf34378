"""`CertificateCache`: one certificate per host, made once, kept bounded, renewed in time.

Apart from the authority so that issuing stays a pure act and the proxy has one object for both of its TLS legs. It owns
no task and no file.
"""

from __future__ import annotations

import threading  # noqa: TID251 - a lock only: the library may be asked from worker threads as well as from Trio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from claudeproxy.tls.authority import CertificateAuthority, Leaf, utc_now
from claudeproxy.tls.contexts import make_client_context, make_server_context
from claudeproxy.tls.names import normalize

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from OpenSSL import SSL

RENEW_BEFORE = timedelta(days=30)
"""How long before its end a leaf is replaced: long enough that a client with a wrong clock does not notice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """Counts since the start, and how many hosts are held now."""

    hosts: int
    hits: int
    issued: int
    renewed: int
    evicted: int


class CertificateCache:
    """Leaves by host, least recently used ones dropped beyond `max_hosts`; and the contexts of both TLS legs.

    `upstream_ca` is a PEM file to trust besides the system's store. `on_issued` hears of every new leaf; it runs inside
    a handshake, so it must be quick.
    """

    def __init__(
        self,
        authority: CertificateAuthority,
        *,
        max_hosts: int = 256,  # a few KB each; real clients ask for some ten
        upstream_ca: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        on_issued: Callable[[Leaf], None] | None = None,
    ) -> None:
        self.authority = authority
        self._max_hosts = max_hosts
        self._upstream_ca = upstream_ca
        self._clock = clock
        self._on_issued = on_issued
        self._leaves: OrderedDict[str, Leaf] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._issued = self._renewed = self._evicted = 0

    def __repr__(self) -> str:
        return f"<CertificateCache {len(self._leaves)} of {self._max_hosts} hosts>"

    def get_server_config(self, domain: str) -> Leaf:
        """The leaf for a host name or IP address; 0.3 ms when it is new. Raises AuthorityError when not covered."""
        host = normalize(domain)
        with self._lock:  # held while issuing: a second caller for the same host waits instead of issuing again
            known = self._leaves.get(host)
            if known is not None and not self._is_due(known):
                self._leaves.move_to_end(host)
                self._hits += 1
                return known
            leaf = self.authority.generate_domain_cert(host, clock=self._clock)
            self._leaves[host] = leaf
            self._leaves.move_to_end(host)
            self._issued += 1
            self._renewed += known is not None
            while len(self._leaves) > self._max_hosts:
                self._leaves.popitem(last=False)
                self._evicted += 1
        if self._on_issued is not None:
            self._on_issued(leaf)
        return leaf

    def _is_due(self, leaf: Leaf) -> bool:
        # A leaf that ends with its authority cannot be had any longer: no use in renewing it at each handshake.
        left = leaf.not_after - self._clock()
        return left <= timedelta(0) or (left <= RENEW_BEFORE and leaf.not_after < self.authority.not_after)

    @cached_property
    def _server_context(self) -> SSL.Context:
        return make_server_context(self.get_server_config, self.authority.intermediate)

    def server_context(self) -> SSL.Context:
        """The context for every `TLSStream`: one for all, so a new host costs a leaf and not a context."""
        return self._server_context

    @cached_property
    def _client_context(self) -> ssl.SSLContext:
        return make_client_context(self._upstream_ca)

    def get_client_config(self) -> ssl.SSLContext:
        """The context for connections to the upstream, made at the first call. Raises ConfigError for a bad CA file."""
        return self._client_context

    def statistics(self) -> CacheStatistics:
        """Counts since the start."""
        return CacheStatistics(
            hosts=len(self._leaves),
            hits=self._hits,
            issued=self._issued,
            renewed=self._renewed,
            evicted=self._evicted,
        )
