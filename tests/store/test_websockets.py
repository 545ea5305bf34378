"""Messages come back as they were captured, in pages or one by one, and go with their request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from claudeproxy.errors import CorruptBodyError, NotFoundError
from claudeproxy.model import BodyKept, Direction, Opcode, State, WebSocketStream
from claudeproxy.store.retention import Retention
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import exchange
from tests.store.websockets import STREAM, message, upgraded, websocket

TABLES = ("websocket_streams", "websocket_lots", "websocket_messages")
MANY = websocket(*(message(number, b"%d " % number * 40_000) for number in range(30)))


def rows(storage, table: str) -> int:
    return storage._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_every_field_of_a_message_comes_back(storage):
    given = (
        message(0, b"hello \xff"),
        message(1, b"", opcode=Opcode.PING),
        message(2, b"beginning", size=1 << 40, frames=3, compressed=True, complete=False, opcode=Opcode.BINARY),
        message(3, b"\x03\xe9bye", opcode=Opcode.CLOSE),
    )
    key = storage.capture_request(upgraded(1, websocket(*given)))
    stored = storage.websocket_messages(key)
    assert [one.index for one in stored] == [0, 1, 2, 3]
    for one, expected in zip(stored, given, strict=True):
        assert (one.direction, one.opcode, one.at, one.data) == (
            expected.direction,
            expected.opcode,
            expected.at,
            expected.data,
        )
        assert (one.size, one.wire_start, one.wire_size) == (expected.size, expected.start, expected.wire_size)
        assert (one.frames, one.compressed, one.complete) == (expected.frames, expected.compressed, expected.complete)
    assert [one.kept for one in stored] == [BodyKept.WHOLE, BodyKept.EMPTY, BodyKept.PARTIAL, BodyKept.WHOLE]
    assert [one.close for one in stored] == [(None, None)] * 3 + [(1001, "bye")]
    assert storage.verify().messages == 4
    assert storage.verify().ok


def test_both_directions_say_what_was_kept_and_why_not_more(storage):
    confused = WebSocketStream(
        kept=BodyKept.PARTIAL, length=900, recorded=800, problem="nonsense\0", undecodable_from=7, raw=b"\x00" * 90
    )
    key = storage.capture_request(upgraded(1, websocket(message(0, b"a"), received=confused)))
    sent, received = storage.websocket(key)
    assert (sent.direction, sent.messages, sent.problem, sent.raw) == (Direction.SENT, 1, None, b"")
    assert (received.direction, received.messages, received.kept) == (Direction.RECEIVED, 0, BodyKept.PARTIAL)
    assert (received.length, received.recorded, received.undecodable_from) == (900, 800, 7)
    assert (received.problem, received.raw) == ("nonsense�", b"\x00" * 90)


def test_pages_and_single_messages_cross_lots(storage):
    key = storage.capture_request(upgraded(1, MANY))
    assert rows(storage, "websocket_lots") > 3
    paged = [one.data for offset in range(0, 30, 7) for one in storage.websocket_messages(key, limit=7, offset=offset)]
    assert paged == [one.data for one in MANY.messages]
    assert storage.websocket_message(key, 17).data == MANY.messages[17].data
    received = storage.websocket_messages(key, direction=Direction.RECEIVED)
    assert [one.index for one in received] == list(range(1, 30, 2))
    assert storage.count_websocket_messages(key) == 30
    assert storage.count_websocket_messages(key, direction=Direction.SENT) == 15


def test_a_request_is_found_by_the_beginning_of_its_id(storage):
    key = storage.capture_request(upgraded(1, MANY))
    assert storage.websocket_message(key[:8], 0).data == MANY.messages[0].data


def test_what_there_is_not_is_an_error_that_says_so(storage):
    key = storage.capture_request(upgraded(1, MANY))
    with pytest.raises(NotFoundError, match="no message 30"):
        storage.websocket_message(key, 30)
    with pytest.raises(NotFoundError):
        storage.websocket("ffffffff")


def test_an_exchange_that_was_not_upgraded_has_no_directions(storage):
    key = storage.capture_request(exchange(1, b"{}"))
    assert storage.websocket(key) == []
    assert storage.websocket_messages(key) == []


def test_a_connection_that_was_upgraded_has_a_class_of_its_own(storage):
    key = storage.capture_request(upgraded(1, websocket()))
    assert storage.get_request(key).identity.request_class == "websocket"
    assert storage.query_requests(RequestFilters(request_class="websocket")).total == 1
    assert storage.websocket(key)[0].messages == 0


def test_what_was_in_flight_gets_its_messages_at_its_end_and_keeps_them(storage):
    whole = upgraded(1, MANY)
    key = storage.capture_request(replace(whole, state=State.IN_FLIGHT, response=None, websocket=None))
    assert storage.websocket(key) == []
    for _ in range(2):  # the journal is read again after a crash
        storage.capture_request(whole)
    assert storage.count_websocket_messages(key) == 30


def test_messages_go_with_their_request_and_leave_the_others(storage):
    first, second = (storage.capture_request(upgraded(number, MANY)) for number in (1, 2))
    Retention(storage).delete_request(first)
    assert [rows(storage, table) for table in TABLES][2] == 30
    assert storage.websocket_message(second, 29).data == MANY.messages[29].data
    assert storage.verify().ok
    Retention(storage).delete_request(second)
    assert [rows(storage, table) for table in TABLES] == [0, 0, 0]


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        ("UPDATE websocket_lots SET data = x'00', codec = 0 WHERE lot = 1", "not what was captured"),
        ("UPDATE websocket_lots SET data = x'00'", "cannot be decompressed"),
        ("DELETE FROM websocket_lots WHERE lot = 1", "are missing"),
        ("DELETE FROM websocket_messages WHERE number = 3", "not what was captured"),
        ("UPDATE websocket_messages SET kept = 1 WHERE number = 3", "not what was captured"),
    ],
)
def test_verify_finds_every_kind_of_damage(storage, damage, finding):
    storage.capture_request(upgraded(1, MANY))
    storage._connection.execute(damage)
    assert any(finding in problem for problem in storage.verify().problems)


def test_damage_is_an_error_and_no_wrong_text(storage):
    key = storage.capture_request(upgraded(1, MANY))
    storage._connection.execute("DELETE FROM websocket_lots WHERE lot = 0")
    with pytest.raises(CorruptBodyError, match="lot 0"):
        storage.websocket_message(key, 0)
    storage._connection.execute("UPDATE websocket_messages SET kept = 1 << 40 WHERE number = 29")
    with pytest.raises(CorruptBodyError, match="cut short"):
        storage.websocket_message(key, 29)


def test_what_is_alike_takes_little_room(storage):
    event = b'{"type":"transcript","text":"word","confidence":0.9}'
    talk = websocket(*(message(number, event) for number in range(5000)), sent=STREAM)
    storage.capture_request(upgraded(1, talk))
    stored = storage._connection.execute("SELECT sum(length(data)) FROM websocket_lots").fetchone()[0]
    assert stored < len(event) * 5000 / 50
