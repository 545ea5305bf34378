from __future__ import annotations

import json

from claudeproxy.store import headers as headers_module
from claudeproxy.store.headers import header_pairs, parse_pairs, raw_headers
from tests.store.exchanges import correlation, exchange, in_flight


def test_fields_of_every_request_are_kept_once(storage):
    """From the third request on only what is new (length, request id) is written out."""
    for number in range(4):
        storage.record([exchange(number)], {})
    stored = [json.loads(row[0]) for row in storage._connection.execute("SELECT header_data FROM requests ORDER BY n")]
    assert [sum(isinstance(field, list) for field in one) for one in stored] == [11, 1, 1, 1]
    assert storage.get_request(correlation(3)).headers == header_pairs(exchange(3).headers)


def test_what_only_one_request_has_is_not_kept_as_common_because_it_came_in_flight_first(storage):
    for number in range(4):
        headers = exchange(number).headers
        storage.record([in_flight(number, headers=headers)], {})
        storage.record([exchange(number)], {})
    kept = storage._connection.execute("SELECT count(*), count(DISTINCT name) FROM header_fields").fetchone()
    assert kept[0] == kept[1]  # no name with several values
    assert storage.get_request(correlation(3)).headers == header_pairs(exchange(3).headers)


def test_bytes_beyond_ascii_and_duplicates_come_back(storage):
    fields = ((b"X-A", b"\xe9\xff\x80"), (b"x-a", b""), (b"X-A", b"\xe9\xff\x80"), (b"n\x00", b"a\x00b"))
    for number in range(3):
        storage.record([exchange(number, headers=fields)], {})
        found = storage.get_request(correlation(number)).headers
        assert raw_headers(found)[:3] == fields[:3]
        assert len(found) == 4


def test_the_memory_of_fields_is_bounded(storage, monkeypatch):
    monkeypatch.setattr(headers_module, "MAX_REMEMBERED", 2)
    for number in range(4):
        storage.record([exchange(number)], {})
        assert storage.get_request(correlation(number)).headers == header_pairs(exchange(number).headers)


def test_no_list_is_an_empty_one():
    assert parse_pairs(None) == ()
