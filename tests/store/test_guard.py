"""A fault in what is derived from an exchange costs that part of it, for as long as the fault is there."""

from __future__ import annotations

import gzip
import json
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.errors import UnstorableError
from claudeproxy.model import Answer, State, Usage
from claudeproxy.store.unfinished import Part
from tests.store.exchanges import correlation, exchange, response

if TYPE_CHECKING:
    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
ANSWER = json.dumps(
    {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 7}}
).encode()

FAULTS = {
    Part.BODY: "claudeproxy.store.writer.cut_body",
    Part.ANSWER: "claudeproxy.store.writer.answer_columns",
    Part.CALLS: "claudeproxy.store.writer.save_agent_calls",
    Part.QUOTA: "claudeproxy.store.writer.save_quota",
}


def broken(*_: object, **__: object) -> object:
    raise ZeroDivisionError("a bug")


def one(number: int = 0) -> RecordedExchange:
    said = Answer(message_id="msg_1", model="m", usage=Usage(input_tokens=7))
    return exchange(
        number, BODY, response=response(ANSWER, answer=said, headers=((b"Content-Type", b"application/json"),))
    )


@pytest.mark.parametrize("part", FAULTS)
def test_a_bug_costs_its_own_part_and_is_mended_when_it_is_gone(
    storage: CaptureStorage, part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, str]] = []
    storage.on_unfinished(lambda key, what, error: told.append((key, what, type(error).__name__)))
    with monkeypatch.context() as patch:
        patch.setattr(FAULTS[part], broken)
        (request_id,) = storage.record([one()], {"owner": (0, 9)})
        assert told == [(correlation(0), part, "ZeroDivisionError")]
        assert storage.unfinished() == {part: 1}
        assert storage.request_body(request_id) == BODY
        assert storage.response_body(request_id) == ANSWER
        known = storage.get_response(request_id).usage.input_tokens
        assert known == (None if part is Part.ANSWER else 7)
        assert storage.verify().ok
        assert storage.waiting_to_finish(9, rules_version="r") == []  # this version has tried
        storage.redo(request_id)
        assert storage.unfinished() == {part: 1}
    storage.redo(request_id)
    assert storage.unfinished() == {}
    assert storage.get_response(request_id).usage.input_tokens == 7
    assert storage.get_response(request_id).message_id == "msg_1"
    assert storage.request_body(request_id) == BODY
    assert storage.summary().stored_whole == 0
    assert storage.verify().ok


def test_what_another_version_could_not_derive_is_to_be_tried(storage: CaptureStorage) -> None:
    (request_id,) = storage.record([one()], {})
    storage.note_unfinished(request_id, Part.ATTRIBUTION, ZeroDivisionError("x"), rules_version="rules 1")
    assert storage.waiting_to_finish(9, rules_version="rules 1") == []
    assert storage.waiting_to_finish(9, rules_version="rules 2") == [request_id]
    assert storage.waiting_to_finish(9, rules_version=None) == [request_id]
    assert storage.underived("rules 1", 9) == []
    assert storage.underived("rules 2", 9) == [request_id]
    storage._connection.execute("UPDATE unfinished SET part = 'search', version = '0.0.1'")
    assert storage.waiting_to_finish(9, rules_version="rules 1") == [request_id]


def test_the_others_of_a_batch_are_whole(storage: CaptureStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    real = storage._writer.tree.store

    def store(body: bytes, cut: object) -> object:
        if b"poison" in body:
            raise ZeroDivisionError("a bug")
        return real(body, cut)

    monkeypatch.setattr(storage._writer.tree, "store", store)
    poison = exchange(1, BODY.replace(b"hello", b"poison"))
    storage.record([one(0), poison, one(2)], {})
    assert storage.unfinished() == {Part.BODY: 1}
    assert storage.summary().stored_whole == 1
    assert storage.request_body(correlation(1)) == BODY.replace(b"hello", b"poison")


def test_the_end_of_an_exchange_mends_what_failed_in_flight(
    storage: CaptureStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(FAULTS[Part.BODY], broken)
        storage.record([replace(one(), state=State.IN_FLIGHT, response=None)], {})
    assert storage.unfinished() == {Part.BODY: 1}
    storage.record([one()], {})
    assert storage.unfinished() == {}
    assert storage.summary().stored_whole == 0


def test_what_cannot_be_stored_at_all_is_said_to_be_at_fault_itself(storage: CaptureStorage) -> None:
    wrong = replace(one(), correlation_id=object())  # a bug in whoever made it
    with pytest.raises((UnstorableError, TypeError)):
        storage.record([wrong], {})
    assert storage.summary().requests == 0


def test_a_full_disk_is_nobodys_fault(storage: CaptureStorage) -> None:
    storage.record([one()], {})
    pages = storage._connection.execute("PRAGMA page_count").fetchone()[0]
    storage._connection.execute(f"PRAGMA max_page_count = {pages}")
    large = exchange(1, json.dumps({"messages": [{"role": "user", "content": str(list(range(9999)))}]}).encode())
    with pytest.raises(Exception, match="full") as raised:
        storage.record([large], {})
    assert not isinstance(raised.value, UnstorableError)
    assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
    storage._connection.execute("PRAGMA max_page_count = 100000")
    storage.record([large], {})
    assert storage.unfinished() == {}


def test_an_exchange_that_killed_the_recorder_is_stored_unread(storage: CaptureStorage) -> None:
    (request_id,) = storage.record([replace(one(), raw=True)], {})
    assert set(storage.unfinished()) == {Part.BODY, Part.ANSWER, Part.CALLS, Part.QUOTA}
    assert storage.request_body(request_id) == BODY
    assert storage.response_body(request_id) == ANSWER
    storage.redo(request_id)
    assert storage.unfinished() == {}
    assert storage.get_response(request_id).usage.input_tokens == 7


def test_a_request_whose_coding_was_not_taken_off_is_decoded_when_it_can_be(storage: CaptureStorage) -> None:
    packed = gzip.compress(BODY)
    coded = exchange(0, packed)
    coded = replace(
        coded, headers=(*coded.headers, (b"Content-Encoding", b"gzip")), unread={"body": "ZeroDivisionError"}
    )
    (request_id,) = storage.record([coded], {})
    assert storage.request_body(request_id) == packed
    storage.redo(request_id)
    assert storage.request_body(request_id) == BODY
    assert storage.get_request(request_id).body_length == len(packed)
    assert storage.unfinished() == {}
    assert storage.verify().ok


def test_a_request_that_is_deleted_lacks_nothing(storage: CaptureStorage) -> None:
    (request_id,) = storage.record([replace(one(), raw=True)], {})
    storage._connection.execute("DELETE FROM captured_requests")
    assert storage.unfinished() == {}
    storage.redo(request_id)
    storage.note_unfinished(request_id, Part.SEARCH, None)
    assert storage.unfinished() == {}
