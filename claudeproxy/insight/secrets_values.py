"""What `Secrets` gives. Frozen values; times are ns since the epoch. Never a secret, only its keyed hash.

Apart so that the API and the command line can name them without the SQL behind. Both show them as JSON: `use_fields`
and `sighting_fields`, for which each says how it writes an instant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSource:
    """A source through which a secret came into requests, or `Assistant`: an answer that held it."""

    label: str
    requests: int
    first_seen: int
    last_seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """One secret: which kind, when, how often. Counts are of exchanges, those deleted since included."""

    rule: str
    hash: str  # 32 hex digits, keyed: the same secret has the same on this installation
    first_seen: int
    last_seen: int
    sent: int  # requests that held it
    received: int  # answers that held it
    masked: int  # of both, those whose record does not
    sources: Sequence[SecretSource]  # the one with the most requests first


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSighting:
    """One place of a secret in a captured exchange that is still there."""

    request_id: str
    at: int
    direction: str  # sent, received
    source: str | None  # None: not looked up yet
    json_path: str | None
    start: int  # byte offset in the decoded body
    length: int
    masked: bool
    session_id: str | None


def use_fields(one: SecretUse, instant: Callable[[int], str | None]) -> dict[str, object]:
    """A secret as JSON can carry it."""
    return {
        "rule": one.rule,
        "hash": one.hash,
        "first_seen": instant(one.first_seen),
        "last_seen": instant(one.last_seen),
        "sent": one.sent,
        "received": one.received,
        "masked": one.masked,
        "sources": [
            {
                "label": source.label,
                "requests": source.requests,
                "first_seen": instant(source.first_seen),
                "last_seen": instant(source.last_seen),
            }
            for source in one.sources
        ],
    }


def sighting_fields(one: SecretSighting, instant: Callable[[int], str | None]) -> dict[str, object]:
    """One place of it, likewise."""
    return {
        "request_id": one.request_id,
        "timestamp": instant(one.at),
        "session_id": one.session_id,
        "direction": one.direction,
        "source": one.source,
        "json_path": one.json_path,
        "start": one.start,
        "length": one.length,
        "masked": one.masked,
    }
