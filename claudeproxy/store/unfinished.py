"""Which parts of what follows from a capture could not be derived, and who has tried.

Apart from the parts themselves because they fail alike: an exception that nobody foresaw costs that part of that one
exchange, is noted here, counted, and tried again by another version of the code or when a person asks for it
(``claudeproxy metrics rebuild``). Never what the environment is to blame for: that is simply tried again.
"""

from __future__ import annotations

import sqlite3
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

DIED = "the recorder died"
"""Stands for the type of an exception where none was left to tell."""


class Part(StrEnum):
    """A part of what is derived from an exchange; in the order in which they are."""

    BODY = "body"  # the request's: content coding taken off, cut into blocks
    ANSWER = "answer"  # message, usage and errors, read from the response
    CALLS = "calls"  # of agents, in the answer
    QUOTA = "quota"  # limits and kind of account, from the heads
    ATTRIBUTION = "attribution"
    ACCOUNTING = "accounting"
    SEARCH = "search"


STORED_WITH = (Part.BODY, Part.ANSWER, Part.CALLS, Part.QUOTA)
"""What is derived while an exchange is stored; the others follow."""


def tried_by(part: Part, rules_version: str = "") -> str:
    """Return what stands for this version of the code, and for attribution of the rules."""
    return f"{__version__} {rules_version}" if part is Part.ATTRIBUTION else __version__


def note(connection: sqlite3.Connection, number: int, part: Part, error: str, *, rules_version: str = "") -> None:
    """Note that a part of request `number` failed. The caller holds the transaction."""
    connection.execute(
        "INSERT OR REPLACE INTO unfinished VALUES (?, ?, ?, ?)", (number, part, tried_by(part, rules_version), error)
    )


def clear(connection: sqlite3.Connection, number: int, parts: Sequence[Part]) -> None:
    """Note that parts of request `number` are there now."""
    marks = ", ".join("?" * len(parts))
    connection.execute(f"DELETE FROM unfinished WHERE request = ? AND part IN ({marks})", (number, *parts))  # noqa: S608


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many requests lack each part; only parts that any lacks."""
    rows = connection.execute("SELECT part, count(*) FROM unfinished GROUP BY part ORDER BY part").fetchall()
    return {str(part): int(count) for part, count in rows}


def waiting(connection: sqlite3.Connection, rules_version: str | None, limit: int) -> list[str]:
    """Return ids of requests with a part that this version has not tried; with None of all that lack any."""
    rows = connection.execute(
        "SELECT DISTINCT q.id FROM unfinished u JOIN requests q ON q.n = u.request"
        " WHERE ?1 IS NULL OR u.version <> iif(u.part = ?2, ?1, ?3) LIMIT ?4",
        (
            None if rules_version is None else tried_by(Part.ATTRIBUTION, rules_version),
            Part.ATTRIBUTION,
            __version__,
            limit,
        ),
    ).fetchall()
    return [str(row[0]) for row in rows]


def is_content(error: BaseException) -> bool:
    """Tell whether an exception is about what was to be written, not about a disk, a lock or a damaged file."""
    if isinstance(error, sqlite3.Error):
        content = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError)
        return isinstance(error, content)
    return isinstance(error, Exception) and not isinstance(error, OSError | MemoryError)
