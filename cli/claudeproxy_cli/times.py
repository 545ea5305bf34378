"""Times as people write them, and as people read them.

Pure but for the local time zone, which is the person's: ``yesterday`` is theirs. Inside the program a time is an
integer of nanoseconds since the epoch, UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO: Final = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_DATE: Final = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{4}-?W\d{2}-?\d?")
NANO: Final = 1_000_000_000


class TimeSyntaxError(ValueError):
    """Text that is no time; the message says what is."""


def parse_time(text: str, *, now: datetime, end: bool = False) -> int:
    """Nanoseconds since the epoch of ``90s``, ``1h30m``, ``2d`` (ago), ``now``, ``today``, ``yesterday`` or ISO 8601.

    `now` is aware; its zone is used where the text names none. A day stands for its beginning, or with `end` for its
    last nanosecond: ``--since yesterday --until yesterday`` is yesterday. Raises TimeSyntaxError.
    """
    word = text.strip().lower()
    if word == "now":
        return to_ns(now)
    if word in {"today", "yesterday"}:
        return _day(now - timedelta(days=word == "yesterday"), now, end=end)
    if _AGO.fullmatch(word):
        try:
            return to_ns(now - timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(word))))
        except OverflowError:
            raise TimeSyntaxError(f"{text!r} is longer ago than time goes back") from None
    try:
        moment = datetime.fromisoformat(text.strip())
        if _DATE.fullmatch(text.strip()):
            return _day(moment, now, end=end)
        return to_ns(moment if moment.tzinfo else _local(moment, now))
    except (ValueError, OverflowError):
        raise TimeSyntaxError(
            f"{text!r} is not a time: write 90s, 30m, 1h, 2d, 1w (ago), today, yesterday, or ISO 8601 such as "
            "2026-11-20 or 2026-11-20T14:30:00Z"
        ) from None


def seconds_of(text: str) -> float | None:
    """Seconds of ``90s``, ``1h30m``, ``2d``; None for what is no length of time."""
    word = text.strip().lower()
    return sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(word)) if _AGO.fullmatch(word) else None


def _day(day: datetime, now: datetime, *, end: bool) -> int:
    start = _local(datetime.combine(day.date(), time()), now)
    # The next midnight, not 24 hours on: days of a clock change have 23 or 25.
    following = _local(datetime.combine(day.date() + timedelta(days=1), time()), now)
    return to_ns(following) - 1 if end else to_ns(start)


def _local(naive: datetime, now: datetime) -> datetime:
    """A time without zone in the person's zone: the system's rules when `now` has a plain offset from astimezone()."""
    offset = now.utcoffset()
    if offset is not None and now.astimezone().utcoffset() == offset:
        return naive.astimezone()
    return naive.replace(tzinfo=now.tzinfo)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime, exactly (a float's 53 bits are not enough)."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * NANO + delta.microseconds * 1000


def iso(ns: int | None) -> str | None:
    """``2026-11-20T14:30:00.123456Z``: what the REST API writes."""
    if ns is None:
        return None
    seconds, rest = divmod(ns, NANO)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"


def short(ns: int, *, now: datetime) -> str:
    """For tables, in the local zone: the time of today, else date and time."""
    moment = datetime.fromtimestamp(ns / NANO, UTC).astimezone()
    today = now.astimezone().date()
    if moment.date() == today:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%m-%d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d}"


def local_time(value: object) -> str:
    """A cell of a table: `iso`'s text as `short` writes it, a dash for None."""
    if value is None:
        return "-"
    now = datetime.now(UTC).astimezone()
    return short(int(datetime.fromisoformat(str(value)).timestamp() * NANO), now=now)


def duration(seconds: float) -> str:
    """``0.4s``, ``12s``, ``3m 5s``, ``2h 10m``, ``3d 4h``: two units at the most."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    total = round(seconds)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, total = divmod(total, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def milliseconds(ms: float | None) -> str:
    """``420ms``, ``1.4s``, or a dash for what never came."""
    if ms is None:
        return "-"
    return f"{ms:.0f}ms" if ms < 1000 else duration(ms / 1000) if ms < 10_000 else f"{ms / 1000:.0f}s"
