"""Times at the edge: integer nanoseconds since the epoch inside, ISO 8601 in UTC with a ``Z`` outside.

Apart because every resource speaks of times. Answers carry microseconds: what lies below them is kept in the database
and is of no use to a reader.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

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
    """Nanoseconds since the epoch of an ISO 8601 date or time; without a zone it is UTC. ValueError when it is none."""
    try:
        moment = datetime.fromisoformat(_with_plus(text.strip()))
    except ValueError:
        raise ValueError("give an ISO 8601 time, such as 2026-01-31T09:30:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    nanoseconds = (moment - _EPOCH) // _MICROSECOND * 1000
    if not 0 <= nanoseconds < 1 << 63:
        raise ValueError("give a time between 1970 and 2262")
    return nanoseconds


def _with_plus(text: str) -> str:
    return _LOST_PLUS.sub("+", text) if "T" in text else text
