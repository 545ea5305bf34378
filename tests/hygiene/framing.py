"""The corpus of requests whose body ends where somebody would have it: lengths, transfer codings, chunks, trailers."""

from __future__ import annotations

from tests.hygiene.parts import CHUNKED, SECOND, SMUGGLED, SMUGGLED_LENGTH, ZERO, get, post, shown
from tests.hygiene.trick import Trick, broken, passed, refused


def _lengths() -> list[Trick]:
    both = "RFC 9112, 6.3: the known way to make two servers see two messages"
    tricks = [
        ("a length beside chunks", post(b"Content-Length: 5", CHUNKED) + ZERO + SMUGGLED, refused(), both),
        ("chunks beside a length", post(CHUNKED, b"Content-Length: 5") + ZERO + SMUGGLED, refused(), both),
        (
            "two lengths that differ",
            post(b"Content-Length: 0", SMUGGLED_LENGTH) + SMUGGLED,
            refused(),
            "RFC 9112, 6.3",
        ),
        ("two equal lengths", post(b"Content-Length: 2", b"content-length: 2") + b"{}", refused(), "RFC 9110, 8.6"),
        ("space before the colon", post(b"Content-Length : 2") + b"{}" + SMUGGLED, refused(), "RFC 9112, 5.1"),
        ("a name with an underscore", post(b"Content_Length: 2") + b"{}", refused(), "RFC 3875, 4.1.18: read as one"),
        ("a request in a body", post(SMUGGLED_LENGTH) + SMUGGLED, passed(SMUGGLED, framing="length"), ""),
        ("a GET with a body", get(SMUGGLED_LENGTH) + SMUGGLED, passed(SMUGGLED, framing="length"), ""),
        ("no length, and a request behind", post() + SECOND, passed(b"", b""), "RFC 9112, 6.3: no body"),
        (
            "a length of zero, and a request behind",
            post(b"Content-Length: 0") + SECOND,
            passed(b"", b"", framing="length"),
            "",
        ),
        (
            "a length between spaces and tabs",
            post(b"Content-Length: \t 2\t ") + b"{}",
            passed(b"{}", framing="length", has=(b"content-length: 2",)),
            "RFC 9112, 5.1: no part of the value",
        ),
    ]
    found = [Trick(name=name, sent=sent, outcome=outcome, why=why) for name, sent, outcome, why in tricks]
    for value in (
        b"2, 2", b"2,3", b"+2", b"-2", b"0x2", b"2 2", b"2;", b"2.0", b"2e0", b'"2"', b"", b"02", b"000000002", b"two",
        b"\xb2", b"9223372036854775808", b"18446744073709551618", b"99999999999999999999999999",
    ):  # fmt: skip
        why = "some read octal" if value[:1] == b"0" and value.isdigit() else "RFC 9110, 8.6"
        if value.isdigit() and len(value) > 18:
            why = "beyond 64 bits some wrap round"
        sent = post(b"Content-Length: " + value) + b"{}" + SMUGGLED
        found.append(Trick(name=f"length `{shown(value)}`", sent=sent, outcome=refused(), why=why))
    return found


def _codings() -> list[Trick]:
    found = []
    chunked = passed(b"", framing="chunked", has=(b"transfer-encoding: chunked",))
    for value, outcome, why in (
        (b"xchunked", refused(501), "RFC 9112, 6.1"),
        (b"chunked, chunked", refused(501), "RFC 9112, 6.1: never twice"),
        (b"chunked, identity", refused(501), "RFC 9112, 7: identity is no coding any more"),
        (b"identity", refused(501), "some ignore it and see no body"),
        (b"identity, chunked", refused(501), "RFC 9112, 7"),
        (b"gzip, chunked", refused(501), "a coding that is not understood is not carried on"),
        (b"chunked;q=1", refused(501), "RFC 9112, 7"),
        (b'"chunked"', refused(501), "RFC 9112, 7"),
        (b"", refused(501), "RFC 9112, 6.1"),
        (b"\x0bchunked", refused(), "some strip it"),
        (b"\x00chunked", refused(), "RFC 9110, 5.5"),
        (b"chunked\x0c", refused(), "some strip it"),
        (b"\r\n chunked", refused(), "RFC 9112, 5.2: folded"),
        (b"\t chunked\t", chunked, "RFC 9112, 5.1: no part of the value"),
        (b"CHUNKED", chunked, "RFC 9112, 7: names have no case"),
    ):
        sent = post(b"Transfer-Encoding:" + value) + ZERO
        found.append(Trick(name=f"transfer coding `{shown(value)}`", sent=sent, outcome=outcome, why=why))
    old = post(CHUNKED, start=b"POST @TARGET@ HTTP/1.0") + ZERO + SMUGGLED
    for name, sent, outcome, why in (
        ("two transfer codings", post(CHUNKED, CHUNKED) + ZERO, refused(501), "RFC 9112, 6.1"),
        ("chunked, then identity", post(CHUNKED, b"Transfer-Encoding: identity") + ZERO, refused(501), ""),
        ("chunks in HTTP/1.0", old, refused(), "RFC 9112, 6.1: framing that its version does not know"),
        ("a tab before the colon", post(b"Transfer-Encoding\t: chunked") + ZERO, refused(), "RFC 9112, 5.1"),
        ("`Transfer_Encoding`", post(b"Transfer_Encoding: chunked") + ZERO, refused(), "RFC 3875, 4.1.18"),
        ("behind a bare LF", post(b"X: a\nTransfer-Encoding: chunked") + ZERO, refused(), "RFC 9112, 2.2"),
        ("behind a bare CR", post(b"X: a\rTransfer-Encoding: chunked") + ZERO, refused(), "RFC 9112, 2.2"),
        ("chunks, and a request behind", post(CHUNKED) + ZERO + SECOND, passed(b"", b"", framing="chunked"), ""),
    ):
        found.append(Trick(name=name, sent=sent, outcome=outcome, why=why))
    return found


