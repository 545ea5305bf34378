"""Values as people write them in a file, a flag or a variable: addresses, sizes, lists and mappings.

Every function takes text and returns the value, or raises ValueError with a sentence that says what to write instead:
the configuration's error message is made of it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_UNITS: Final = {"": 1, "b": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY: Final = {"ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30, "ti": 1 << 40}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt]i?)b?|b)?", re.IGNORECASE)
_PRICE: Final = re.compile(r"\d{1,9}(?:\.\d{1,12})?")
# What a price may be for: US dollars a million tokens, and a thousand requests for the last two.
PRICE_CLASSES: Final = ("uncached", "write_5m", "write_1h", "read", "output", "web_search", "web_fetch")
_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A host (name or IP, without brackets) and a port; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only programs on this machine can reach it."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_address(text: str) -> Address:
    """``127.0.0.1:8443``, ``[::1]:8443``, ``localhost:8443``, or a port alone, which means 127.0.0.1."""
    remedy = "write HOST:PORT, such as 127.0.0.1:8443 (0.0.0.0 for every interface, port 0 for a free port)"
    text = text.strip()
    host, _, port = text.rpartition(":")
    if not host and not text.startswith(":"):
        host = "127.0.0.1"
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{port!r} is not a port: {remedy}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if (":" in bare) != (bare != host):
        raise ValueError(f"an IPv6 address stands in brackets: {remedy}")
    if ":" in bare:
        try:
            bare = str(ip_address(bare))
        except ValueError:
            raise ValueError(f"{bare!r} is not an IPv6 address: {remedy}") from None
    elif not _HOST.fullmatch(bare):
        raise ValueError(f"{bare!r} is not a host: {remedy}")
    return Address(host=bare.lower(), port=int(port))


def parse_size(text: str) -> int:
    """Bytes from ``64MiB``, ``1.5 GB``, ``500k`` or a plain number."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError("write a number of bytes, or a size such as 500MB or 2GiB")
    unit = (match[2] or "").lower()
    factor = {**_UNITS, **_BINARY}[unit]
    # Whole numbers exactly: a float has 53 bits.
    return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def format_size(count: int) -> str:
    """``2GiB``, ``1536MiB``, ``1000``: exact, in the largest binary unit that divides it."""
    for unit, size in reversed(_BINARY.items()):
        if count and count % size == 0:
            return f"{count // size}{unit.title()}B"
    return str(count)


def parse_list(text: str) -> list[object]:
    """``a, b`` or a JSON array: environment variables hold no YAML lists."""
    if text.lstrip().startswith("["):
        value = _json(text)
        assert isinstance(value, list)  # JSON that starts with a bracket and parses is nothing else
        return value
    return [item.strip() for item in text.split(",") if item.strip()]


def parse_mapping(text: str) -> dict[str, object]:
    """``host=address, host=address`` or a JSON object."""
    if text.lstrip().startswith("{"):
        value = _json(text)
        assert isinstance(value, dict)  # as above
        return value
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    if not all(equals for _, equals, _ in pairs):
        raise ValueError("write NAME=VALUE, several of them with commas between")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _json(text: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is not JSON ({error})") from None
    return value


def check_host(text: str) -> str:
    """A DNS name or IP address as the interception lists match it: lower case, no port, no scheme, no wildcard."""
    host = text.strip().lower().rstrip(".")
    if host.startswith("*."):
        raise ValueError(f"write {host[2:]!r} without '*.': a name covers its subdomains")
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{text!r} is not a host name: write it without scheme, port and path") from None
    return host


def check_ip(text: str) -> str:
    """An IP address in its canonical form."""
    try:
        return str(ip_address(text.strip().strip("[]")))
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, such as 160.79.104.10") from None


def check_url(text: str, *, credentials: bool) -> str:
    """An http or https URL of a server: host, optional port; a path only where no credentials are allowed."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port  # .port raises ValueError when it is no number
    except ValueError:
        raise ValueError("this is not a URL: write http://HOST:PORT or https://HOST:PORT") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("write it with its scheme: http://HOST:PORT or https://HOST:PORT")
    if parts.query or parts.fragment:
        raise ValueError("a query or fragment has no meaning here: leave it out")
    if not credentials and parts.username is not None:
        raise ValueError("credentials do not belong in this URL: the client sends its own")
    if credentials and parts.path not in {"", "/"}:
        raise ValueError("a proxy has no path: write http://HOST:PORT")
    return text.rstrip("/")


def parse_dollars(value: object) -> Decimal:
    """An amount of US dollars above 0, exactly: ``5``, ``2.50``."""
    text = str(value).strip().removeprefix("$")
    if not _PRICE.fullmatch(text) or not Decimal(text):
        raise ValueError(f"{value!r} is not an amount: write US dollars, such as 5 or 2.50")
    return Decimal(text)


def check_price(entry: object) -> dict[str, str]:
    """One table of prices: whose, how much for what, and on which days. All values as text."""
    if not isinstance(entry, dict):
        raise ValueError(  # noqa: TRY004 - what pydantic takes for a value that cannot be used
            "write each as a table: models: claude-opus-*, uncached: 4.50, output: 22.50"
        )
    known = ("models", "since", "until", *PRICE_CLASSES)
    for key, value in entry.items():
        if key not in known:
            raise ValueError(f"unknown key {key!r} in a table of prices; known are {', '.join(known)}")
        if key in PRICE_CLASSES and not _PRICE.fullmatch(str(value)):
            raise ValueError(f"{key} cannot be {value!r}: write US dollars, such as 4.50")
        if key in ("since", "until"):
            try:
                date.fromisoformat(str(value))
            except ValueError:
                raise ValueError(f"{key} cannot be {value!r}: write a day, such as 2026-07-01") from None
    if not isinstance(entry.get("models"), str) or not entry["models"]:
        raise ValueError("a table of prices needs `models`: a name, or a pattern such as claude-opus-*")
    if not any(key in PRICE_CLASSES for key in entry):
        raise ValueError(f"a table of prices needs a price: {', '.join(PRICE_CLASSES)}")
    return {key: str(value) for key, value in entry.items()}


def mask_url(text: str) -> str:
    """The URL with its password taken out, for showing."""
    return re.sub(r"^(\w+://).*@", r"\1****@", text)
