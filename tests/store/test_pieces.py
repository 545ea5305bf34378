"""Chosen pieces cost what they cost among all the others, whatever stands between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.sansio.messages import layout
from claudeproxy.store.contexts import ContextFilters, query_attributions
from claudeproxy.store.numbers import encode_corrections, pack
from claudeproxy.store.pieces import chosen_pieces
from tests.accounting.billing import MODEL, Conversation
from tests.store.accounting import Recorder
from tests.store.exchanges import exchange
from tests.store.explaining import count, explain
from tests.store.filling import prompt

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import ContextAttribution


@pytest.fixture
def billed(storage: CaptureStorage) -> CaptureStorage:
    """Turns of two conversations with one beginning, billed by a cache; then a request without any bill."""
    recorder = Recorder(storage)
    conversations = [Conversation(model=MODEL) for _ in range(2)]
    for conversation in conversations:
        for _ in range(4):
            body = conversation.say()
            recorder.send(body, *conversation.answer(body))
    body = conversations[-1].say()
    number = recorder.begin(body)
    recorder.end(number, body, None)
    return storage


def one_by_one(storage: CaptureStorage) -> list[ContextAttribution]:
    """All pieces, each request expanded whole by the view."""
    rows = storage._all("SELECT id FROM requests ORDER BY request_initiated DESC, n DESC")
    return [piece for row in rows for piece in storage.attributions(row["id"])]


def test_a_source_s_pieces_are_those_of_the_whole_in_every_number(billed: CaptureStorage) -> None:
    every = one_by_one(billed)
    assert {one.price_class for one in every} > {"read", "write_5m", "output"}
    assert any(one.cost for one in every)
    for source in {one.source for one in every}:
        filters = ContextFilters(source_type=source.type, source_name=source.name)
        expected = [one for one in every if one.source.type == source.type and source.name in (None, one.source.name)]
        assert list(query_attributions(billed, filters).rows) == expected
        some = ContextFilters(source_type=source.type, source_name=source.name, limit=3, offset=1)
        assert list(query_attributions(billed, some).rows) == expected[1:4]


def test_all_pieces_are_those_of_the_whole_in_every_number(billed: CaptureStorage) -> None:
    assert list(query_attributions(billed, ContextFilters()).rows) == one_by_one(billed)


def test_a_request_s_own_corrections_count_before_and_in_the_chosen_piece(billed: CaptureStorage) -> None:
    row = billed._all("SELECT n, id, total_tokens FROM requests WHERE cost IS NOT NULL ORDER BY n DESC LIMIT 1")[0]
    before = billed.attributions(row["id"])
    blocks = len(layout(billed.request_body(row["id"])).blocks)
    with billed.writing() as connection:  # all tokens of the blocks on the last but one, none on the others
        whole = sum(one.token_count for one in before if one.kind != "output" and one.json_path.startswith("$.m"))
        nodes = connection.execute(
            "WITH RECURSIVE p (id, parent, depth) AS (SELECT id, parent, depth FROM nodes WHERE id ="
            " (SELECT ifnull(context_node, node) FROM requests WHERE n = ?1)"
            " UNION ALL SELECT n.id, n.parent, n.depth FROM p JOIN nodes n ON n.id = p.parent WHERE p.parent > 0)"
            " SELECT p.depth - 1, n.message_index FROM p JOIN nodes n ON n.id = p.id ORDER BY p.depth",
            (row["n"],),
        ).fetchall()
        said = [index for index, message in nodes if message >= 0]
        corrections = {index: pack(whole if index == said[-2] else 0, 2) for index in said}
        connection.execute(
            "UPDATE accounts SET corrections = ? WHERE request = ?", (encode_corrections(corrections), row["n"])
        )
    assert blocks == len(nodes)
    every = billed.attributions(row["id"])
    assert every != before
    for source in {one.source for one in every}:
        filters = ContextFilters(request_id=row["id"], source_type=source.type, source_name=source.name)
        expected = [one for one in every if one.source.type == source.type and source.name in (None, one.source.name)]
        assert list(query_attributions(billed, filters).rows) == expected


def test_without_an_account_the_segments_own_sizes_are_the_tokens(storage: CaptureStorage) -> None:
    body = prompt("one", "two", "three")
    request_id = storage.capture_request(exchange(0, body))
    result = explain(body)
    storage.save_attribution(request_id, result, count(result), rules_version="1")
    with storage.reading() as connection:
        pieces = chosen_pieces(connection, [1], None)[1]
    assert [(one.tokens, one.price_class, one.cost) for one in pieces] == [
        (one.token_count, None, None) for one in storage.attributions(request_id)
    ]


def test_no_source_and_no_request_have_no_pieces(billed: CaptureStorage) -> None:
    with billed.reading() as connection:
        assert chosen_pieces(connection, [1], set()) == {1: []}
        assert chosen_pieces(connection, [], None) == {}
