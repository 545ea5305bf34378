"""The corpus of answers: what an upstream, or somebody on the way to it, may send. One row a trick."""

from __future__ import annotations

from tests.hygiene.trick import AnswerTrick, Reply

POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"
"""What an attacker hopes that the proxy takes for the answer to the next request."""
_OK = b"HTTP/1.1 200 OK\r\n"
_TWO = b"Content-Length: 2\r\n\r\nok"
_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def _row(name: str, answer: bytes, reply: Reply, why: str = "", **values: object) -> AnswerTrick:
    return AnswerTrick(name=name, answer=answer, reply=reply, why=why, **values)  # type: ignore[arg-type]


def _refused() -> list[AnswerTrick]:
    rows = [
        ("a length beside chunks", _OK + b"Content-Length: 2\r\n" + _CHUNKED + b"0\r\n\r\n", "RFC 9112, 6.3"),
        ("two lengths that differ", _OK + b"Content-Length: 0\r\nContent-Length: 2\r\n\r\nok", "RFC 9112, 6.3"),
        ("two equal lengths", _OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", "RFC 9110, 8.6"),
        ("length `2, 2`", _OK + b"Content-Length: 2, 2\r\n\r\nok", "RFC 9110, 8.6"),
        ("length `+2`", _OK + b"Content-Length: +2\r\n\r\nok", "RFC 9110, 8.6"),
        ("length `02`", _OK + b"Content-Length: 02\r\n\r\nok", "some read octal"),
        (
            "transfer coding `gzip, chunked`",
            _OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "RFC 9112, 6.1",
        ),
        ("transfer coding `xchunked`", _OK + b"Transfer-Encoding: xchunked\r\n\r\nok", "RFC 9112, 6.1"),
        ("two transfer codings", _OK + b"Transfer-Encoding: chunked\r\n" + _CHUNKED + b"0\r\n\r\n", "RFC 9112, 6.1"),
        ("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + _CHUNKED + b"0\r\n\r\n", "RFC 9112, 6.1"),
        ("a folded line", _OK + b"X: a\r\n b\r\n" + _TWO, "RFC 9112, 5.2"),
        ("lines that end with LF", (_OK + _TWO).replace(b"\r\n", b"\n"), "RFC 9112, 2.2"),
        ("a CR inside a value", _OK + b"Location: /\rSet-Cookie: a=b\r\n" + _TWO, "RFC 9112, 2.2: some split there"),
        ("a LF inside a value", _OK + b"Location: /\nSet-Cookie: a=b\r\n" + _TWO, "RFC 9112, 2.2: some split there"),
        ("NUL in a value", _OK + b"X: \x00\r\n" + _TWO, "RFC 9110, 5.5"),
        ("a space before a colon", _OK + b"Content-Length : 2\r\n\r\nok", "RFC 9112, 5.1"),
        ("an empty name", _OK + b": a\r\n" + _TWO, "RFC 9110, 5.1"),
        ("an empty line before the status line", b"\r\n" + _OK + _TWO, "RFC 9112, 2.2 allows it for requests only"),
        ("no status", b"HTTP/1.1 OK\r\n" + _TWO, "RFC 9112, 4"),
        ("a status of two digits", b"HTTP/1.1 20 OK\r\n" + _TWO, "RFC 9112, 4"),
        ("a status of four digits", b"HTTP/1.1 2000 OK\r\n" + _TWO, "RFC 9112, 4"),
        ("version 2.0", b"HTTP/2.0 200 OK\r\n" + _TWO, "RFC 9112, 2.3"),
        ("another protocol", b"ICY 200 OK\r\n" + _TWO, "RFC 9112, 4"),
        ("no head at all", b"<html>ok</html>\r\n\r\n", "HTTP/0.9"),
        ("a head of 70,000 bytes", _OK + b"X: " + b"a" * 70_000 + b"\r\n" + _TWO, "64 KiB are enough"),
        ("a switch that nobody asked for", b"HTTP/1.1 101 Go\r\nUpgrade: websocket\r\n\r\n", "RFC 9110, 15.2.2"),
        ("informational answers without end", b"HTTP/1.1 103 Early\r\n\r\n" * 1001, "a thousand are passed on"),
    ]
    return [_row(name, answer, Reply.REFUSED, why) for name, answer, why in rows]


def _cut() -> list[AnswerTrick]:
    rows = [
        ("chunk size `0x2`", b"0x2\r\nok\r\n0\r\n\r\n", "RFC 9112, 7.1"),
        ("chunk size `2 `", b"2 \r\nok\r\n0\r\n\r\n", "RFC 9112, 7.1"),
        ("chunk size `ffffffffffffffff`", b"ffffffffffffffff\r\nok", "beyond 63 bits some wrap round"),
        ("an extension with LF", b"2;a\nb\r\nok\r\n0\r\n\r\n", "RFC 9112, 7.1.1"),
        ("a chunk longer than its size", b"1\r\nok\r\n0\r\n\r\n", "RFC 9112, 7.1"),
        ("a length as a trailer", b"2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n", "RFC 9110, 6.5.1"),
        ("a cookie as a trailer", b"2\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n", "RFC 9110, 6.5.1"),
        ("an answer where the trailer is due", b"2\r\nok\r\n0\r\n" + POISON, "the missing line end is not made up"),
    ]
    found = [_row(name, _OK + _CHUNKED + body, Reply.CUT, why) for name, body, why in rows]
    found.append(_row("a body that ends too early", _OK + b"Content-Length: 3\r\n\r\nok", Reply.CUT, closes=True))
    found.append(_row("chunks that end too early", _OK + _CHUNKED + b"2\r\nok\r\n", Reply.CUT, closes=True))
    return found


def _passed() -> list[AnswerTrick]:
    ok = Reply.PASSED
    late = "what comes unasked makes the connection unusable"
    never = "RFC 9112, 6.3: no body, whatever is announced; it may come all the same"
    return [
        _row("an ordinary answer", _OK + _TWO, ok, body=b"ok", reused=True),
        _row("another answer behind it", _OK + _TWO + POISON, ok, late, body=b"ok"),
        _row("another answer, later", _OK + _TWO, ok, late, body=b"ok", later=POISON),
        _row("bytes behind the last chunk", _OK + _CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + POISON, ok, late, body=b"ok"),
        _row("a line end behind it, later", _OK + _TWO, ok, late, body=b"ok", later=b"\r\n"),
        _row("a HEAD that announces a body", _OK + b"Content-Length: 40\r\n\r\n", ok, never, method="HEAD"),
        _row("a HEAD with a body", _OK + b"Content-Length: 49\r\n\r\n" + POISON, ok, never, method="HEAD"),
        _row(
            "a HEAD with a body, later", _OK + b"Content-Length: 49\r\n\r\n", ok, never, method="HEAD", later=POISON
        ),
        _row("a HEAD with chunks", _OK + _CHUNKED, ok, never, method="HEAD", later=b"0\r\n\r\n"),
        _row(
            "a 204 with a length", b"HTTP/1.1 204 N\r\nContent-Length: 49\r\n\r\n" + POISON, ok, never,
            lacks=(b"content-length",),
        ),
        _row("a 204 with chunks", b"HTTP/1.1 204 N\r\n" + _CHUNKED, ok, never, lacks=(b"transfer-encoding",)),
        _row(
            "a 204 with a length of zero", b"HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n", ok,
            "RFC 9110, 8.6 forbids it; harmless, and usual", reused=True, has=(b"content-length: 0",),
        ),
        _row("a 304 with a body", b"HTTP/1.1 304 N\r\nContent-Length: 49\r\n\r\n" + POISON, ok, never),
        _row("a 304 without", b"HTTP/1.1 304 N\r\nETag: a\r\n\r\n", ok, reused=True),
        _row(
            "a 103 that announces a body", b"HTTP/1.1 103 E\r\nContent-Length: 9\r\n\r\n" + _OK + _TWO, ok,
            "RFC 9112, 6.1: its length is left out", body=b"ok", reused=True,
        ),
        _row("no framing", _OK + b"\r\nok", ok, "RFC 9112, 6.3: up to the close", body=b"ok", closes=True),
        _row("no framing, two answers", _OK + b"\r\n" + POISON, ok, "RFC 9112, 6.3", body=POISON, closes=True),
        _row("`Connection: close`", _OK + b"Connection: close\r\n" + _TWO, ok, "RFC 9112, 9.6", body=b"ok"),
        _row("HTTP/1.0", b"HTTP/1.0 200 OK\r\n" + _TWO, ok, "RFC 9112, 9.3", body=b"ok"),
        _row(
            "`Connection` names the length", _OK + b"Connection: content-length,set-cookie\r\nSet-Cookie: a\r\n" + _TWO,
            ok, "fields for the client cannot be named away", body=b"ok", reused=True,
            has=(b"content-length: 2", b"set-cookie: a"),
        ),
        _row(
            "fields of one hop", _OK + b"Keep-Alive: 5\r\nUpgrade: h2\r\nProxy-Authenticate: a\r\n" + _TWO, ok,
            "RFC 9110, 7.6.1", body=b"ok", reused=True, lacks=(b"keep-alive", b"upgrade", b"proxy-authenticate"),
        ),
    ]  # fmt: skip


GROUPS: dict[str, list[AnswerTrick]] = {
    "Answers that are no HTTP": _refused(),
    "Bodies that break": _cut(),
    "Bodies that may not be there, and bytes too many": _passed(),
}
TRICKS = [trick for group in GROUPS.values() for trick in group]
