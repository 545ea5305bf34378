"""From the tap through the journal to messages: order, instants, directions, and every reason for not all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.finder import SecretFinder
from claudeproxy.capture.journal_format import RecordType, segment_path, segments
from claudeproxy.capture.journal_reader import Record
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.looking import SecretLook
from claudeproxy.capture.messages import MessageBounds, read_messages
from claudeproxy.capture.recorder import Recorder
from claudeproxy.capture.upgraded import Places
from claudeproxy.model import BodyKept, Direction, Opcode, RecordedExchange, RecordedWebSocket, State, WebSocketStream
from tests.capture.support import Store, drain, end, make_tap, response, start, tell
from tests.support.frames import CLOSE, DEFLATED, FINAL, MASK, PING, TEXT, Deflater, frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from claudeproxy.capture.journal_reader import Span
    from claudeproxy.capture.tap import JournalTap
    from claudeproxy.model import ExchangeTap, RawHeaders

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED
HELLO = frame(FINAL | TEXT, b"hello", mask=MASK)
WORLD = frame(FINAL | TEXT, b"world")
DEFLATE: RawHeaders = ((b"Sec-WebSocket-Extensions", b"permessage-deflate; server_max_window_bits=15"),)


def begin(tap: JournalTap, headers: RawHeaders = (), **values: object) -> tuple[ExchangeTap, str]:
    begun = start(**values)  # type: ignore[arg-type]
    exchange = tap.exchange(begun)
    exchange.response_start(response(status_code=101, headers=headers))
    return exchange, begun.correlation_id


def die(tap: JournalTap, exchange: ExchangeTap) -> None:
    """Let go of the locks, as the death of the process would."""
    upgrade = exchange._upgrade  # type: ignore[attr-defined]
    upgrade.writer.close()
    tap.writer.close()


def recorded(
    tmp_path: Path,
    pieces: Sequence[tuple[Direction, bytes]],
    *,
    headers: RawHeaders = (),
    state: State = State.COMPLETE,
    bounds: MessageBounds | None = None,
    **tapped: object,
) -> RecordedExchange:
    tap = make_tap(tmp_path, **tapped)  # type: ignore[arg-type]
    exchange, correlation_id = begin(tap, headers)
    for direction, data in pieces:
        exchange.websocket(direction, data)
    exchange.end(end(state))
    store = Store()
    drain(Recorder(tmp_path, store, load_cursors=lambda: store.cursors, bounds=bounds))
    return store.rows[correlation_id]


def socket(exchange: RecordedExchange) -> RecordedWebSocket:
    assert exchange.websocket is not None
    return exchange.websocket


def texts(websocket: RecordedWebSocket) -> list[tuple[Direction, bytes]]:
    return [(one.direction, one.data) for one in websocket.messages]


def test_messages_come_in_the_order_of_their_last_bytes_with_the_instants_of_these(tmp_path: Path) -> None:
    row = recorded(
        tmp_path,
        [(SENT, HELLO[:3]), (RECEIVED, WORLD + WORLD), (SENT, HELLO[3:] + HELLO), (RECEIVED, frame(FINAL | CLOSE))],
    )
    websocket = socket(row)
    assert texts(websocket) == [
        (RECEIVED, b"world"),
        (RECEIVED, b"world"),
        (SENT, b"hello"),
        (SENT, b"hello"),
        (RECEIVED, b""),
    ]
    instants = [one.at for one in websocket.messages]
    assert instants[0] == instants[1] < instants[2] == instants[3] < instants[4]
    assert websocket.messages[4].opcode is Opcode.CLOSE
    assert websocket.sent == WebSocketStream(kept=BodyKept.WHOLE, length=22, recorded=22)
    assert row.response is not None
    assert row.request_body.kept is row.response.body.kept is BodyKept.EMPTY


def test_compression_is_taken_off_in_each_direction_by_itself(tmp_path: Path) -> None:
    mine, theirs = Deflater(), Deflater()
    pieces = [
        (direction, frame(FINAL | DEFLATED | TEXT, deflater.message(b"the same again"), mask=mask))
        for direction, deflater, mask in [(SENT, mine, MASK), (RECEIVED, theirs, None)] * 3
    ]
    assert (
        texts(socket(recorded(tmp_path, pieces, headers=DEFLATE)))
        == [
            (SENT, b"the same again"),
            (RECEIVED, b"the same again"),
        ]
        * 3
    )


def test_a_connection_without_messages_has_two_empty_directions(tmp_path: Path) -> None:
    websocket = socket(recorded(tmp_path, []))
    assert websocket.messages == ()
    assert websocket.sent == websocket.received == WebSocketStream(kept=BodyKept.EMPTY, length=0, recorded=0)


def test_an_answer_that_is_no_101_has_no_websocket(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    begun = start()
    exchange = tap.exchange(begun)
    exchange.response_start(response())
    exchange.websocket(SENT, HELLO)
    exchange.end(end())
    store = Store()
    drain(store.recorder(tmp_path))
    assert store.rows[begun.correlation_id].websocket is None


@pytest.mark.parametrize("split", [1, 7, 64_000])
def test_nonsense_is_kept_as_it_is_from_the_byte_where_sense_ends_up_to_a_bound(tmp_path: Path, split: int) -> None:
    nonsense = b"HTTP/1.1 500 Oh\r\n\r\n" * 20
    stream = WORLD + nonsense
    pieces = [(RECEIVED, stream[at : at + split]) for at in range(0, len(stream), split)] + [(SENT, HELLO)]
    websocket = socket(recorded(tmp_path, pieces, bounds=MessageBounds(raw_bytes=100)))
    assert texts(websocket) == [(RECEIVED, b"world"), (SENT, b"hello")]
    assert websocket.received == WebSocketStream(
        kept=BodyKept.WHOLE,
        length=len(stream),
        recorded=len(stream),
        problem="a control frame in fragments",
        undecodable_from=len(WORLD),
        raw=nonsense[:100],
    )
    assert websocket.sent.problem is None


def test_an_unknown_extension_is_named_and_the_bytes_are_kept(tmp_path: Path) -> None:
    agreed: RawHeaders = ((b"sec-websocket-extensions", b"x-rot13"), *DEFLATE)
    websocket = socket(recorded(tmp_path, [(SENT, HELLO), (RECEIVED, WORLD)], headers=agreed))
    assert websocket.messages == ()
    assert websocket.sent.problem == websocket.received.problem == "the extension 'x-rot13' is not known"
    assert websocket.sent.undecodable_from == 0
    assert (websocket.sent.raw, websocket.received.raw) == (HELLO, WORLD)


def test_of_too_much_the_beginning_is_read(tmp_path: Path) -> None:
    websocket = socket(recorded(tmp_path, [(SENT, HELLO)] * 10, max_body_bytes=25))
    assert [(one.data, one.complete) for one in websocket.messages] == [(b"hello", True), (b"hello", True)]
    assert websocket.sent == WebSocketStream(
        kept=BodyKept.TOO_LARGE, length=110, recorded=25, problem="there were more than are kept"
    )


def test_a_full_journal_costs_the_rest_and_not_the_beginning(tmp_path: Path) -> None:
    large = frame(FINAL | TEXT, b"x" * 60_000, mask=MASK)
    websocket = socket(
        recorded(tmp_path, [(SENT, HELLO), *[(SENT, large)] * 40], max_bytes=1 << 20, max_body_bytes=1 << 23)
    )
    assert websocket.messages[0].data == b"hello"
    assert len(websocket.messages) > 5
    assert websocket.sent.kept is BodyKept.DROPPED
    assert websocket.sent.problem == "the journal had no room for more"
    assert websocket.sent.length == 40 * len(large) + len(HELLO)


def test_an_endpoint_whose_bodies_are_not_kept_tells_lengths_only(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    exchange, correlation_id = begin(tap, url="https://api.anthropic.com/api/ws/voice")
    exchange.websocket(SENT, HELLO)
    exchange.end(end())
    store = Store()
    drain(store.recorder(tmp_path))
    websocket = socket(store.rows[correlation_id])
    assert websocket.messages == ()
    assert websocket.sent == WebSocketStream(kept=BodyKept.POLICY, length=11, recorded=0)
    assert b"hello" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.journal"))


def test_messages_beyond_the_bound_are_said_to_be_missing(tmp_path: Path) -> None:
    websocket = socket(recorded(tmp_path, [(SENT, HELLO)] * 5, bounds=MessageBounds(messages=2)))
    assert len(websocket.messages) == 2
    assert websocket.sent.problem == "more messages than are kept"
    assert (websocket.sent.undecodable_from, websocket.sent.raw) == (None, b"")


def test_an_open_connection_does_not_keep_the_journal_of_others(tmp_path: Path) -> None:
    tap = make_tap(tmp_path, segment_bytes=1)
    exchange, correlation_id = begin(tap)
    exchange.websocket(SENT, HELLO)
    store = Store()
    recorder = store.recorder(tmp_path)
    others = [tell(tap) for _ in range(3)]
    drain(recorder)
    assert store.rows[correlation_id].state is State.IN_FLIGHT
    assert all(store.rows[one].state is State.COMPLETE for one in others)
    assert len(segments(tmp_path / tap.writer.owner)) <= 1
    assert store.cursors[tap.writer.owner][0] > 3
    exchange.websocket(RECEIVED, WORLD)
    exchange.end(end())
    drain(recorder)
    row = store.rows[correlation_id]
    assert row.state is State.COMPLETE
    assert texts(socket(row)) == [(SENT, b"hello"), (RECEIVED, b"world")]
    drain(recorder)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == [tap.writer.owner]


def test_a_recorder_that_is_started_again_finds_an_open_connection(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    exchange, correlation_id = begin(tap)
    exchange.websocket(SENT, HELLO)
    store = Store()
    first = store.recorder(tmp_path)
    drain(first)
    first.close()
    exchange.websocket(SENT, HELLO)
    exchange.end(end())
    drain(store.recorder(tmp_path))
    assert texts(socket(store.rows[correlation_id])) == [(SENT, b"hello")] * 2
    assert len(store.rows) == 1


def test_a_cut_connection_keeps_what_came_of_its_last_message(tmp_path: Path) -> None:
    row = recorded(tmp_path, [(RECEIVED, WORLD + WORLD[:4])], state=State.CUT_BY_UPSTREAM)
    assert [(one.data, one.complete) for one in socket(row).messages] == [(b"world", True), (b"wo", False)]
    assert socket(row).received.problem == "ended in a frame"


def test_when_the_proxy_dies_what_passed_is_read(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    exchange, correlation_id = begin(tap)
    exchange.websocket(SENT, HELLO + frame(FINAL | PING, b"?", mask=MASK))
    store = Store()
    recorder = store.recorder(tmp_path)
    drain(recorder)
    assert store.rows[correlation_id].state is State.IN_FLIGHT
    assert store.rows[correlation_id].websocket is None
    die(tap, exchange)
    drain(recorder)
    row = store.rows[correlation_id]
    assert row.state is State.INTERRUPTED
    assert [one.opcode for one in socket(row).messages] == [Opcode.TEXT, Opcode.PING]
    assert socket(row).sent == WebSocketStream(kept=BodyKept.PARTIAL, length=18, recorded=18)


def test_damage_in_the_journal_leaves_lengths_and_no_guesses(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    exchange, correlation_id = begin(tap)
    for _ in range(3):
        exchange.websocket(SENT, HELLO)
    path = segment_path(tmp_path / exchange._upgrade.writer.owner, 0)  # type: ignore[attr-defined]
    data = path.read_bytes()
    at = data.index(HELLO, data.index(HELLO) + 1)
    path.write_bytes(data[:at] + b"\0" * len(HELLO) + data[at + len(HELLO) :])
    exchange.end(end())
    store = Store()
    drain(store.recorder(tmp_path))
    websocket = socket(store.rows[correlation_id])
    assert websocket.messages == ()
    assert websocket.sent.problem == "the journal is damaged"
    assert (websocket.sent.length, websocket.sent.recorded) == (33, 0)


def test_a_journal_that_was_deleted_leaves_lengths(tmp_path: Path) -> None:
    places = Places()
    span = (0, 0, len(HELLO))
    places.add(
        Record(type=RecordType.WEBSOCKET_SENT, exchange=1, instant=1, payload=memoryview(b""), start=(0, 0), span=span)
    )

    def gone(spans: Sequence[Span]) -> bytes:
        raise FileNotFoundError

    websocket = read_messages(places, None, (), read=gone, wall=lambda instant: instant, bounds=MessageBounds())
    assert websocket.messages == ()
    assert websocket.sent == WebSocketStream(
        kept=BodyKept.DROPPED, length=len(HELLO), recorded=0, problem="the journal is damaged"
    )


def test_a_bug_of_ours_costs_the_messages_and_not_the_exchange(tmp_path: Path) -> None:
    def broken(data: bytes) -> bytes:
        raise KeyError(data)

    places = Places()
    span = (0, 0, len(WORLD))
    places.add(
        Record(
            type=RecordType.WEBSOCKET_RECEIVED, exchange=1, instant=1, payload=memoryview(b""), start=(0, 0), span=span
        )
    )
    websocket = read_messages(
        places, None, (), read=lambda _: WORLD, wall=lambda instant: instant, bounds=MessageBounds(), clean=broken
    )
    assert websocket.messages == ()
    assert websocket.received.problem == "KeyError in claudeproxy"
    assert (websocket.received.undecodable_from, websocket.received.raw) == (0, b"")


def test_bytes_that_killed_a_recorder_are_kept_and_not_looked_at(tmp_path: Path) -> None:
    places = Places()
    span = (0, 0, len(WORLD))
    places.add(
        Record(
            type=RecordType.WEBSOCKET_RECEIVED, exchange=1, instant=1, payload=memoryview(b""), start=(0, 0), span=span
        )
    )
    websocket = read_messages(
        places,
        None,
        (),
        read=lambda _: WORLD,
        wall=lambda instant: instant,
        bounds=MessageBounds(),
        unreadable=True,
    )
    assert websocket.messages == ()
    assert (websocket.received.problem, websocket.received.raw) == ("reading it killed the recorder", WORLD)


FINDER = SecretFinder(KNOWN, key=b"k" * 16)
A_KEY = b"sk-ant-api03-" + b"dummy0Dummy1" * 7 + b"dummy0AA"


def test_where_secrets_are_taken_out_nothing_of_it_reaches_the_journal(tmp_path: Path) -> None:
    tap = make_tap(tmp_path)
    tap.redact = FINDER
    exchange, correlation_id = begin(tap)
    exchange.websocket(RECEIVED, frame(FINAL | TEXT, A_KEY))
    exchange.end(end())
    assert A_KEY not in b"".join(path.read_bytes() for path in tmp_path.rglob("*.journal"))
    store = Store()
    drain(store.recorder(tmp_path))
    websocket = socket(store.rows[correlation_id])
    assert websocket.messages == ()
    assert (websocket.received.kept, websocket.received.length) == (BodyKept.POLICY, len(A_KEY) + 2)


@pytest.mark.parametrize("redact", [True, False])
def test_messages_of_an_older_journal_are_masked_before_they_are_stored(tmp_path: Path, *, redact: bool) -> None:
    assert FINDER.scan(A_KEY)
    tap = make_tap(tmp_path)
    exchange, correlation_id = begin(tap)
    exchange.websocket(SENT, frame(FINAL | TEXT, b"key: " + A_KEY, mask=MASK))
    exchange.end(end())
    store, look = Store(), SecretLook(FINDER, redact=redact, max_decoded=1 << 20)
    drain(Recorder(tmp_path, store, load_cursors=lambda: store.cursors, secrets=look))
    (message,) = socket(store.rows[correlation_id]).messages
    assert len(message.data) == message.size
    assert (A_KEY in message.data) is not redact


@pytest.mark.parametrize("state", [State.ABORTED_BY_CLIENT, State.CUT_BY_UPSTREAM])
def test_a_connection_that_both_sides_closed_is_complete_however_its_socket_ended(tmp_path: Path, state: State) -> None:
    mine, theirs = frame(FINAL | CLOSE, b"\x03\xe8", mask=MASK), frame(FINAL | CLOSE, b"\x03\xe8")
    both = recorded(tmp_path / "both", [(SENT, HELLO), (SENT, mine), (RECEIVED, theirs)], state=state)
    assert (both.state, both.error) == (State.COMPLETE, None)
    one = recorded(tmp_path / "one", [(SENT, HELLO), (SENT, mine), (RECEIVED, WORLD)], state=state)
    assert one.state is state
