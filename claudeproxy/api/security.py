"""Who may ask: Host, Origin, token, size, and the headers that every answer wears.

Captured prompts are read through this port, and any web page the person opens can make the browser send requests to
it. So every request, live feeds and unknown paths included, passes here before the application sees it: an ASGI
wrapper, because a route or an error handler cannot be forgotten that way.

- Host must be 127.0.0.1, localhost, [::1] or a configured name, on any port: a name that an attacker re-points at
  127.0.0.1 (DNS rebinding) keeps its own name in this field.
- Origin, when present, must be one of the same hosts, and ``Sec-Fetch-Site: cross-site`` is refused: no foreign page
  may post here, whether or not it could read the answer.
- There are no CORS headers at all.
- The bearer token is compared in constant time; it is needed when the caller says so (bound beyond loopback) and
  checked whenever one is presented.

It does not decide what an answer contains, and it does not read bodies.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from claudeproxy.api.errors import error_json, error_text
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hypercorn.typing import (
        ASGIFramework,
        ASGIReceiveCallable,
        ASGISendCallable,
        ASGISendEvent,
        Scope,
    )

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})

MAX_BODY_BYTES = 64 * 1024
"""The largest request body. The longest legal one is a feedback text of 2,000 characters, 24 KB when fully escaped."""

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    # Answers hold captured text: nothing in them may ever run, be framed, be sniffed into HTML or be kept in a cache.
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/?#@\\\s]+))(?::[0-9]{0,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is let in. `hosts` are comparable names as `known_hosts` makes them."""

    hosts: frozenset[str] = LOOPBACK_HOSTS
    token: str | None = field(default=None, repr=False)
    token_required: bool = False
    max_body_bytes: int = MAX_BODY_BYTES

    def __post_init__(self) -> None:
        if self.token_required and not self.token:
            raise ConfigError("the API is bound beyond loopback: set `api_token`, or bind it to 127.0.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request does not get in."""

    status: HTTPStatus
    details: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


def host_name(authority: str) -> str | None:
    """The host of ``host[:port]`` in comparable form: lower case, no brackets, no trailing dot; None when malformed."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return None
    if match["v6"] is None:
        return match["name"].lower().removesuffix(".")
    try:
        return str(ipaddress.IPv6Address(match["v6"]))
    except ValueError:
        return None


def known_hosts(names: Collection[str]) -> frozenset[str]:
    """The loopback names and the configured `names` (with or without a port), comparable; ConfigError on a bad one."""
    hosts = {name: host_name(f"[{name}]" if name.count(":") > 1 and name[0] != "[" else name) for name in names}
    for name, host in hosts.items():
        if host is None:
            raise ConfigError(f"{name!r} cannot be a host name of the API: give a name or an address, without a scheme")
    return LOOPBACK_HOSTS.union(host for host in hosts.values() if host is not None)


def judge(headers: Iterable[tuple[bytes, bytes]], target: str, policy: Policy) -> Refusal | None:
    """Decide on a request from its head alone. `target` is the path, or an absolute URL (RFC 9112, 3.2.2)."""
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip())
    return _judge_host(fields, target, policy) or _judge_origin(fields, policy) or _judge_rest(fields, policy)


def _judge_host(fields: dict[str, list[str]], target: str, policy: Policy) -> Refusal | None:
    hosts = list(fields.get("host", ()))
    if not target.startswith("/") and "://" in target:
        hosts.append(urlsplit(target).netloc)  # absolute-form: its authority counts too
    if hosts and all(host_name(host) in policy.hosts for host in hosts):
        return None
    return Refusal(
        status=HTTPStatus.FORBIDDEN,
        details="The Host is not one of this API's: use 127.0.0.1, localhost, [::1] or a configured name.",
    )


def _judge_origin(fields: dict[str, list[str]], policy: Policy) -> Refusal | None:
    for origin in fields.get("origin", ()):
        scheme, separator, authority = origin.partition("://")
        if not separator or scheme.lower() not in ("http", "https") or host_name(authority) not in policy.hosts:
            return Refusal(status=HTTPStatus.FORBIDDEN, details="Requests from other web pages are refused (Origin).")
    # Sent by browsers only, and by no page that could forge it (W3C Fetch Metadata).
    if any(value.lower() == "cross-site" for value in fields.get("sec-fetch-site", ())):
        return Refusal(
            status=HTTPStatus.FORBIDDEN, details="Requests from other web pages are refused (Sec-Fetch-Site)."
        )
    return None


def _judge_rest(fields: dict[str, list[str]], policy: Policy) -> Refusal | None:
    if policy.token is not None:
        given = fields.get("authorization", [])
        if (given or policy.token_required) and not _right_token(given, policy.token):
            return Refusal(
                status=HTTPStatus.UNAUTHORIZED,
                details="Send the configured api_token as `Authorization: Bearer TOKEN`.",
                headers=((b"www-authenticate", b'Bearer realm="claudeproxy"'),),
            )
    lengths = fields.get("content-length", [])
    if any(value.isdecimal() and int(value[:20]) > policy.max_body_bytes for value in lengths):
        return Refusal(
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            details=f"A request body may have {policy.max_body_bytes} bytes at most.",
            headers=((b"connection", b"close"),),  # the rest of the body is not read
        )
    return None


def _right_token(given: list[str], token: str) -> bool:
    if len(given) != 1:
        return False
    scheme, _, value = given[0].partition(" ")
    # Compared as bytes and in constant time: the time taken must not tell how much of a guess was right.
    same = hmac.compare_digest(value.strip().encode("latin-1"), token.encode())
    return same and scheme.lower() == "bearer"


class Guard:
    """The application inside, behind `judge`; an answer wears those `SECURITY_HEADERS` that it does not set itself."""

    def __init__(self, app: ASGIFramework, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Let one connection in or answer it; the lifespan passes untouched."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return

        async def dressed(message: ASGISendEvent) -> None:
            await send(_with_security_headers(message))

        refusal = judge(scope["headers"], scope["path"], self._policy)
        if refusal is None:
            await self._app(scope, receive, dressed)
        elif scope["type"] == "http":
            await _refuse(refusal, "http.response", dressed)
        elif "websocket.http.response" in scope["extensions"]:
            await _refuse(refusal, "websocket.http.response", dressed)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": None})  # before accept: a bare 403


async def _refuse(refusal: Refusal, kind: str, send: ASGISendCallable) -> None:
    body = error_json(error_text(refusal.status), refusal.details)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *refusal.headers,
    ]
    start = {"type": f"{kind}.start", "status": int(refusal.status), "headers": headers}
    await send(cast("ASGISendEvent", start))
    await send(cast("ASGISendEvent", {"type": f"{kind}.body", "body": body, "more_body": False}))


def _with_security_headers(message: ASGISendEvent) -> ASGISendEvent:
    if message["type"] not in ("http.response.start", "websocket.http.response.start"):
        return message
    start = cast("dict[str, object]", message)
    headers = list(cast("Iterable[tuple[bytes, bytes]]", start.get("headers", ())))
    present = {name.lower() for name, _ in headers}
    headers += [(name, value) for name, value in SECURITY_HEADERS if name not in present]
    return cast("ASGISendEvent", {**start, "headers": headers})
