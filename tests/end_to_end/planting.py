"""Secrets in every place where a client or an upstream can put one, and every place where they could be found again.

A plant is a word that stands nowhere else. `Plants` hands them out, remembers where each was put, and looks for all of
them in whatever bytes it is shown.
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from contextlib import closing
from typing import TYPE_CHECKING

from claudeproxy.store.codec import Codec
from claudeproxy.store.functions import register_functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

HOST = b"Host: 127.0.0.1\r\n"
BOUNDARY = b"dummyboundary"


class Plants:
    """Hands out secrets by the name of their place."""

    def __init__(self) -> None:
        self.places: dict[bytes, str] = {}

    def __call__(self, place: str) -> bytes:
        """A new secret for a place; one that looks like a key of the API where the place says so."""
        word = b"zqPlant%03dQx" % len(self.places)
        self.places[word] = place
        return b"sk-ant-api03-" + word if "key of the API" in place else word

    def found_in(self, data: bytes) -> set[str]:
        """The places whose secret is in these bytes, as it was, in base64, or with its case changed."""
        lower = data.lower()
        return {place for word, place in self.places.items() if any(form in lower for form in _forms(word))}


def _forms(word: bytes) -> Iterator[bytes]:
    yield word.lower()
    for shift in range(3):  # base64 of it within something longer: without the letters that its neighbours decide
        coded = b64encode(b"\0" * shift + word)
        yield coded[4:-4].lower()


def requests(plants: Plants) -> list[bytes]:
    """Requests that are relayed and recorded, one a connection."""

    def post(target: bytes, body: bytes, *fields: bytes) -> bytes:
        lines = b"".join(field + b"\r\n" for field in (*fields, b"Content-Length: %d" % len(body)))
        return b"POST " + target + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n" + body

    names = (
        *(b"x-api-key", b"X-API-KEY", b"X-Api-Key", b"api-key", b"x-goog-api-key", b"Cookie", b"cookie2"),
        *(b"X-Auth-Token", b"X-Forwarded-Authorization", b"x-amz-security-token", b"X-CSRF-Token", b"X-Password"),
        *(b"DPoP", b"Authentication-Info", b"X-Client-Secret", b"x-signature"),
    )
    credentials = (b"Bearer ", b"bearer ", b"BEARER ", b"Basic ", b"Digest username=", b"NTLM ", b"DPoP ", b"ApiKey ")
    query = b"&".join(
        name + b"=" + plants(f"query {name.decode()}")
        for name in (b"api_key", b"API_KEY", b"api%5Fkey", b"api%255Fkey", b"access_token", b"code", b"X-Amz-Signature")
    )
    many = [name + b": " + plants(f"header {name.decode()}") for name in names]
    many += [b"aUtHoRiZaTiOn: " + one + plants(f"scheme {one.decode()}") for one in credentials]
    many += [b"X-Unknown-%d: %b" % (n, one) + plants(f"unknown header {one!r}") for n, one in enumerate(credentials)]
    many += [
        b"Referer: https://user:" + plants("Referer, userinfo") + b"@h/x?token=" + plants("Referer, query"),
        b"X-Original-Url: /cb?code=" + plants("header with a path"),
        b"X-Original-Uri: https://h/cb?ok=1#id_token=" + plants("header with a fragment"),
        b"X-Note: my key is " + plants("key of the API in a header"),
        plants("key of the API as a header's name") + b": 1",
    ]
    trailer = b"X-Auth-Token: " + plants("request trailer")
    chunked = b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n"
    form = b"grant_type=password&password=" + plants("OAuth form")
    part = b'--%b\r\nContent-Disposition: form-data; name="secret"\r\n\r\n' % BOUNDARY
    multipart = part + plants("OAuth multipart") + b"\r\n--%b--\r\n" % BOUNDARY
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13")
    return [
        post(b"/v1/messages?" + query + b";sig=" + plants("query after a semicolon"), b"{}", *many),
        b"POST /v1/messages HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        post(b"/v1/keys/" + plants("key of the API in the path"), b"{}"),
        plants("key of the API as a method") + b" /v1/x HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
        post(b"/v1/keys/sk%2Dant%2Dapi03%2D" + plants("escaped key in the path"), b"{}"),
        post(b"/v1/oauth/token", b'{"refresh_token":"' + plants("OAuth JSON") + b'"}'),
        post(b"/V1/OAuth%2FToken", form, b"Content-Type: application/x-www-form-urlencoded"),
        post(b"/api/auth;x=1/login", multipart, b"Content-Type: multipart/form-data; boundary=" + BOUNDARY),
        post(b"/api/oauth/claude_cli/create_api_key", plants("OAuth raw")),
        b"GET /v1/socket?token="
        + plants("WebSocket query")
        + b" HTTP/1.1\r\n"
        + HOST
        + b"\r\n".join(upgrade)
        + b"\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: realtime, bearer."
        + plants("WebSocket subprotocol")
        + b"\r\nAuthorization: Bearer "
        + plants("WebSocket authorization")
        + b"\r\n\r\n",
    ]


def refused(plants: Plants) -> list[bytes]:
    """Requests that the proxy answers itself."""
    return [
        b"GET /v1/x?token=%b HTTP/1.1\r\nHost: evil.example\r\nCookie: %b\r\n\r\n"
        % (plants("foreign Host, query"), plants("foreign Host, cookie")),
        b"GET /v1/x HTTP/1.1\r\n%bOrigin: https://%b.example\r\n\r\n" % (HOST, plants("foreign Origin")),
        b"GET /v1/x HTTP/1.1\r\n%bx-api-key : %b\r\n\r\n" % (HOST, plants("blank before the colon")),
        b"GET /v1/x HTTP/1.1\r\n%bx-api-key: a\r\n %b\r\n\r\n" % (HOST, plants("folded header")),
        b"GET /v1/x?k=%b HTTP/9.9\r\n%b\r\n" % (plants("unknown version"), HOST),
        b"GET /\xff%b HTTP/1.1\r\n%b\r\n" % (plants("target that is none"), HOST),
        b"%b\r\n\r\n" % plants("no request at all"),
        b"POST http://user:"
        + plants("userinfo of an absolute target")
        + b"@api.anthropic.com/v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Length: 0\r\n\r\n",
        b"CONNECT user:%b@api.anthropic.com:443 HTTP/1.1\r\n\r\n" % plants("userinfo of a CONNECT target"),
        b"CONNECT %b:notaport HTTP/1.1\r\n\r\n" % plants("CONNECT without a port"),
        b"CONNECT api.anthropic.com:443 HTTP/1.1\r\nHost: api.anthropic.com:443\r\nContent-Length: 1\r\n"
        b"Proxy-Authorization: Bearer %b\r\n\r\n" % plants("CONNECT, Proxy-Authorization"),
        b"POST /v1/messages HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n0\r\nX-Api-Key: %b\r\n\r\n"
        % (HOST, plants("forbidden trailer")),
        b"POST /v1/messages HTTP/1.1\r\n%bContent-Length: 5\r\nTransfer-Encoding: chunked\r\nx-api-key: %b\r\n\r\n"
        % (HOST, plants("two lengths")),
    ]


def answer(plants: Plants) -> bytes:
    """An upstream's answer with a secret wherever one can stand; its body is kept only where the endpoint's may be."""
    return (
        b"HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=%b\r\n\r\n" % plants("cookie of a 103")
        + b"HTTP/1.1 200 %b\r\n" % plants("key of the API as a reason")
        + b"Set-Cookie: id=%b; Secure\r\nset-cookie: b=%b\r\n" % (plants("Set-Cookie"), plants("set-cookie"))
        + b"Location: https://u:%b@h/cb?code=%b\r\n" % (plants("Location, userinfo"), plants("Location, code"))
        + b"X-Next-Token: %b\r\n" % plants("token of an answer")
        + b'Refresh: 5; url=/x?session_token=%b\r\nLink: </a?sig=%b>; rel="next"\r\n'
        % (plants("Refresh"), plants("Link"))
        + b"Connection: close\r\nTrailer: X-Auth-Token\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"2\r\n{}\r\n0\r\nX-Auth-Token: %b\r\n\r\n" % plants("trailer of an answer")
    )


def everything_stored(database: Path) -> Iterator[bytes]:
    """Every value of every table, compressed ones decompressed: blocks, bodies, search terms, freed pages excepted."""
    with closing(sqlite3.connect(database)) as connection:
        register_functions(connection)
        connection.execute("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, search_words, row)")
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
        unread = ("search_words", "search_found")  # `terms`
        names = [name for (name,) in tables if not name.startswith("sqlite_") and name not in unread]
        codec = Codec()
        for name in [*names, "terms"]:
            cursor = connection.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                fields = dict(zip(columns, row, strict=True))
                yield from _bytes_of(fields.values())
                if "codec" in fields and isinstance(fields.get("data"), bytes):
                    yield codec.decompress(fields["codec"], fields["data"])
                if isinstance(fields.get("skeleton"), bytes):
                    yield codec.decompress(fields["skeleton"][0], fields["skeleton"][1:])


def _bytes_of(values: Iterable[object]) -> Iterator[bytes]:
    for value in values:
        if isinstance(value, bytes):
            yield value
        elif value is not None:
            yield str(value).encode("utf-8", "replace")
