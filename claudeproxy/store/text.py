"""Values from the wire made fit for SQLite: it takes UTF-8 text and 64-bit integers, and clients send others.

Apart because one lone surrogate in a model's name must not fail the transaction that holds a hundred other exchanges.
"""

from __future__ import annotations

from typing import overload

_MAX = 2**63 - 1


@overload
def clean(value: str) -> str: ...
@overload
def clean(value: None) -> None: ...
@overload
def clean(value: str | None) -> str | None: ...
def clean(value: str | None) -> str | None:
    """Return the text with what UTF-8 cannot hold, and NUL (where SQLite's functions stop reading), replaced."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "�")


def bounded(value: int | None) -> int | None:
    """Return the number, None when it does not fit into 64 bits: no count of ours is that large."""
    return value if value is not None and -_MAX <= value <= _MAX else None
