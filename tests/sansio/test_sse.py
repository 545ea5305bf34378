from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.sse import Event, SSEParser

# Every token that the grammar knows, so that random joins of them are interesting streams.
TOKENS = [b"\r", b"\n", b"\r\n", b":", b" ", b"data", b"data: x", b"event: e", b"id: 1", b"id: \0", b"retry: 5"]
TOKENS += [b"\xef\xbb\xbf", b"\xef\xbb", "é".encode(), b"\xe2\x82", b"\xff", b"unknown: y", b"\n\n"]


def parse(data: bytes) -> list[Event]:
    return SSEParser().feed(data)


@settings(max_examples=300)
@given(
    stream=st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_any_split_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    parser = SSEParser()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events = [e for a, b in itertools.pairwise(edges) for e in parser.feed(stream[a:b])]
    assert events == parse(stream)


def test_one_byte_at_a_time_gives_the_same_events() -> None:
    stream = b"\xef\xbb\xbfevent: a\r\ndata: 1\r\n\r\nevent: b\rdata: 2\rdata: 3\r\rdata: 4\n\n"
    parser = SSEParser()
    assert [e for i in range(len(stream)) for e in parser.feed(stream[i : i + 1])] == parse(stream)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", None)]),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n", ...),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", None), ("message", "\n", None)]),
        (b"data:test\n\ndata: test\n\n", [("message", "test", None), ("message", "test", None)]),
    ],
)
def test_examples_of_the_standard(stream: bytes, expected: object) -> None:
    """HTML standard, 9.2.6: an event that the stream ends in is discarded."""
    if expected is ...:
        expected = [("message", "first event", "1"), ("message", "second event", "")]
    assert [(e.event, e.data, e.id) for e in parse(stream)] == expected


def test_an_event_without_data_is_not_dispatched_and_its_name_is_forgotten() -> None:
    assert parse(b"event: a\n\ndata: x\n\n") == [Event(event="message", data="x")]


def test_an_id_with_nul_is_ignored_and_the_last_id_stays() -> None:
    assert [e.id for e in parse(b"id: 7\ndata: 1\n\nid: \0\ndata: 2\n\n")] == ["7", "7"]


def test_only_the_first_byte_order_mark_is_removed() -> None:
    assert parse(b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\ndata: y\n\n") == [Event(event="message", data="y")]


def test_invalid_utf8_becomes_replacement_characters() -> None:
    assert parse(b"data: a\xffb\n\n")[0].data == "a�b"


def test_other_unicode_line_ends_are_text() -> None:
    assert parse("data: a\u2028b\x0bc\x85d\n\n".encode())[0].data == "a\u2028b\x0bc\x85d"


@pytest.mark.parametrize("pieces", [[b"data: " + b"x" * 200], [b"data: "] + [b"x"] * 200, [b"data: x\n"] * 40])
def test_what_is_held_between_events_is_bounded(pieces: list[bytes]) -> None:
    parser = SSEParser(max_event_bytes=100)
    with pytest.raises(ProtocolError, match="more than 100"):
        [parser.feed(piece) for piece in pieces]


def test_many_events_pass_through_a_small_bound() -> None:
    parser = SSEParser(max_event_bytes=100)
    assert sum(len(parser.feed(b"data: 123456789\n\n")) for _ in range(100)) == 100
