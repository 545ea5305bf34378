from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import State
from claudeproxy.store.changes import Change, ChangeLog
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import correlation, exchange, in_flight
from tests.store.explaining import count, explain

if TYPE_CHECKING:
    from pathlib import Path

EVERYTHING = RequestFilters()
BODY = json.dumps({"messages": [{"role": "user", "content": "hello"}]}).encode()


@pytest.fixture
def log(storage: CaptureStorage) -> ChangeLog:
    return ChangeLog(storage)


def told(log: ChangeLog, after: int = 0, filters: RequestFilters = EVERYTHING) -> list[tuple[str, str]]:
    """What the log tells: correlation ids and changes."""
    page = log.since(after, filters, limit=1000)
    assert not page.more
    return [(one.request.correlation_id, str(one.change)) for one in page.changes]


def attribute(storage: CaptureStorage, request_id: str, version: str = "1") -> None:
    result = explain(BODY)
    storage.save_attribution(request_id, result, count(result), rules_version=version)


def test_an_empty_database_has_no_changes(log: ChangeLog) -> None:
    assert log.newest() == 0
    page = log.since(0, EVERYTHING)
    assert (page.changes, page.upto, page.more) == ((), 0, False)


def test_each_change_of_state_is_told_once_and_in_order(storage: CaptureStorage, log: ChangeLog) -> None:
    seen = []
    after = 0
    steps = (
        lambda: storage.record([in_flight(1, BODY)], {}),
        lambda: storage.record([in_flight(1, BODY)], {}),  # a checkpoint: nothing new
        lambda: storage.record([exchange(1, BODY)], {}),
        lambda: storage.record([exchange(1, BODY)], {}),  # the journal is read again
        lambda: attribute(storage, storage.get_request(correlation(1)).id),
    )
    for step in steps:
        step()
        page = log.since(after, EVERYTHING)
        seen.append([(str(one.change), str(one.request.state), one.final) for one in page.changes])
        after = page.upto
    assert seen == [
        [("started", "in_flight", False)],
        [],
        [("ended", "complete", False)],
        [],
        [("attributed", "complete", True)],
    ]
    assert after == log.newest()


def test_an_exchange_that_was_never_seen_in_flight_is_told_when_it_ends(
    storage: CaptureStorage, log: ChangeLog
) -> None:
    storage.record([exchange(1, BODY, state=State.CUT_BY_UPSTREAM)], {})
    assert told(log) == [(correlation(1), "ended")]


def test_what_has_nothing_to_explain_is_final_when_it_ends(storage: CaptureStorage, log: ChangeLog) -> None:
    storage.record([exchange(1, b"")], {})
    (change,) = log.since(0, EVERYTHING).changes
    assert (change.change, change.final, change.sources) == (Change.ENDED, True, [])


def test_what_was_explained_in_flight_is_final_when_it_is_settled(storage: CaptureStorage, log: ChangeLog) -> None:
    (request_id,) = storage.record([in_flight(1, BODY)], {})
    attribute(storage, request_id)
    assert [(one.change, one.final) for one in log.since(0, EVERYTHING).changes] == [
        (Change.STARTED, False),
        (Change.ATTRIBUTED, False),
    ]
    after = log.newest()
    storage.record([exchange(1, BODY)], {})
    page = log.since(after, EVERYTHING)
    assert [(one.change, one.final) for one in page.changes] == [(Change.ENDED, False)]
    storage.settle(request_id, rules_version="1")
    (change,) = log.since(page.upto, EVERYTHING).changes
    assert (change.change, change.final) == (Change.ATTRIBUTED, True)
    assert change.sources == storage.sources(request_id) != []


def test_newer_rules_are_no_news_of_an_exchange(storage: CaptureStorage, log: ChangeLog) -> None:
    (request_id,) = storage.record([exchange(1, BODY)], {})
    attribute(storage, request_id)
    newest = log.newest()
    attribute(storage, request_id, version="2")
    assert log.newest() == newest


def test_only_what_matches_is_told_and_the_rest_is_passed_over(storage: CaptureStorage, log: ChangeLog) -> None:
    storage.record([exchange(number, method="PUT" if number % 2 else "POST") for number in range(6)], {})
    page = log.since(0, RequestFilters(method="PUT"), limit=3)
    assert [one.request.correlation_id for one in page.changes] == [correlation(1)]
    assert page.more
    assert told(log, page.upto, RequestFilters(method="PUT")) == [(correlation(3), "ended"), (correlation(5), "ended")]
    assert told(log, 0, RequestFilters(method="DELETE")) == []
    assert log.since(0, RequestFilters(method="DELETE")).upto == log.newest()


def test_filters_on_what_is_found_later_match_when_it_is_found(storage: CaptureStorage, log: ChangeLog) -> None:
    (request_id,) = storage.record([exchange(1, BODY)], {})
    by_user = RequestFilters(source_type="User", status=200, limit=1, offset=7)
    assert told(log, 0, by_user) == []
    after = log.newest()
    attribute(storage, request_id)
    assert told(log, after, by_user) == [(correlation(1), "attributed")]


def test_a_deleted_exchange_is_not_told_and_its_numbers_do_not_come_back(
    storage: CaptureStorage, log: ChangeLog
) -> None:
    storage.record([exchange(1), exchange(2)], {})
    newest = log.newest()
    with storage.writing() as connection:
        connection.execute("DELETE FROM requests")
    assert told(log) == []
    assert log.newest() == newest
    storage.record([exchange(3)], {})
    assert told(log, newest) == [(correlation(3), "ended")]


def test_a_number_of_another_database_starts_from_the_beginning(storage: CaptureStorage, log: ChangeLog) -> None:
    storage.record([exchange(1)], {})
    assert told(log, 10_000) == [(correlation(1), "ended")]


def test_it_reads_what_others_store_and_works_read_only(storage: CaptureStorage, database: Path) -> None:
    with CaptureStorage(database, read_only=True) as reader:
        log = ChangeLog(reader)
        assert log.newest() == 0
        storage.record([exchange(1)], {})
        assert log.newest() == 1
        assert told(log) == [(correlation(1), "ended")]


def test_a_database_from_before_there_was_a_log_gets_one(storage: CaptureStorage, database: Path) -> None:
    storage.record([exchange(1)], {})
    for trigger in ("requests_started", "requests_seen_ended", "requests_ended", "requests_attributed"):
        storage._connection.execute(f"DROP TRIGGER {trigger}")
    storage._connection.execute("DROP TABLE changes")
    storage._connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0015_changes'")
    storage.close()
    with CaptureStorage(database) as migrated:
        log = ChangeLog(migrated)
        assert told(log) == []
        migrated.record([exchange(2)], {})
        assert told(log) == [(correlation(2), "ended")]
