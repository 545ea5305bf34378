from __future__ import annotations

import pytest

from claudeproxy.store.budgets import BudgetPassed, SessionBudget
from tests.store.exchanges import correlation, exchange
from tests.store.limits import SUBSCRIBED


def pay(storage, number, cost, session_id="s", **changes):
    """Record a request that cost so much."""
    (request_id,) = storage.record([exchange(number, **changes)], {})
    with storage.writing() as connection:
        connection.execute(
            "UPDATE requests SET cost = ?, session_id = ? WHERE correlation_id = ?",
            (cost, session_id, correlation(number)),
        )
    return request_id


def test_a_session_is_told_of_once_for_each_multiple(storage):
    budget = SessionBudget(storage, 100)
    costs = [60, 39, 1, 50, 49, 1, 350, 0]
    told = [budget.passed(pay(storage, number, cost)) for number, cost in enumerate(costs)]
    assert [one and one.passed for one in told] == [None, None, 100, None, None, 200, 500, None]
    assert told[2] == BudgetPassed(session_id="s", cost=100, passed=100, subscription=False)


def test_the_same_request_is_told_of_once(storage):
    budget = SessionBudget(storage, 100)
    request_id = pay(storage, 0, 150)
    assert budget.passed(request_id) is not None
    assert budget.passed(request_id) is None


def test_a_restart_repeats_no_alert(storage):
    SessionBudget(storage, 100).passed(pay(storage, 0, 150))
    again = SessionBudget(storage, 100)
    assert again.passed(pay(storage, 1, 20)) is None
    assert again.passed(pay(storage, 2, 40)).passed == 200


def test_sessions_are_apart(storage):
    budget = SessionBudget(storage, 100)
    assert budget.passed(pay(storage, 0, 90, "a")) is None
    assert budget.passed(pay(storage, 1, 90, "b")) is None
    assert budget.passed(pay(storage, 2, 10, "a")).session_id == "a"


@pytest.mark.parametrize(("cost", "session_id"), [(None, "s"), (500, None)])
def test_what_has_no_price_or_no_session_is_never_told_of(storage, cost, session_id):
    assert SessionBudget(storage, 100).passed(pay(storage, 0, cost, session_id)) is None
    assert SessionBudget(storage, 100).passed("nobody") is None


def test_a_subscription_is_said(storage):
    assert SessionBudget(storage, 100).passed(pay(storage, 0, 100, headers=SUBSCRIBED)).subscription


def test_more_sessions_than_are_remembered_are_told_of(storage, monkeypatch):
    monkeypatch.setattr("claudeproxy.store.budgets.MAX_REMEMBERED", 2)
    budget = SessionBudget(storage, 100)
    told = [budget.passed(pay(storage, number, 100, f"s{number}")) for number in range(5)]
    assert all(told)


def test_an_amount_of_nothing_is_an_error(storage):
    with pytest.raises(ValueError, match="above 0"):
        SessionBudget(storage, 0)
