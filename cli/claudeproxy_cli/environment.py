"""The environment in which `run` starts a command so that its traffic passes the proxy. Pure: mappings in and out.

What each client honours was tried (Claude Code's native and Node builds, the SDKs, curl, git):

- HTTPS_PROXY and https_proxy, always with ``http://``: without the scheme older native clients hang silently.
- NODE_EXTRA_CA_CERTS for Node and Claude Code; SSL_CERT_FILE for Python's httpx and OpenSSL; REQUESTS_CA_BUNDLE,
  CURL_CA_BUNDLE, GIT_SSL_CAINFO for requests, curl and git, which a client's tools start.
- ALL_PROXY goes: some clients prefer it and then send what we cannot see.
- NO_PROXY gets the loopback names, or a client that talks to a local server would go through us, and loses whatever
  covers the API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LOOPBACK: Final = ("localhost", "127.0.0.1")

# What keeps Claude Code's behaviour unchanged behind ANTHROPIC_BASE_URL. Without the first, 2.1.330 sends other headers
# and caches another split of its system prompt; without the second, others send every MCP schema inline, about twice
# the prompt; the third brings the hint headers from 2.1.273 on.
FIRST_PARTY: Final = {
    "_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL": "1",
    "ENABLE_TOOL_SEARCH": "true",
    "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A child's environment, and what the person should know about it (one line each)."""

    environment: dict[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """What the caller's environment says about the way to the API; each None when it says nothing."""

    upstream_proxy: str | None  # an http(s) proxy that the caller used until now
    upstream: str | None  # ANTHROPIC_BASE_URL, when the client is to reach us in its place
    notes: tuple[str, ...]


def inherited(caller: Mapping[str, str], *, reverse: bool, ours: Sequence[str] = ()) -> Inherited:
    """The caller's own proxy and gateway, which become the proxy's. `ours`: URLs that are claudeproxy already."""
    notes = []
    proxy = None
    # Lower case first: what curl, requests and Node do when both are set.
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        value = caller.get(name, "").strip()
        if not value:
            continue
        value = value if "://" in value else f"http://{value}"
        if _same_server(value, ours):
            continue
        if urlsplit(value).scheme in {"http", "https"}:
            proxy = value
            break
        notes.append(f"{name} names a {urlsplit(value).scheme} proxy, which claudeproxy cannot use: going direct")
    base = caller.get("ANTHROPIC_BASE_URL", "").strip() if reverse else ""
    return Inherited(
        upstream_proxy=proxy,
        upstream=base if base and not _same_server(base, ours) else None,
        notes=tuple(notes),
    )


def _same_server(text: str, ours: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        return any((parts.hostname, parts.port) == (urlsplit(url).hostname, urlsplit(url).port) for url in ours)
    except ValueError:
        return False


def connect_environment(
    caller: Mapping[str, str],
    *,
    proxy_url: str,
    proxy_auth: str | None,
    node_ca: Path,
    bundle: Path,
    api_hosts: Sequence[str],
) -> Launch:
    """For a client that honours HTTPS_PROXY: the ordinary way, in which it notices nothing."""
    environment = _without(caller, "ALL_PROXY", "all_proxy")
    address = with_credentials(proxy_url, proxy_auth)
    environment |= {"HTTPS_PROXY": address, "https_proxy": address, "NODE_EXTRA_CA_CERTS": str(node_ca)}
    environment |= dict.fromkeys(
        ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"), str(bundle)
    )
    kept, removed = no_proxy(caller, api_hosts=api_hosts)
    environment |= {"NO_PROXY": kept, "no_proxy": kept}
    notes = []
    if removed:
        notes.append(f"taken out of NO_PROXY, because it covers the API: {', '.join(removed)}")
    if base := caller.get("ANTHROPIC_BASE_URL"):
        host = (urlsplit(base).hostname or base).lower()
        if not any(covers(name, host) for name in api_hosts):
            notes.append(f"ANTHROPIC_BASE_URL points at {host}, which is not intercepted: use --reverse")
    return Launch(environment=environment, notes=tuple(notes))


def reverse_environment(caller: Mapping[str, str], *, base_url: str, gateway: bool) -> Launch:
    """For a client that ignores proxies: ANTHROPIC_BASE_URL points at us.

    With `gateway` the client was behind a base URL before, and is left the behaviour that it has there.
    """
    environment = _without(caller, "ALL_PROXY", "all_proxy")
    kept, _ = no_proxy(caller, api_hosts=())
    environment |= {"ANTHROPIC_BASE_URL": base_url, "NO_PROXY": kept, "no_proxy": kept}
    if not gateway:
        environment = {**FIRST_PARTY, **environment}  # what the caller set stands
    return Launch(environment=environment, notes=())


def no_proxy(caller: Mapping[str, str], *, api_hosts: Sequence[str]) -> tuple[str, list[str]]:
    """NO_PROXY with the loopback names and without what covers an API host; and what was taken out."""
    entries: dict[str, None] = {}
    for name in ("no_proxy", "NO_PROXY"):
        entries |= dict.fromkeys(
            entry.strip() for entry in caller.get(name, "").replace(" ", ",").split(",") if entry.strip()
        )
    removed = [entry for entry in entries if any(covers(entry, host) for host in api_hosts)]
    kept = [entry for entry in entries if entry not in removed]
    return ",".join(dict.fromkeys([*kept, *LOOPBACK])), removed


def covers(entry: str, host: str) -> bool:
    """Whether a NO_PROXY entry (``*``, a name, ``.suffix``, ``*.suffix``, any with a port) covers `host`."""
    if entry == "*":
        return True
    name = entry.lower().rpartition(":")[0] if entry.rpartition(":")[2].isdecimal() and ":" in entry else entry.lower()
    name = name.removeprefix("*").removeprefix(".").rstrip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def with_credentials(url: str, credentials: str | None) -> str:
    """The URL with ``user:password`` in it, percent-encoded."""
    if credentials is None:
        return url
    scheme, _, rest = url.partition("://")
    user, _, password = credentials.partition(":")
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{rest}"


def _without(environment: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}
