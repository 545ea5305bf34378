"""The names a certificate authority of ours may vouch for: normal forms and the constraints made of them.

Apart because three parties must agree on it: the certificates (RFC 5280, 4.2.1.10), our own refusal before a client
has to refuse, and the configuration that asks whether a host is covered. Decides nothing about interception.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.errors import AuthorityError

if TYPE_CHECKING:
    from collections.abc import Iterable

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

DEFAULT_NAMES: tuple[str, ...] = ("anthropic.com", "claude.ai", "claude.com")
"""The domains an authority always covers, with every name under them."""

LOOPBACK_NAMES: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
"""For TLS to the proxy itself (`HTTPS_PROXY=https://localhost:...`). Always covered. One address of each family stands
here for another reason too: a permitted address shuts every other address of its family out."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)


def normalize(host: str) -> str:
    """Lower case, no trailing dot, an IP address in its shortest form without brackets. Raises AuthorityError."""
    name = host.removesuffix(".").lower().removeprefix("[").removesuffix("]")
    address = as_address(name)
    if address is not None:
        return str(address)
    if not host.isascii() or not _NAME.fullmatch(name) or len(name) > 253 or name.rpartition(".")[2].isdigit():
        raise AuthorityError(f"no certificate can be issued for {host[:80]!r}: it is not a host name in ASCII form")
    return name


def as_address(name: str) -> Address | None:
    """The IP address that `name` spells, or None."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def permitted_names(names: Iterable[str]) -> tuple[str, ...]:
    """`names` in normal form with the defaults and the loopback names, each once, in a stable order."""
    wanted = (*DEFAULT_NAMES, *(normalize(name) for name in names), *LOOPBACK_NAMES)
    return tuple(dict.fromkeys(wanted))


def is_covered(host: str, permitted: Iterable[str]) -> bool:
    """Whether `host` is permitted: an address exactly, a name itself or under a permitted one."""
    try:
        name = normalize(host)
    except AuthorityError:
        return False
    if as_address(name) is not None:
        return name in permitted
    return any(name == parent or name.endswith("." + parent) for parent in permitted)
