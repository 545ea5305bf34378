"""Whether a session has just become dearer than it should: what the recorder asks after each bill.

Apart from the sums in `insight`, which are for people who ask: this is for those who do not. It knows the amounts that
were passed before this process began, so that a restart repeats no alert.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from claudeproxy.store.session import StorageSession

MAX_REMEMBERED = 1000  # sessions

_SESSION = "SELECT session_id, n FROM requests WHERE id = ? AND session_id IS NOT NULL AND cost IS NOT NULL"
_COST = """
SELECT ifnull(sum(cost), 0) AS cost, ifnull(sum(iif(n = :n, 0, cost)), 0) AS before, max(subscription) AS subscription
FROM requests WHERE session_id = :session
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetPassed:
    """A session that has cost a multiple of the amount for the first time. Amounts in pico-dollars."""

    session_id: str
    cost: int
    passed: int  # the multiple
    subscription: bool  # the cost is what the API would have charged


class SessionBudget:
    """Looks after one amount in one storage. Not thread-safe.

    :param amount: pico-dollars, above 0.
    """

    def __init__(self, storage: StorageSession, amount: int) -> None:
        if amount <= 0:
            raise ValueError(f"an amount to be alerted at must be above 0, not {amount}")
        self._storage = storage
        self._amount = amount
        self._told: dict[str, int] = {}  # session to the multiple that was told last

    def passed(self, request_id: str) -> BudgetPassed | None:
        """Tell whether a request that was just settled made its session pass the amount, or another multiple of it.

        :raises StorageError: the database cannot be read.
        """
        with self._storage.reading() as connection:
            row = connection.execute(_SESSION, (request_id,)).fetchone()
            if row is None:
                return None
            session_id = str(row["session_id"])
            sums = connection.execute(_COST, {"session": session_id, "n": row["n"]}).fetchone()
        if len(self._told) >= MAX_REMEMBERED:
            self._told.clear()  # then what others had cost before counts as told, as after a restart
        told = self._told.setdefault(session_id, sums["before"] // self._amount)
        times = sums["cost"] // self._amount
        if times <= told:
            return None
        self._told[session_id] = times
        return BudgetPassed(
            session_id=session_id,
            cost=sums["cost"],
            passed=times * self._amount,
            subscription=bool(sums["subscription"]),
        )
