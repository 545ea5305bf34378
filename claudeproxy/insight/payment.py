"""Who paid: the API's bill, or a subscription, for which dollars are only what the API would have charged.

Apart because every list of costs needs to know what to call them. One request says it by itself
(`CapturedRequest.subscription`); this is for sums.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

API_EQUIVALENT = "API equivalent"

_ALWAYS = 1 << 62  # ns: later than any capture
PAID = """
SELECT EXISTS (SELECT 1 FROM requests WHERE subscription = :subscription AND cost IS NOT NULL
  AND request_initiated >= :since AND request_initiated < :until)
"""
PAID_IN_SESSION = """
SELECT EXISTS (SELECT 1 FROM requests WHERE subscription = :subscription AND cost IS NOT NULL
  AND session_id = :session)
"""


class Payment(StrEnum):
    """How what was captured was paid for."""

    API = "api"
    SUBSCRIPTION = "subscription"
    MIXED = "mixed"

    @property
    def label(self) -> str:
        """What to call a sum of such dollars."""
        return {
            Payment.API: "cost",
            Payment.SUBSCRIPTION: API_EQUIVALENT,
            Payment.MIXED: f"cost, some of it {API_EQUIVALENT}",
        }[self]


def payment(
    storage: CaptureStorage, *, since: int | None = None, until: int | None = None, session_id: str | None = None
) -> Payment:
    """Return how the captures of a session, or of a time (ns since the epoch), were paid; `API` where nothing was.

    Captures that retention has deleted are not asked: their costs may stand in a sum all the same.
    """
    bounds = {"since": since or 0, "until": _ALWAYS if until is None else until, "session": session_id}
    statement = PAID if session_id is None else PAID_IN_SESSION
    with storage.reading() as connection:
        api, subscription = (
            connection.execute(statement, {**bounds, "subscription": paid}).fetchone()[0] for paid in (0, 1)
        )
    return Payment.MIXED if api and subscription else Payment.SUBSCRIPTION if subscription else Payment.API
