"""What of a head goes on to the next connection and what concerned only the one that it came by.

Apart from `headers`, which reads and writes heads whole, because here is what a proxy may take out of one (RFC 9110,
7.6.1), and what it may not, whatever `Connection` names. No value is touched but that of Host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.sansio.headers import get_all

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders

# RFC 9110, 7.6.1 and 11.7: fields that concern one connection only.
_HOP_BY_HOP = frozenset(
    b"keep-alive proxy-connection proxy-authenticate proxy-authentication-info proxy-authorization te upgrade "
    b"http2-settings".split()
)
# "Connection: X-Api-Key" must not make us drop the key: fields for the origin stay, whatever Connection names.
_END_TO_END = frozenset(
    b"accept accept-encoding authorization cache-control content-encoding content-length content-type cookie date "
    b"expect host location origin range referer request-id retry-after set-cookie strict-transport-security trailer "
    b"transfer-encoding user-agent www-authenticate".split()
)
_END_TO_END_PREFIXES = (b"anthropic-", b"x-api-", b"x-app", b"x-cl", b"x-stainless-", b"access-control-", b"sec-")


def forward_headers(headers: RawHeaders, *, host: bytes | None = None, keep_upgrade: bool = False) -> RawHeaders:
    """The fields to send on: hop-by-hop ones and those that Connection names are dropped (RFC 9110, 7.6.1).

    Order, casing and duplicates stay. Connection itself stays, where it stood, only with `upgrade` (if `keep_upgrade`)
    or `TE` (for `TE: trailers`, since trailers are forwarded). Transfer-Encoding stays because chunks are sent on
    verbatim. `host` replaces the value of Host, or is put first where there was none.
    """
    lowered = [name.lower() for name, _ in headers]
    here = _HOP_BY_HOP.intersection(lowered)
    named = _connection_options(headers) if b"connection" in lowered else frozenset()
    upgrade = keep_upgrade and b"upgrade" in named and b"upgrade" in here
    te = b"te" in here and any(value.strip().lower() == b"trailers" for value in get_all(headers, b"te"))
    kept = [option for option, wanted in ((b"Upgrade", upgrade), (b"TE", te)) if wanted]
    connection: bytes | None = b", ".join(kept) or None
    result: list[tuple[bytes, bytes]] = []
    for field, lower in zip(headers, lowered, strict=True):
        if lower == b"connection":
            if connection is not None:
                result.append((field[0], connection))
                connection = None
        elif lower == b"host" and host is not None:
            result.append((field[0], host))
        elif (
            (lower not in here and (lower not in named or _is_end_to_end(lower)))
            or (upgrade and lower == b"upgrade")
            or (te and lower == b"te" and field[1].strip().lower() == b"trailers")
        ):
            result.append(field)
    if connection is not None:
        result.append((b"Connection", connection))
    if host is not None and b"host" not in lowered:
        result.insert(0, (b"Host", host))
    return tuple(result)


def _connection_options(headers: RawHeaders) -> frozenset[bytes]:
    values = get_all(headers, b"connection")
    return frozenset(option.strip().lower() for value in values for option in value.split(b","))


def _is_end_to_end(lower: bytes) -> bool:
    return lower in _END_TO_END or lower.startswith(_END_TO_END_PREFIXES)


def wants_close(version: str, headers: RawHeaders) -> bool:
    """Whether the sender means to close after this message (RFC 9112, 9.3)."""
    options = _connection_options(headers)
    return b"close" in options or (version == "1.0" and b"keep-alive" not in options)


def names_option(headers: RawHeaders, option: bytes) -> bool:
    """Whether Connection names `option` (lower case)."""
    return option in _connection_options(headers)
