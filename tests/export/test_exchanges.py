from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.export.exchanges import matching_ids, read_exchange
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.api.captures import answered, exchange, prompt, whole
from tests.export.support import filled

if TYPE_CHECKING:
    from pathlib import Path


def test_all_that_match_are_found_the_oldest_first(stored: CaptureStorage) -> None:
    listed = stored.query_requests(RequestFilters(limit=100)).rows
    assert matching_ids(stored, RequestFilters(limit=3, offset=2)) == [row.id for row in reversed(listed)]
    of_docs = stored.query_requests(RequestFilters(source="docs")).rows
    assert matching_ids(stored, RequestFilters(source="docs")) == [row.id for row in of_docs] != []
    assert matching_ids(stored, RequestFilters(model="none")) == []


def test_what_came_after_the_moment_is_left_out(stored: CaptureStorage) -> None:
    assert len(matching_ids(stored, RequestFilters(as_of=3))) == 3


def test_an_exchange_comes_with_all_that_is_known(stored: CaptureStorage) -> None:
    request_id = matching_ids(stored, RequestFilters())[0]
    found = read_exchange(stored, request_id)
    assert found is not None
    assert found.request == stored.get_request(request_id)
    assert found.response == stored.get_response(request_id)
    assert found.request_body.text == found.request.body.decode()
    assert found.sources == stored.sources(request_id) != []
    assert found.attributions == stored.attributions(request_id) != []


def test_one_in_flight_has_no_response(stored: CaptureStorage) -> None:
    (request_id,) = matching_ids(stored, RequestFilters(state="in_flight"))
    found = read_exchange(stored, request_id)
    assert found is not None
    assert (found.response, found.response_body) == (None, None)


def test_one_that_was_deleted_meanwhile_is_none(tmp_path: Path) -> None:
    with filled(tmp_path / "captures.db") as storage:
        request_id = matching_ids(storage, RequestFilters())[0]
        with storage.writing() as connection:
            connection.execute("DELETE FROM requests WHERE id = ?", (request_id,))
        assert read_exchange(storage, request_id) is None


def test_a_damaged_body_does_not_end_the_export(tmp_path: Path) -> None:
    with CaptureStorage(tmp_path / "captures.db") as storage:
        (request_id,) = storage.record([exchange(1, body=whole(prompt()), response=answered())], {})
        with storage.writing() as connection:
            connection.execute("UPDATE requests SET skeleton = x'ff'")
            connection.execute("UPDATE response_bodies SET data = x'00', codec = 1")
        found = read_exchange(storage, request_id)
        assert found is not None
        assert found.request_body.damaged
        assert found.response_body is not None
        assert found.response_body.damaged
