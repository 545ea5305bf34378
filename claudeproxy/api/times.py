"""Times at the edge: integer nanoseconds since the epoch inside, ISO 8601 in UTC with a ``Z`` outside.

Apart because every resource speaks of times. Answers carry microseconds: what lies below them is kept in the database
and is of no use to a reader.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LAST = (1 << 63) - 1
_YEAR_0 = re.compile(r"^0000(?=[0-9-])")

# "+" means a space in a query string: "...T10:00:00+02:00" arrives with one unless the client was careful.
_LOST_PLUS = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}$)")


def iso(nanoseconds: int) -> str:
    """``2026-11-22T21:26:03.123456Z``: always microseconds, so that the texts sort as the times do."""
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond:06d}Z"


def iso_or_none(nanoseconds: int | None) -> str | None:
    """`iso`, for an instant that may never have come."""
    return None if nanoseconds is None else iso(nanoseconds)


def parse_time(text: str) -> int:
    """Nanoseconds since the epoch of an ISO 8601 date or time; without a zone it is UTC. ValueError when it is none.

    Any year is a time, also those that no capture can have: `within_reach`, where it is to be compared with captures.
    """
    try:
        moment = datetime.fromisoformat(_as_python_reads(text.strip()))
    except ValueError:
        raise ValueError("give an ISO 8601 time, such as 2026-01-31T09:30:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND * 1000


def within_reach(nanoseconds: int | None) -> int | None:
    """The nearest instant that the database's integers hold: before all captures, or after them, stays so."""
    return None if nanoseconds is None else max(0, min(nanoseconds, _LAST))


def _as_python_reads(text: str) -> str:
    # RFC 3339 knows a year 0 and Python does not: both lie before every capture.
    text = _YEAR_0.sub("0001", text.upper())
    return _LOST_PLUS.sub("+", text) if "T" in text else text
