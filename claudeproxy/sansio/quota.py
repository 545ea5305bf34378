"""What the heads of an exchange say of an account: how full its limits are, and whether it pays by the token at all.

Apart because both the store, which keeps it, and whoever looks at one exchange read the same fields. Names, as the API
documents them and as its answers to subscription clients have them:

    anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}     reset in RFC 3339
    anthropic-priority-{input-tokens,output-tokens}-..., anthropic-fast-{...}-...                the same
    anthropic-ratelimit-unified-{5h,7d,7d_opus,overage,...}-{status,utilization,reset}           reset in epoch seconds
    anthropic-ratelimit-unified-{status,reset}                                                   all of those together

New windows come without notice, so names are not listed but read. Fields that cannot be read are left out one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.model import RawHeaders

MILLION = 1_000_000
UNIFIED = "unified"  # the window that stands for all of a subscription's

_FIELD = re.compile(
    r"anthropic-(ratelimit|priority|fast)-([a-z0-9_-]{1,60}?)-(limit|remaining|reset|status|utilization)"
)
_PREFIX = b"anthropic-"
_STATUS = re.compile(r"[a-z_]{1,40}")
_MOST = 1000 * MILLION  # a utilisation beyond this is no share of anything
_LATEST = 9e9  # epoch seconds, in the year 2255: as nanoseconds they still fit into 64 bits
_OAUTH_BETA = "oauth-"  # anthropic-beta of clients that log in with a subscription: oauth-2025-04-20
_UNIFIED_FIELD = b"anthropic-ratelimit-unified-"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaReading:
    """One limit as one answer's head tells of it. None: it does not say."""

    window: str  # "5h", "7d", "7d_opus", "requests", "input-tokens", "priority-input-tokens"; "unified": all together
    used: int | None  # millionths of the limit; above a million where it may be gone over
    limit: int | None  # requests or tokens a minute
    remaining: int | None
    reset: int | None  # ns since the epoch: when the window ends, or the limit is whole again
    status: str | None  # allowed, allowed_warning, rejected


def read_quota(headers: RawHeaders) -> list[QuotaReading]:
    """Return what an answer's head says of each limit, in order of the windows' first fields."""
    found: dict[str, dict[str, str]] = {}
    for name, value in headers:
        if name[:10].lower() != _PREFIX or (match := _FIELD.fullmatch(name.decode("latin-1").lower())) is None:
            continue
        family, window, what = match.groups()
        if family != "ratelimit":
            window = f"{family}-{window}"
        found.setdefault(window.removeprefix(f"{UNIFIED}-"), {}).setdefault(what, value.decode("latin-1").strip())
    readings = (_reading(window, said) for window, said in found.items())
    return [one for one in readings if one is not None]


def account_of(headers: RawHeaders) -> str | None:
    """Return whose limits an answer tells of: the organisation's id, as the API says it; None where it does not.

    A better key than the hash of the credential: a subscription's token changes every few hours.
    """
    for name, value in headers:
        if name.lower() == b"anthropic-organization-id":
            return value.decode("latin-1")[:100] or None
    return None


def pays_by_subscription(request: RawHeaders, response: RawHeaders = ()) -> bool:
    """Tell whether an exchange was paid by a subscription, so that dollars are what the API would have charged.

    By the beta that clients name when they are logged in with one, or by an answer that tells of a subscription's
    limits. A bearer token says nothing: API keys come in one too.
    """
    for name, value in request:
        if name.lower() == b"anthropic-beta":
            betas = value.decode("latin-1").lower().split(",")
            if any(beta.strip().startswith(_OAUTH_BETA) for beta in betas):
                return True
    return any(name[: len(_UNIFIED_FIELD)].lower() == _UNIFIED_FIELD for name, _ in response)


def _reading(window: str, said: Mapping[str, str]) -> QuotaReading | None:
    limit, remaining = _count(said.get("limit")), _count(said.get("remaining"))
    used = _share(said.get("utilization"))
    if used is None and limit and remaining is not None:
        used = max(0, MILLION - MILLION * remaining // limit)
    status = said.get("status", "").lower()
    reading = QuotaReading(
        window=window,
        used=used,
        limit=limit,
        remaining=remaining,
        reset=_instant(said.get("reset")),
        status=status if _STATUS.fullmatch(status) else None,
    )
    nothing = (reading.used, reading.limit, reading.remaining, reading.reset, reading.status) == (None,) * 5
    return None if nothing else reading


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= 18 else None


def _share(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else round(number * MILLION) if 0 <= number * MILLION <= _MOST else None


def _instant(text: str | None) -> int | None:
    """Read epoch seconds or RFC 3339."""
    if text is None:
        return None
    seconds = _number(text)
    if seconds is None:
        try:
            moment = datetime.fromisoformat(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    return round(seconds * 1000) * MILLION if 0 < seconds < _LATEST else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if isfinite(number) else None
