from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.insight.sessions import Sessions
from claudeproxy.insight.turns import divide, show
from claudeproxy.model import Answer, Identity
from tests.store.exchanges import exchange, response
from tests.store.filling import prompt, record

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

MAIN = Identity(session_id="s", request_class="main", client="claude-cli", client_version="2", model="opus")
SIDE = replace(MAIN, request_class="auxiliary")
NAMELESS = replace(MAIN, request_class="subagent", agent_type="Explore")
FAILED = response(status_code=529, answer=Answer(error_type="overloaded_error"))


@pytest.fixture
def sent(storage: CaptureStorage) -> list[str]:
    """A turn with two attempts, a side call, a nameless subagent's turn, another turn, another side call."""
    return [
        record(storage, exchange(0, prompt("a"), response=FAILED), identity=MAIN),
        record(storage, exchange(1, prompt("a")), identity=MAIN),
        record(storage, exchange(2, prompt("title?")), identity=SIDE),
        record(storage, exchange(3, prompt("look")), identity=NAMELESS),
        record(storage, exchange(4, prompt("a", "b", "c")), identity=MAIN),
        record(storage, exchange(5, prompt("title again?")), identity=SIDE),
    ]


def test_requests_are_divided_into_turns_and_others_in_order_of_time(storage: CaptureStorage, sent: list[str]) -> None:
    with storage.reading() as connection:
        divided = divide(connection, "s")
        nobody = divide(connection, "nobody")
    assert (divided.turns, divided.others) == ([[1, 2], [4], [5]], [3, 6])
    assert divided.states == {"complete": len(sent)}
    assert divided.request_classes == {"auxiliary": 2, "main": 3, "subagent": 1}
    assert (nobody.turns, nobody.others, nobody.states) == ([], [], {})


def test_pages_put_together_are_the_whole(storage: CaptureStorage, sent: list[str]) -> None:
    sessions = Sessions(storage)
    whole = sessions.get("s")
    assert (whole.turns_total, whole.others_total) == (len(whole.turns), len(whole.others)) == (3, 2)
    assert [turn.agent_type for turn in whole.turns] == [None, "Explore", None]
    assert [one.id for turn in whole.turns for one in turn.requests] == [sent[0], sent[1], sent[3], sent[4]]
    for size in (1, 2, 3, 4):
        pages = [sessions.get("s", limit=size, offset=offset) for offset in range(0, 4, size)]
        assert [turn for page in pages for turn in page.turns] == list(whole.turns)
        assert [one for page in pages for one in page.others] == list(whole.others)
        assert {(page.summary, page.turns_total, page.others_total) for page in pages} == {(whole.summary, 3, 2)}


def test_what_was_deleted_meanwhile_is_left_out(storage: CaptureStorage, sent: list[str]) -> None:
    with storage.writing() as connection:
        connection.execute("DELETE FROM requests WHERE n IN (1, 3, 4)")
    with storage.reading() as connection:
        turns, others = show(connection, [[1, 2], [4], [5]], [3, 6])
    assert [[one.id for one in turn.requests] for turn in turns] == [[sent[1]], [sent[4]]]
    assert [one.id for one in others] == [sent[5]]
