"""Ids in paths: a UUID that names a record, or 404.

Abbreviated ids are for people at a prompt; a program that sends half an id has a fault, and a prefix that is unique
today may not be tomorrow.
"""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING
from uuid import UUID

from claudeproxy.api.errors import ApiError
from claudeproxy.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator


def whole_id(text: str, not_found: str) -> str:
    """The id in canonical form; ApiError 404 with the text `not_found` when it is no UUID."""
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise ApiError(HTTPStatus.NOT_FOUND, not_found, "An id is a whole UUID.")
    return canonical


def place(text: str, not_found: str) -> int:
    """A number from 0; ApiError 404 with the text `not_found` when it is none (that SQLite could hold)."""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ApiError(HTTPStatus.NOT_FOUND, not_found, "A message is named by its index, from 0.")
    return int(text)


@contextmanager
def or_404(not_found: str) -> Iterator[None]:
    """Within it, an id that the store does not know becomes ApiError 404 with the text `not_found`."""
    try:
        yield
    except NotFoundError:
        raise ApiError(HTTPStatus.NOT_FOUND, not_found) from None
