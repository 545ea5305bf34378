"""What `Quota` gives: windows, their hours, and who used them. Frozen values; times are ns since the epoch.

Apart, as `values` is, so that the API and the command line can name them without the SQL behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from claudeproxy.sansio.quota import MILLION

if TYPE_CHECKING:
    from collections.abc import Sequence


class QuotaBy(StrEnum):
    """What a window's use may be divided by."""

    SOURCE = "source"
    SESSION = "session"
    HOUR = "hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaState:
    """A window as the latest answer told of it; None for what it did not say. Times are ns since the epoch."""

    account: str  # the organisation's id, or the hash of an API key; "": unknown
    window: str  # "5h", "7d", "input-tokens"; "unified": all of a subscription's together
    at: int
    used: float | None  # 0.0 to 1.0, and more where a limit may be gone over
    limit: int | None
    remaining: int | None
    reset: int | None
    status: str | None  # allowed, allowed_warning, rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaHour:
    """One window in one hour. `latest` is what the hour's last answer said; the rest is over all of them."""

    start: int
    samples: int
    rejected: int  # answers that said so
    least: float | None
    most: float | None
    latest: QuotaState


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaShare:
    """What one source, session or hour (its start, ns since the epoch) used of a window."""

    key: str
    millionths: int  # of the window's limit
    requests: int

    @property
    def used(self) -> float:
        """As a share of the limit."""
        return self.millionths / MILLION


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """What ate one window: the shares, the largest first (hours in order of time), add up to `millionths`."""

    account: str
    window: str
    millionths: int
    requests: int  # whose answers told of this window
    shares: Sequence[QuotaShare]

    @property
    def used(self) -> float:
        """All rises together, as a share of the limit: more than 1.0 over several periods."""
        return self.millionths / MILLION
