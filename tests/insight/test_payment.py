from __future__ import annotations

import pytest

from claudeproxy.insight import payment as module
from claudeproxy.insight.payment import Payment, payment
from tests.store.exchanges import SECOND, START, exchange
from tests.store.limits import SUBSCRIBED


def pay(storage, number, cost=5, session_id="s", *, subscription=False):
    headers = {"headers": SUBSCRIBED} if subscription else {}
    (request_id,) = storage.record([exchange(number, **headers)], {})
    with storage.writing() as connection:
        connection.execute("UPDATE requests SET cost = ?, session_id = ? WHERE id = ?", (cost, session_id, request_id))
    return request_id


def test_what_nobody_paid_is_the_apis(storage):
    assert payment(storage) is payment(storage, session_id="s") is Payment.API


def test_dollars_of_a_subscription_are_an_equivalent(storage):
    pay(storage, 0, subscription=True)
    assert payment(storage) is Payment.SUBSCRIPTION
    assert payment(storage).label == "API equivalent"
    pay(storage, 1)
    assert payment(storage) is payment(storage, session_id="s") is Payment.MIXED
    assert "some of it API equivalent" in payment(storage).label


def test_only_what_has_a_cost_is_asked(storage):
    pay(storage, 0, cost=None, subscription=True)
    pay(storage, 1)
    assert payment(storage) is Payment.API
    assert payment(storage).label == "cost"


def test_time_and_session_bound_the_question(storage):
    pay(storage, 0, session_id="a", subscription=True)
    pay(storage, 1, session_id="b")
    assert payment(storage, until=START + SECOND) is payment(storage, session_id="a") is Payment.SUBSCRIPTION
    assert payment(storage, since=START + SECOND) is payment(storage, session_id="b") is Payment.API


def test_a_request_says_it_by_itself(storage):
    ids = [pay(storage, number, subscription=number == 1) for number in range(2)]
    assert [storage.get_request(one).subscription for one in ids] == [False, True]


@pytest.mark.parametrize(("statement", "index"), [(module.PAID, "requests_paid"), (module.PAID_IN_SESSION, "requests")])
def test_an_index_answers(storage, statement, index):
    bounds = {"subscription": 1, "since": 0, "until": 9, "session": "s"}
    steps = [row["detail"] for row in storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}", bounds)]
    assert any("SEARCH" in step and index in step for step in steps), steps
