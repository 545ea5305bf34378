"""Instants and money as the exports write them: as the REST API does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PICO = -12


def iso(nanoseconds: int | None) -> str | None:
    """``2026-11-22T21:26:03.123456Z``; None for what never came."""
    if nanoseconds is None:
        return None
    moment = _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def dollars(picodollars: int | None) -> str | None:
    """Pico-dollars as an exact decimal string of dollars; None where nothing was priced."""
    if picodollars is None:
        return None
    text = f"{Decimal(picodollars).scaleb(_PICO):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
