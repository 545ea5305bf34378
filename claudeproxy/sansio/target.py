"""Who a request is for: host names, authorities, the four forms of a request target, and sets of hosts.

Apart because what is intercepted, tunnelled, refused or looped back is decided on these values, and two spellings of
one host (`API.Anthropic.com.`, `[0:0:0:0:0:0:0:1]`, `127.1`) must not be decided differently. One normal form comes
out; a spelling that clients and resolvers read differently is an error, not a guess. Nothing here resolves a name.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_NAME = 253  # RFC 1035, 2.3.4: 255 octets on the wire
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"  # underscores are no host names but stand in real DNS
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{0,5}))?", re.ASCII)
_ABSOLUTE = re.compile(r"(https?)://([^/?#]*)(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_VISIBLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=1024)  # every request asks several times, always for the same few
def normalize_host(host: str) -> str:
    """One spelling for a host: lower case, no trailing dot, an IP address in its shortest form, IPv6 unbracketed.

    IDNA names are taken as A-labels (`xn--...`) only. Raises ProtocolError for anything else, also for the number forms
    (`127.1`, `0x7f000001`, `2130706433`) that some resolvers read as IPv4 addresses (WHATWG URL, "ends in a number").
    """
    name = host.removesuffix(".").lower()
    if ":" in name:
        return _ipv6(name)
    # `host`, not `name`: lower() turns some other letters (the Kelvin sign) into ASCII.
    if not host.isascii() or not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ProtocolError(f"not a host name: {host[:80]!r}")
    if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ProtocolError(f"not an IPv4 address: {host[:80]!r}") from None
    return name


def _ipv6(text: str) -> str:
    if "%" in text:  # a zone names an interface of the sender's machine, not of ours (RFC 9110, 4.2.5 has none)
        raise ProtocolError("an IPv6 zone identifier is not part of an authority")
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ProtocolError(f"not an IPv6 address: {text[:80]!r}") from None


def parse_authority(text: str, *, default_port: int | None) -> tuple[str, int]:
    """Split `host:port` into (normal host, port); IPv6 in brackets.

    `default_port` stands in for a missing or empty port; None makes it mandatory, as in CONNECT (RFC 9110, 9.3.6).
    Raises ProtocolError, also for userinfo, which disguises authorities (RFC 9110, 4.2.4: treat it as an error).
    """
    if "@" in text:
        raise ProtocolError("user information is not allowed in an authority")
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise ProtocolError(f"not an authority: {text[:80]!r}")
    host, digits = match.group(1), match.group(2)
    host = _ipv6(host[1:-1]) if host.startswith("[") else normalize_host(host)
    if not digits:
        if default_port is None:
            raise ProtocolError(f"an authority without a port: {text[:80]!r}")
        return host, default_port
    port = int(digits)
    if not 0 < port < 65536:
        raise ProtocolError(f"not a port: {digits}")
    return host, port


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A request target (RFC 9112, 3.2). `path` holds the query too; `*` for asterisk, empty for authority form."""

    form: Literal["origin", "absolute", "authority", "asterisk"]
    scheme: str | None
    host: str | None
    port: int | None
    path: str


def parse_target(method: str, target: str) -> Target:
    """Read the target of a request line; which form is allowed depends on the method.

    The path is passed on as it is: what it means is the origin server's to judge. Raises ProtocolError.
    """
    if not _VISIBLE.fullmatch(target):
        raise ProtocolError("a request target holds visible ASCII characters only")
    if method == "CONNECT":
        host, port = parse_authority(target, default_port=None)
        return Target(form="authority", scheme=None, host=host, port=port, path="")
    if target.startswith("/"):
        return Target(form="origin", scheme=None, host=None, port=None, path=target)
    if target == "*":
        if method != "OPTIONS":  # RFC 9112, 3.2.4: only for a server-wide OPTIONS
            raise ProtocolError("the target * is for OPTIONS only")
        return Target(form="asterisk", scheme=None, host=None, port=None, path="*")
    return _absolute(method, target)


def _absolute(method: str, target: str) -> Target:
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        raise ProtocolError(f"not a request target: {target[:80]!r}")
    scheme = match.group(1).lower()
    host, port = parse_authority(match.group(2), default_port=_DEFAULT_PORTS[scheme])
    path = match.group(3)
    if path.startswith("#"):
        raise ProtocolError("a request target has no fragment")
    if path.startswith("?"):
        path = "/" + path
    elif not path:
        # RFC 9112, 3.2.4: the last proxy turns `OPTIONS http://host` into `OPTIONS *`.
        path = "*" if method == "OPTIONS" else "/"
    return Target(form="absolute", scheme=scheme, host=host, port=port, path=path)


class HostSet:
    """Hosts and the domains under them, matched on label boundaries; IP addresses match exactly.

    `anthropic.com` covers `api.anthropic.com` and itself, not `evilanthropic.com`. A leading `*.` or `.` of a given
    name is ignored. Raises ProtocolError for a name that is none.
    """

    __slots__ = ("_names",)

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(_set_name(name) for name in names)

    def __contains__(self, host: object) -> bool:
        if not isinstance(host, str):
            return False
        try:
            name = normalize_host(host.removeprefix("[").removesuffix("]"))
        except ProtocolError:
            return False
        if name in self._names:
            return True
        if ":" in name or (name[-1].isdigit() and _is_ip(name)):
            return False
        while name:
            name = name.partition(".")[2]
            if name in self._names:
                return True
        return False

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HostSet) and self._names == other._names

    def __hash__(self) -> int:
        return hash(self._names)

    def __repr__(self) -> str:
        return f"HostSet({list(self)!r})"


def _set_name(name: str) -> str:
    return normalize_host(name.removeprefix("*").removeprefix(".").removeprefix("[").removesuffix("]"))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by name or address alone: `localhost`, 127.0.0.0/8, ::1, also IPv4-mapped.

    Not `0.0.0.0`: it reaches this machine on some systems, and pages in browsers have abused just that.
    """
    try:
        name = normalize_host(host.removeprefix("[").removesuffix("]"))
    except ProtocolError:
        return False
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
