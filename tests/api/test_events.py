from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.api.events import LiveEvent, end_of_feed, newest_event, read_events, server_sent
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from tests.api.conftest import Captures


def test_events_are_documents_of_one_line(captures: Captures) -> None:
    with captures.reader() as reader:
        reading = read_events(reader, 0, RequestFilters())
        assert reading.upto == newest_event(reader) == reading.events[-1][0]
        assert not reading.more
        for number, document in reading.events:
            assert LiveEvent.model_validate_json(document).event_id == number
            assert document.isascii()
            assert "\n" not in document
        assert read_events(reader, reading.upto, RequestFilters()).events == ()


def test_only_what_matches_becomes_an_event(captures: Captures) -> None:
    with captures.reader() as reader:
        events = read_events(reader, 0, RequestFilters(source="docs")).events
    assert {LiveEvent.model_validate_json(document).request.id for _, document in events} == {
        captures.ids[1],
        captures.ids[2],
    }


def test_an_event_on_the_wire() -> None:
    assert server_sent(7, '{"a": 1}') == b'id: 7\ndata: {"a": 1}\n\n'
    name, data = end_of_feed("it stops").decode().split("\n")[:2]
    assert name == "event: end"
    assert json.loads(data.removeprefix("data: ")) == {"reason": "it stops"}
