"""Bodies as JSON can carry them: text where they are UTF-8, base64 where not, content codings taken off.

Apart because both formats need it. What cannot be decoded stays as it came, and says so by having no `encoding`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.errors import ProtocolError
from claudeproxy.model import BodyKept
from claudeproxy.sansio.encoding import decode, decode_prefix

if TYPE_CHECKING:
    from claudeproxy.store.values import HeaderList

MAX_DECODED = 256 * 1024 * 1024
"""Bytes that a body may expand to; one that goes beyond is exported as it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedBody:
    """A body: at most one of `text` and `base64` is set, neither when no bytes were kept (or they are damaged)."""

    text: str | None = None
    base64: str | None = None
    size: int = 0  # bytes of what is given
    encoding: str | None = None  # the content coding that was taken off
    damaged: bool = False


def read_body(kept: BodyKept, data: bytes | None, headers: HeaderList, *, taken_off: str | None = None) -> ExportedBody:
    """Make text of a stored body. `taken_off`: the coding that the store has taken off already."""
    if data is None:
        return ExportedBody(damaged=True)
    if not data:
        return ExportedBody(text="") if kept in (BodyKept.EMPTY, BodyKept.WHOLE) else ExportedBody()
    codings = None if taken_off else header(headers, "content-encoding")
    encoding = taken_off
    if codings is not None:
        decoded = _decoded(kept, data, codings)
        if decoded is not None:
            data, encoding = decoded, codings
    try:
        return ExportedBody(text=data.decode(), size=len(data), encoding=encoding)
    except UnicodeDecodeError:
        return ExportedBody(base64=base64.b64encode(data).decode(), size=len(data), encoding=encoding)


def header(headers: HeaderList, name: str) -> str | None:
    """Return a field's value, several joined by a comma; None when there is none."""
    return ", ".join(value for field, value in headers if field.lower() == name) or None


def _decoded(kept: BodyKept, data: bytes, codings: str) -> bytes | None:
    if kept is BodyKept.PARTIAL:
        return decode_prefix(data, codings, max_bytes=MAX_DECODED) or None
    try:
        return decode(data, codings, max_bytes=MAX_DECODED)
    except ProtocolError:
        return None
