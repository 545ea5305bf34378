from __future__ import annotations

import pytest

from claudeproxy.store.indexing import BATCH, Indexer
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import exchange, response
from tests.store.filling import answer, prompt


@pytest.fixture
def errors():
    return []


@pytest.fixture
def indexer(storage, errors):
    return Indexer(storage, lambda request_id, error: errors.append((request_id, error)))


def fill(storage, count):
    return [
        storage.record([exchange(n, prompt(f"wren {n}"), response=response(answer(f"robin {n}"), number=n))], {})[0]
        for n in range(count)
    ]


def found(storage, q):
    return storage.query_requests(RequestFilters(q=q)).total


def test_a_request_is_indexed_with_its_answer(storage, indexer, errors):
    for request_id in fill(storage, 2):
        indexer.index(request_id)
    assert (found(storage, "wren"), found(storage, "robin"), errors) == (2, 2, [])


def test_what_was_missed_is_indexed_at_leisure(storage, indexer, errors):
    fill(storage, 2 * BATCH + 1)
    assert [indexer.catch_up() for _ in range(4)] == [True, True, True, False]
    assert found(storage, "wren") == 2 * BATCH + 1
    fill(storage, 2 * BATCH + 2)
    assert not indexer.catch_up()  # nobody said that there was more
    indexer.leave_for_later()
    assert indexer.catch_up()
    assert (found(storage, "wren"), errors) == (2 * BATCH + 2, [])


def test_what_cannot_be_indexed_is_told_once_and_stops_nothing(storage, indexer, errors):
    ids = fill(storage, BATCH + 3)
    storage._connection.execute(
        "UPDATE blocks SET start = 1000000 WHERE id IN (SELECT block FROM nodes WHERE depth = 2)"
        " AND id = (SELECT block FROM nodes n JOIN requests q ON q.node = n.id WHERE q.id = ?)",
        (ids[0],),
    )
    while indexer.catch_up():
        pass
    assert [request_id for request_id, _ in errors] == ids[:1]
    assert found(storage, "wren") == BATCH + 2


def test_what_a_full_disk_left_out_is_indexed_when_there_is_room(storage, indexer, errors):
    fill(storage, BATCH)
    (large,) = storage.record([exchange(99, prompt(" ".join(f"w{n}" for n in range(9_000))))], {})
    storage._connection.execute(
        f"PRAGMA max_page_count = {storage._connection.execute('PRAGMA page_count').fetchone()[0]}"
    )
    indexer.index(large)
    assert (indexer.blocked, [request_id for request_id, _ in errors]) == (True, [large])
    assert indexer.catch_up()
    assert (found(storage, "wren"), len(errors)) == (0, 1)
    storage._connection.execute("PRAGMA max_page_count = 100000")
    indexer.blocked = False
    while indexer.catch_up():
        pass
    assert (found(storage, "wren"), found(storage, "w8999"), len(errors)) == (BATCH, 1, 1)
