from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claudeproxy.errors import CorruptBodyError
from claudeproxy.sansio.messages import layout
from claudeproxy.store import tree as tree_module
from tests.sansio.hostile_json import write_json
from tests.sansio.test_messages import requests
from tests.store.conversation import Conversation
from tests.store.exchanges import correlation, exchange, response

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

MEGABYTE = 1_000_000


def count(storage: CaptureStorage, table: str) -> int:
    return int(storage._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_every_body_comes_back_byte_for_byte(storage, made, random):
    """However requests are written, in whatever order they share their blocks, each is rebuilt from the database."""
    bodies = [write_json(request, random) for request in made]
    first = storage.summary().requests  # one database for all examples: they share what they can
    numbers = range(first, first + len(bodies))
    storage.record([exchange(n, body) for n, body in zip(numbers, bodies, strict=True)], {})
    for number, body in zip(numbers, bodies, strict=True):
        assert storage.request_body(correlation(number)) == body


def test_all_of_that_verifies_and_is_cut(storage):
    """Bodies that can be cut are cut, not stored whole behind the property's back."""
    body = b' {"messages" : [ {"role":"user","content":[{"type":"text","text":"a"}, 7]} ] } '
    storage.record([exchange(0, body)], {})
    assert storage.summary().stored_whole == 0
    assert count(storage, "nodes") == 2
    assert storage.verify().ok


@pytest.mark.parametrize("body", [b"not json", b'{"messages":{}}', b'{"model":"m"}', b"\xff\xfe", b'{"messages":[1]}'])
def test_a_body_that_cannot_be_cut_is_stored_whole_and_counted(storage, body):
    storage.record([exchange(0, body)], {})
    assert storage.request_body(correlation(0)) == body
    assert storage.summary().stored_whole == 1
    assert storage.verify().ok


def test_a_body_that_does_not_come_back_is_stored_whole(storage, monkeypatch):
    """The proof before the commit is not for show: with a wrong assembly nothing of the cut stays behind."""
    monkeypatch.setattr(tree_module, "assemble", lambda *_: b"something else")
    body = b'{"messages":[{"role":"user","content":"hello"}]}'
    storage.record([exchange(0, body)], {})
    assert storage.request_body(correlation(0)) == body
    assert storage.summary().stored_whole == 1
    assert (storage.summary().blocks, storage.summary().nodes) == (0, 0)
    monkeypatch.undo()
    storage.record([exchange(1, body)], {})
    assert storage.request_body(correlation(1)) == body
    assert storage.summary().nodes == 1


def test_merged_and_separate_messages_are_different_paths(storage):
    """[user A, B] and [user A][user B] hold the same blocks in other places."""
    separate = b'{"messages":[{"role":"user","content":[{"t":"A"}]},{"role":"user","content":[{"t":"B"}]}]}'
    merged = b'{"messages":[{"role":"user","content":[{"t":"A"},{"t":"B"}]}]}'
    storage.record([exchange(0, separate), exchange(1, merged)], {})
    assert [storage.request_body(correlation(n)) for n in (0, 1)] == [separate, merged]
    assert count(storage, "nodes") - 1 == 3


@pytest.mark.heavy
def test_a_conversation_of_200_turns_costs_its_new_content_only(storage, database):
    """139 MB sent are some 2,500 nodes and less than 1.7 MB of database, bodies and raw responses included."""
    bodies: dict[int, bytes] = {}
    sent = number = 0
    subagent = Conversation(seed=2, tools=6, system_size=4_000)
    for turn, (body, answer) in enumerate(Conversation().turns(200)):
        exchanges = [exchange(number, body, response=response(answer, number=number))]
        number += 1
        if turn == 100:
            for other, said in subagent.turns(5):
                exchanges.append(exchange(number, other, response=response(said, number=number)))
                number += 1
        storage.record(exchanges, {"relay-1": (0, number)})
        sent += sum(len(one.request_body.data or b"") for one in exchanges)
        if turn % 50 == 49 or turn < 3:
            bodies[number - 1] = body
    storage._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    summary = storage.summary()
    assert sent > 130 * MEGABYTE
    assert (summary.requests, summary.stored_whole) == (205, 0)
    assert summary.blocks < 1_000
    assert summary.nodes < 2_700  # 5 of the turns have new tools in front: their whole history takes new places
    assert database.stat().st_size < 1.8 * MEGABYTE  # 0.2 MB are the pages that empty tables begin with
    longest = storage._connection.execute(
        "SELECT max(length(skeleton)), avg(length(skeleton)) FROM requests"
    ).fetchone()
    assert longest[0] < 600
    assert longest[1] < 250
    for index, body in bodies.items():
        assert storage.request_body(correlation(index)) == body
    report = storage.verify()
    assert report.ok, report.problems
    assert report.requests == 205


def test_the_billing_header_does_not_fork_the_path(storage):
    """Two requests that differ in that block alone share every node; each gets its own bytes back."""
    bodies = [
        json.dumps(
            {
                "system": [
                    {"type": "text", "text": f"x-anthropic-billing-header: cch={n};"},
                    {"type": "text", "text": "s"},
                ],
                "messages": [{"role": "user", "content": "hi"}],
            }
        ).encode()
        for n in range(3)
    ]
    storage.record([exchange(n, body) for n, body in enumerate(bodies)], {})
    assert [storage.request_body(correlation(n)) for n in range(3)] == bodies
    assert count(storage, "nodes") - 1 == 3


def test_a_moved_breakpoint_costs_no_block(storage):
    """The same block with and without cache_control is one block and one node."""
    plain = b'{"messages":[{"role":"user","content":[{"type":"text","text":"hello"}]}]}'
    marked = plain.replace(b'"hello"', b'"hello","cache_control":{"type":"ephemeral"}')
    storage.record([exchange(0, marked), exchange(1, plain), exchange(2, marked)], {})
    assert [storage.request_body(correlation(n)) for n in range(3)] == [marked, plain, marked]
    assert count(storage, "nodes") - 1 == 1


def test_memories_are_bounded_and_may_be_forgotten_at_any_time(storage, monkeypatch):
    monkeypatch.setattr(tree_module, "MAX_REMEMBERED", 3)
    bodies = [body for body, _ in Conversation(tools=3, system_size=200, result_size=100).turns(6)]
    for number, body in enumerate(bodies):
        storage.record([exchange(number, body)], {})
        assert len(storage._writer.tree._blocks) <= 3
        storage._forget()
    assert [storage.request_body(correlation(n)) for n in range(6)] == bodies
    assert storage.verify().ok


def test_unknown_roles_are_kept_apart(storage):
    bodies = [b'{"messages":[{"role":"%s","content":"a"}]}' % role for role in (b"user", b"developer", b"\\ud800")]
    storage.record([exchange(n, body) for n, body in enumerate(bodies)], {})
    assert [storage.request_body(correlation(n)) for n in range(3)] == bodies
    assert count(storage, "nodes") - 1 == 3


def test_a_missing_block_is_an_error_of_ours(storage):
    with pytest.raises(CorruptBodyError, match="missing"):
        storage._writer.tree.read_block(10**6)


def test_too_much_skipped_is_stored_whole(storage):
    """A message with more foreign items than a place can count is kept as it is."""
    body = b'{"messages":[{"role":"user","content":[' + b"1," * 5000 + b'{"t":1}]}]}'
    assert len(layout(body).blocks) == 1
    storage.record([exchange(0, body)], {})
    assert storage.request_body(correlation(0)) == body
    assert storage.summary().stored_whole == 1