def _chunks() -> list[Trick]:
    found = []
    for line, outcome, why in (
        (b"0x2", broken(), "RFC 9112, 7.1: hexadecimal digits and nothing else"),
        (b"+2", broken(), "RFC 9112, 7.1"),
        (b"-2", broken(), "RFC 9112, 7.1"),
        (b"1_0", broken(), "some languages read 16"),
        (b"2 ", broken(), "RFC 9112, 7.1.1 lets white space stand only at an extension; some take it anywhere"),
        (b" 2", broken(), "RFC 9112, 7.1"),
        (b"2\t", broken(), "RFC 9112, 7.1"),
        (b"", broken(), "RFC 9112, 7.1"),
        (b"g", broken(), "RFC 9112, 7.1"),
        (b"\xb2", broken(), "RFC 9112, 7.1"),
        (b"ffffffffffffffff", broken(), "beyond 63 bits some wrap round"),
        (b"10000000000000002", broken(), "beyond 64 bits some wrap round"),
        (b"2;a\nb", broken(), "an extension that some end at LF"),
        (b"2;a\rb", broken(), "RFC 9112, 2.2"),
        (b"2;\x00", broken(), "RFC 9112, 7.1.1"),
        (b"2; a=b", broken(), "bad white space; nobody sends it"),
        (b"2;", broken(), "an extension has a name"),
        (b'2;a="\x01"', broken(), "RFC 9110, 5.6.4"),
        (b"2;" + b"a" * 5000, broken(), "a line longer than 4 KiB"),
        (b'2;a=b;c="d\\"e"', passed(b"{}", framing="chunked"), "RFC 9112, 7.1.1"),
        (b"0000000000000002", passed(b"{}", framing="chunked"), "RFC 9112, 7.1; servers write it"),
    ):
        name = f"chunk size `{shown(line)}`" if len(line) < 40 else "an extension of 5,000 bytes"
        sent = post(CHUNKED) + line + b"\r\n{}\r\n" + ZERO + (SMUGGLED if outcome == broken() else b"")
        found.append(Trick(name=name, sent=sent, outcome=outcome, why=why))
    rows = [
        ("a chunk size that ends with LF", b"2\n{}\r\n" + ZERO, broken(), "RFC 9112, 7.1"),
        ("a chunk longer than its size", b"2\r\n{}x\r\n" + ZERO, broken(), "RFC 9112, 7.1"),
        ("a chunk that ends with LF", b"2\r\n{}\n" + ZERO, broken(), "RFC 9112, 7.1"),
        ("a chunk that ends with CR", b"2\r\n{}\r" + ZERO, broken(), "RFC 9112, 7.1"),
        ("a trailer that ends with LF", b"0\r\nX: a\n\r\n", broken(), "RFC 9112, 2.2"),
        ("a folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", broken(), "RFC 9112, 5.2"),
        ("a last line that is no trailer", b"0\r\nx\r\n\r\n", broken(), "RFC 9112, 7.1.2"),
        ("a request where the trailer is due", b"0\r\n" + SMUGGLED, broken(), "the missing line end is not made up"),
        ("trailers of 20,000 bytes", b"0\r\n" + b"X: aaaaaa\r\n" * 2000 + b"\r\n", broken(), "16 KiB are enough"),
        ("a trailer", b"2\r\n{}\r\n0\r\nX-Sum: 1\r\n\r\n", passed(b"{}", framing="chunked"), "RFC 9112, 7.1.2"),
    ]
    for field in (b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Authorization", b"x-api-key"):
        rows.append(
            (f"`{field.decode()}` as a trailer", b"0\r\n" + field + b": 0\r\n\r\n", broken(), "RFC 9110, 6.5.1")
        )
    for text, sent, outcome, why in rows:
        behind = SMUGGLED if outcome == broken() and SMUGGLED not in sent else b""
        found.append(Trick(name=text, sent=post(CHUNKED) + sent + behind, outcome=outcome, why=why))
    return found


GROUPS: dict[str, list[Trick]] = {
    "Lengths": _lengths(),
    "Transfer codings": _codings(),
    "Chunks and trailers": _chunks(),
}
