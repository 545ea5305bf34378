"""What the recorder says unasked: that a session has passed the amount at which somebody wants to be told.

Apart from `recording`, which asks after each exchange, and from `store.budgets`, which knows when: this is the telling.
An alert is a line in the log and stays in `health` with the few before it. It stops nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.logs import get_logger
from claudeproxy.store.budgets import SessionBudget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.store.budgets import BudgetPassed
    from claudeproxy.store.session import StorageSession

log = get_logger("claudeproxy.recording")

KEPT = 10  # alerts in `health`
_DOLLAR = 10**12


class CostAlerts:
    """Alerts of one storage. `amount` is in pico-dollars; None: there are none. Not thread-safe."""

    def __init__(self, storage: StorageSession, amount: int | None) -> None:
        self.latest: Sequence[Mapping[str, object]] = ()
        self._budget = None if amount is None else SessionBudget(storage, amount)

    def watch(self, request_id: str) -> None:
        """Tell it when this request, whose numbers are settled, made its session pass the amount or a multiple.

        :raises StorageError: the database cannot be read.
        """
        if self._budget is None or (passed := self._budget.passed(request_id)) is None:
            return
        alert = _alert(passed)
        self.latest = (*self.latest, alert)[-KEPT:]
        log.warning("session passed alert_session_cost", **alert)


def _alert(passed: BudgetPassed) -> dict[str, object]:
    """Amounts in US dollars, to the cent."""
    alert: dict[str, object] = {
        "session_id": passed.session_id,
        "cost": f"${passed.cost / _DOLLAR:.2f}",
        "passed": f"${passed.passed / _DOLLAR:.2f}",
    }
    return alert | {"api_equivalent": True} if passed.subscription else alert
