"""What the relay may be told: where to listen, what to open up, where to send it, and every limit with its reason.

Apart from `config` so that the proxy can be used as a library without a file or an environment: `service` translates
the one into the other. Values only; nothing here opens, resolves or checks anything on the machine.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from claudeproxy.errors import ConfigError, ProtocolError
from claudeproxy.model import Origin
from claudeproxy.sansio.target import HostSet, normalize_host

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_PORTS = {"http": 80, "https": 443}
_INTERCEPT = HostSet(("anthropic.com", "claude.ai", "claude.com"))
_API = Origin(scheme="https", host="api.anthropic.com", port=443)
_API_HOSTS = HostSet((_API.host,))
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """An origin with a base path: `https://gateway.example/anthropic` puts `/anthropic` before every path."""

    origin: Origin
    base_path: str = ""

    def __str__(self) -> str:
        return f"{self.origin}{self.base_path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamProxy:
    """A proxy that leads to the upstream; `authorization` is the value of Proxy-Authorization, None without."""

    origin: Origin
    authorization: bytes | None = field(default=None, repr=False)


def parse_upstream(url: str) -> Upstream:
    """`https://host[:port][/base]` as a value. Raises ConfigError."""
    origin, _, path = _split(url)
    return Upstream(origin=origin, base_path=path.rstrip("/"))


def parse_upstream_proxy(url: str) -> UpstreamProxy:
    """`http[s]://[user:password@]host[:port]`, credentials percent-encoded. Raises ConfigError."""
    origin, credentials, _ = _split(url)
    authorization = None if credentials is None else b"Basic " + b64encode(credentials.encode())
    return UpstreamProxy(origin=origin, authorization=authorization)


def _split(url: str) -> tuple[Origin, str | None, str]:
    """(origin, `user:password` or None, path). No message of ours repeats the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigError("not a URL: write http://HOST:PORT or https://HOST:PORT") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError("not an http or https URL with a host: write http://HOST:PORT or https://HOST:PORT")
    if parts.query or parts.fragment:
        raise ConfigError("an upstream URL has no query and no fragment")
    try:
        name = normalize_host(host)
    except ProtocolError as exc:
        raise ConfigError(str(exc)) from None
    origin = Origin(scheme=parts.scheme, host=name, port=port or _DEFAULT_PORTS[parts.scheme])
    if parts.username is None:
        return origin, None, parts.path
    return origin, f"{unquote(parts.username)}:{unquote(parts.password or '')}", parts.path


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """All a `ProxyServer` needs to know. Times are seconds, sizes bytes."""

    bind_host: str = "127.0.0.1"  # used by `ProxyServer.run` when it is handed no listeners
    bind_port: int = 8443

    decrypt: bool = True
    """False (`enabled: false`): CONNECT and listed TLS names are tunnelled, nothing is recorded."""
    intercept: HostSet = _INTERCEPT
    """The include list, on label boundaries. Everything else is relayed unseen."""
    api_origin: Origin = _API
    """Whom a reverse-mode request is addressed to; names its URL in the record."""
    api_hosts: HostSet = _API_HOSTS
    """The hosts whose traffic goes to `upstream`; other intercepted hosts always go to their own authority."""
    upstream: Upstream | None = None
    """A gateway or test server in place of the API; None: the host that the client asked for."""
    upstream_addresses: Mapping[str, str] = field(default_factory=dict)
    """Host to IP, as curl's `--resolve`: needed when a hosts file points the API's name at us."""
    upstream_proxy: UpstreamProxy | None = None
    """A corporate proxy on the way to every upstream that is not on this machine."""
    accepted_hosts: frozenset[str] = frozenset()
    """Names of ours beside the loopback ones: accepted in Host, Origin and SNI as meaning this proxy."""
    proxy_auth: str | None = field(default=None, repr=False)
    """`user:password` that a client must show; None asks for nothing."""
    transparent_port: int = 443
    """Where a TLS client that came by name alone wanted to go: a hosts file or a redirect catches port 443."""

    connect_timeout: float = 10.0
    """Name, TCP, upstream proxy and TLS together. The API answers a handshake in 0.1 s; a dead route never does."""
    handshake_timeout: float = 15.0
    """A client's TLS handshake. Longer than ours to the upstream: a busy machine starts clients slowly."""
    head_timeout: float = 30.0
    """From the first byte of a request's head to its last: a head that trickles (slow-loris) must not hold a task."""
    idle_timeout: float = 300.0
    """A client connection without a request. Longer than clients keep theirs (undici 4 s, Bun and axios 5 min at
    most), so that it is the client who closes and no request races with our FIN."""
    upstream_idle_timeout: float = 55.0
    """A pooled upstream connection. Shorter than common servers keep theirs (60 s and more): see RFC 9112, 9.3.1."""
    linger_timeout: float = 2.0
    """How long an answered client may go on sending what nobody will read, so that a reset does not eat the answer."""
    drain_seconds: float = 10.0
    """How long connections may go on after `run` is told to stop."""
    max_head_bytes: int = 65536
    """A request or response head. Real ones have 2 to 3 KB; cookies and beta lists can grow."""
    max_header_fields: int = 200
    """Of a head. Clients send some 30; servers take 100 and more."""
    max_connections: int = 1000
    """Open client connections. For a further one the longest unused is closed; while there is none, it waits. Each
    costs two descriptors at most, and the usual limit of a process is 1,024 soft, raised by `serve`."""
    max_connections_per_client: int = 800
    """Of one address: a client that loses its connections must leave room for the others."""
    max_idle_per_origin: int = 32
    """Pooled connections to one origin: a client's burst of parallel requests was seen to need 20."""
    max_idle_total: int = 64

    def is_own_name(self, host: str) -> bool:
        """Whether `host` (normal form) names this proxy itself."""
        return host in LOOPBACK_NAMES or host in self.accepted_hosts
