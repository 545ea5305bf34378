"""What a connection is and where it goes, decided on its first bytes and on the heads of its requests.

One port takes every kind of client: CONNECT, TLS to us, TLS to somebody whose name leads to us, origin-form and
absolute-form requests. A stream is classified, wrapped, classified again; `Layer` says what was taken off so far. All
functions here are pure and synchronous: settings and bytes in, a decision out. The I/O stands in `connection`.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError
from claudeproxy.model import EntryMode, Origin
from claudeproxy.proxy.answers import OwnAnswer, credentials_required, forbidden
from claudeproxy.proxy.settings import Upstream
from claudeproxy.sansio.headers import Framing, RequestHead, get, get_all, request_framing
from claudeproxy.sansio.target import Target, is_loopback, parse_authority, parse_target

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders
    from claudeproxy.proxy.settings import ProxySettings

_METHOD_OR_EMPTY_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]|\r")
_ORIGIN = re.compile(r"https?://([^/]+)", re.ASCII | re.IGNORECASE)


class Opening(Enum):
    """What the first byte of a stream says."""

    TLS = auto()
    HTTP = auto()
    JUNK = auto()


def classify(first: bytes) -> Opening:
    """TLS handshake record (RFC 8446, 5.1), something that may be a request line, or neither."""
    if first[0] == 0x16:
        return Opening.TLS
    return Opening.HTTP if _METHOD_OR_EMPTY_LINE.match(first) else Opening.JUNK


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """The two ends of a client's TCP connection, (IP, port) each; None for a stream that is no socket."""

    local: tuple[str, int] | None = None
    remote: tuple[str, int] | None = None

    @property
    def client(self) -> str:
        """The client's address; for a stream that is no socket, that it is unknown."""
        return self.remote[0] if self.remote is not None else "unknown"

    @property
    def loopback(self) -> bool:
        """Whether the client is on this machine for certain: it connected to a loopback address."""
        return self.local is not None and is_loopback(self.local[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What is known of a stream from what was taken off it. At most three: TLS to us, CONNECT, TLS to the host."""

    mode: EntryMode | None = None  # CONNECT or TLS once the inside is addressed to `authority`
    authority: tuple[str, int] | None = None  # whom everything inside is for
    tls: bool = False  # these bytes came out of TLS
    authenticated: bool = False  # the client showed its credentials further out


class TLSAction(Enum):
    """What to do with a ClientHello."""

    TERMINATE = auto()  # it is for this proxy: unwrap and classify again
    INTERCEPT = auto()  # it is for a host on the include list: unwrap as that host
    TUNNEL = auto()  # it is for somebody else: carry it there unopened
    REFUSE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSDecision:
    """`host` is the certificate to show without SNI, or where to tunnel to; `port` where the inside is addressed."""

    action: TLSAction
    host: str = ""
    port: int = 443


def decide_tls(
    settings: ProxySettings, layer: Layer, endpoints: Endpoints, sni: str | None, *, can_decrypt: bool
) -> TLSDecision:
    """Judge a ClientHello on a stream whose wrappings are `layer`."""
    if layer.tls:  # TLS in TLS makes sense only with a CONNECT between the two, which starts a new layer
        return TLSDecision(action=TLSAction.REFUSE)
    if layer.authority is not None:
        return TLSDecision(action=TLSAction.INTERCEPT, host=layer.authority[0], port=layer.authority[1])
    local = endpoints.local[0] if endpoints.local is not None else "localhost"
    if sni is None or settings.is_own_name(sni):
        # By IP there is no SNI (RFC 6066, 3). Beyond loopback only an address that was declared to be ours is.
        ours = sni is not None or endpoints.loopback or settings.is_own_name(local)
        return TLSDecision(action=TLSAction.TERMINATE if ours else TLSAction.REFUSE, host=sni or local)
    listed = sni in settings.intercept
    if listed and settings.decrypt and can_decrypt:
        return TLSDecision(action=TLSAction.INTERCEPT, host=sni, port=settings.transparent_port)
    # A tunnel cannot ask for credentials, and for any name at all it would make us an open relay.
    if settings.proxy_auth is None and (listed or endpoints.loopback):
        return TLSDecision(action=TLSAction.TUNNEL, host=sni, port=settings.transparent_port)
    return TLSDecision(action=TLSAction.REFUSE)


def decide_connect(settings: ProxySettings, host: str, *, can_decrypt: bool) -> bool:
    """Whether a CONNECT tunnel to `host` is opened up; otherwise it is carried unopened."""
    return settings.decrypt and can_decrypt and host in settings.intercept


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectRequest:
    """A tunnel that a client asks for."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where one request goes. `host` is the new value of the Host field, None to leave it as it came."""

    mode: EntryMode
    origin: Origin
    target: str
    url: str
    upstream_url: str
    record: bool
    host: bytes | None = None


def route_request(
    settings: ProxySettings, layer: Layer, endpoints: Endpoints, head: RequestHead
) -> Route | ConnectRequest | OwnAnswer:
    """Decide on one request. Raises ProtocolError for a target or Host that is none."""
    target = parse_target(head.method, head.target)
    if settings.proxy_auth is not None and not layer.authenticated and not _authorized(head, settings.proxy_auth):
        return credentials_required()
    if layer.authority is not None:
        return _route_inside(settings, layer, layer.authority, target, head.headers)
    if target.form == "authority":
        assert target.host is not None
        assert target.port is not None
        if request_framing(head)[0] is not Framing.NONE and get(head.headers, b"content-length") != b"0":
            raise ProtocolError("a CONNECT has no body")  # it would be carried as the tunnel's first bytes
        return ConnectRequest(host=target.host, port=target.port)
    if not _origin_is_ours(settings, head.headers):
        return forbidden("a web page's request is not relayed (its Origin is not this machine)")
    if _from_another_site(head.headers):
        return forbidden("a web page's request is not relayed (Sec-Fetch-Site says that it is of another site)")
    if target.form == "absolute" and not _is_self(settings, endpoints, target):
        return _route_absolute(settings, target, head.headers)
    if target.form != "absolute" and not _host_is_ours(settings, head):
        return forbidden(
            "the Host of this request is not this proxy; "
            "use HTTPS_PROXY, or ANTHROPIC_BASE_URL with the address that the proxy listens on"
        )
    return _route_reverse(settings, target)


def _route_inside(
    settings: ProxySettings, layer: Layer, authority: tuple[str, int], target: Target, headers: RawHeaders
) -> Route:
    if target.form == "authority":
        raise ProtocolError("CONNECT inside a tunnel that was opened up")
    origin = Origin(scheme="https" if layer.tls else "http", host=authority[0], port=authority[1])
    if target.form == "absolute" and (target.scheme, target.host, target.port) != (origin.scheme, *authority):
        raise ProtocolError("the request's target is not the host that the tunnel leads to")
    assert layer.mode is not None
    route = _route(settings, layer.mode, origin, target.path)
    host = get(headers, b"host")
    if target.form == "absolute" or host is None:  # HTTP/1.0 has no Host; what is sent on is HTTP/1.1
        return _with_host_of_origin(route, headers)
    # RFC 9110, 7.4: the other end may go by Host, and the record by the tunnel; so they must name the same host.
    if parse_authority(host.decode("latin-1"), default_port=origin.port)[0] != origin.host:
        raise ProtocolError("the Host of this request is not the host that the tunnel leads to", status_hint=421)
    return route


def _route_absolute(settings: ProxySettings, target: Target, headers: RawHeaders) -> Route:
    assert target.scheme is not None
    assert target.host is not None
    assert target.port is not None
    origin = Origin(scheme=target.scheme, host=target.host, port=target.port)
    return _with_host_of_origin(_route(settings, EntryMode.ABSOLUTE, origin, target.path), headers)


def _with_host_of_origin(route: Route, headers: RawHeaders) -> Route:
    """RFC 9112, 3.2.2: the target, not the Host that came with it, says who is meant."""
    if route.host is None and not _names(get(headers, b"host"), route.origin):
        return _replace_host(route, host_field(route.origin))
    return route


def _route_reverse(settings: ProxySettings, target: Target) -> Route:
    route = _route(settings, EntryMode.REVERSE, settings.api_origin, target.path, reverse=True)
    return _replace_host(route, host_field(route.origin))


def _route(settings: ProxySettings, mode: EntryMode, origin: Origin, path: str, *, reverse: bool = False) -> Route:
    upstream = Upstream(origin=origin)
    if settings.upstream is not None and (reverse or origin.host in settings.api_hosts):
        upstream = settings.upstream
    asterisk = path == "*"
    target = path if asterisk and not upstream.base_path else upstream.base_path + ("" if asterisk else path)
    return Route(
        mode=mode,
        origin=upstream.origin,
        target=target,
        url=f"{origin}{'' if asterisk else path}",
        upstream_url=f"{upstream}{'' if asterisk else path}",
        record=settings.decrypt and origin.host in settings.intercept,
        # A gateway finds its site by Host: its own name must stand there, not the API's.
        host=None if upstream.origin == origin else host_field(upstream.origin),
    )


def _replace_host(route: Route, host: bytes) -> Route:
    return Route(
        mode=route.mode,
        origin=route.origin,
        target=route.target,
        url=route.url,
        upstream_url=route.upstream_url,
        record=route.record,
        host=host,
    )


@lru_cache(maxsize=64)
def host_field(origin: Origin) -> bytes:
    """The value of Host for an origin: the port only where it is not the scheme's own (RFC 9110, 7.2)."""
    return str(origin).partition("://")[2].encode("ascii")


def _names(host: bytes | None, origin: Origin) -> bool:
    """Whether a Host value means `origin`; then it may stay as the client spelled it."""
    if host is None:
        return False
    default = 443 if origin.scheme == "https" else 80
    try:
        return parse_authority(host.decode("latin-1"), default_port=default) == (origin.host, origin.port)
    except ProtocolError:
        return False


def _authorized(head: RequestHead, proxy_auth: str) -> bool:
    """RFC 7617, in constant time."""
    shown = get(head.headers, b"proxy-authorization") or b""
    scheme, _, credentials = shown.partition(b" ")
    expected = b64encode(proxy_auth.encode())
    return scheme.lower() == b"basic" and hmac.compare_digest(credentials.strip(), expected)


def _is_self(settings: ProxySettings, endpoints: Endpoints, target: Target) -> bool:
    """An absolute-form request for our own address: a client with both ANTHROPIC_BASE_URL and HTTP_PROXY sends it."""
    assert target.host is not None
    own_port = endpoints.local is not None and endpoints.local[1] == target.port
    return own_port and settings.is_own_name(target.host)


def _host_is_ours(settings: ProxySettings, head: RequestHead) -> bool:
    """A page that rebinds its own name to our address still sends that name: only our names may come in Host."""
    hosts = get_all(head.headers, b"host")
    if not hosts:
        return head.http_version == "1.0"  # no browser speaks it; HTTP/1.1 without Host is refused by the parser
    return all(settings.is_own_name(parse_authority(host.decode("latin-1"), default_port=80)[0]) for host in hosts)


def _from_another_site(headers: RawHeaders) -> bool:
    """Browsers say so of forms, images and links too, which have no Origin; no page can forge it (Fetch Metadata)."""
    return any(value.strip().lower() == b"cross-site" for value in get_all(headers, b"sec-fetch-site"))


def _origin_is_ours(settings: ProxySettings, headers: RawHeaders) -> bool:
    """No Origin, or one of this machine: a page from anywhere else must not spend the user's credentials."""
    for value in get_all(headers, b"origin"):
        match = _ORIGIN.fullmatch(value.decode("latin-1").strip())
        if match is None:
            return False
        try:
            host, _ = parse_authority(match[1], default_port=80)
        except ProtocolError:
            return False
        if not settings.is_own_name(host):
            return False
    return True
