"""The bytes that the rows of the corpus are made of. `@TARGET@` and its like are filled in by the way in."""

from __future__ import annotations

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n"
"""What an attacker hopes that the upstream takes for a request of its own."""
SMUGGLED_LENGTH = b"Content-Length: %d" % len(SMUGGLED)
SECOND = b"GET @TARGET@ HTTP/1.1\r\nHost: @HOST@\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
ZERO = b"0\r\n\r\n"


def post(*lines: bytes, start: bytes = b"POST @TARGET@ HTTP/1.1", host: bytes = b"Host: @HOST@\r\n") -> bytes:
    """A head with these lines behind its Host."""
    return start + b"\r\n" + host + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def get(*lines: bytes) -> bytes:
    """The same of a GET."""
    return post(*lines, start=b"GET @TARGET@ HTTP/1.1")


def shown(value: bytes) -> str:
    """A value as the page shows it."""
    text = value.decode("latin-1").replace("@HOST@", "HOST").replace("@NAME@", "HOST")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text) or "(empty)"
