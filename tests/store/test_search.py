from __future__ import annotations

import pytest

from claudeproxy.errors import NotFoundError
from claudeproxy.store import derived, search, wording
from claudeproxy.store.values import RequestFilters
from tests.store.conversation import Conversation
from tests.store.exchanges import START, exchange, in_flight, response
from tests.store.filling import answer, prompt, record, talk

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'


def found(storage, q, **filters):
    return [request.id for request in storage.query_requests(RequestFilters(q=q, **filters)).rows]


@pytest.fixture
def turns(storage):
    return talk(storage, "plant the larkspur", "it is planted", "water the foxglove", "it is watered", "rest now", "ok")


def test_a_text_is_found_where_it_came_in(storage, turns):
    assert found(storage, "larkspur") == [turns[0]]
    assert found(storage, "FOXGLOVE water") == [turns[1]]


def test_everywhere_finds_every_request_that_carried_it(storage, turns):
    assert found(storage, "larkspur", everywhere=True) == turns[::-1]
    assert found(storage, "foxglove", everywhere=True) == turns[:0:-1]


def test_an_answer_is_found_with_the_request_that_it_answers(storage, turns):
    assert found(storage, "planted") == [turns[0]]
    assert found(storage, "watered") == [turns[1]]
    assert found(storage, "watered", everywhere=True) == [turns[2], turns[1]]


def test_an_answer_and_its_repetition_are_one_document(storage, turns):
    (number,) = storage._connection.execute("SELECT count(*) FROM search_documents").fetchone()
    assert number == 3 + 3 + 1  # three prompts, three answers, one system prompt


def test_all_words_must_stand_in_one_text(storage, turns):
    assert found(storage, "larkspur foxglove") == []
    assert found(storage, "plant larkspur") == [turns[0]]


def test_a_phrase_is_words_in_order(storage, turns):
    assert found(storage, '"the larkspur"') == [turns[0]]
    assert found(storage, '"larkspur the"') == []


def test_a_beginning_is_enough_with_a_star(storage, turns):
    assert found(storage, "larks*") == [turns[0]]
    assert found(storage, "larks") == []


def test_it_combines_with_other_filters_and_the_total_counts_all(storage, turns):
    page = storage.query_requests(RequestFilters(q="larkspur", everywhere=True, limit=1))
    assert (len(page.rows), page.total) == (1, 3)
    assert found(storage, "larkspur", everywhere=True, until=START + 1) == [turns[0]]
    assert found(storage, "larkspur", model="another") == []


def test_blanks_filter_nothing_and_signs_find_nothing(storage, turns):
    assert found(storage, " ") == turns[::-1]
    assert found(storage, "--") == []


def test_what_two_conversations_share_was_introduced_by_the_first(storage):
    first = talk(storage, "count the swallows", "two")
    second = talk(storage, "count the swallows", "two", "and the swifts", "none", first=10)
    assert found(storage, "swallows") == [first[0]]
    assert found(storage, "swifts") == [second[1]]
    assert sorted(found(storage, "swallows", everywhere=True)) == sorted(first + second)


def test_the_order_of_indexing_does_not_matter(storage):
    """After a crash the backlog comes when newer requests are done already."""
    ids = [storage.record([exchange(n, prompt(*["swallow", "yes", "swift"][: 1 + 2 * n]))], {})[0] for n in range(2)]
    for request_id in reversed(ids):
        storage.index_texts(request_id)
    assert found(storage, "swallow") == [ids[0]]
    assert found(storage, "swift") == [ids[1]]


def test_tools_are_not_searched(storage):
    body = b'{"tools":[{"name":"hidden","description":"nobody asks"}],"messages":[{"role":"user","content":"x"}]}'
    record(storage, exchange(0, body))
    assert found(storage, "nobody") == []


def test_indexing_again_changes_nothing(storage, turns):
    dump = "SELECT block, document FROM search_blocks UNION ALL SELECT request, document FROM search_answers"
    before = storage._connection.execute(dump).fetchall()
    for request_id in turns:
        storage.index_texts(request_id)
    assert storage._connection.execute(dump).fetchall() == before
    assert found(storage, "larkspur") == [turns[0]]


def test_the_answer_may_be_handed_over_instead_of_read(storage):
    (request_id,) = storage.record([exchange(0, BODY)], {})
    storage.index_texts(request_id, {"content": [{"type": "text", "text": "a robin"}]})
    assert found(storage, "robin") == [request_id]


def test_what_is_not_indexed_is_listed_once_it_has_ended(storage):
    (request_id,) = storage.record([in_flight(0, BODY)], {})
    assert storage.unindexed(10) == []
    storage.record([exchange(0, BODY)], {})
    assert storage.unindexed(10) == [request_id]
    storage.index_texts(request_id)
    assert storage.unindexed(10) == []


def test_a_request_without_response_or_body_is_indexed_too(storage):
    (failed,) = storage.record([exchange(0, BODY, response=None)], {})
    (empty,) = storage.record([exchange(1, b"", response=response(answer("a wren")))], {})
    for request_id in (failed, empty):
        storage.index_texts(request_id)
    assert found(storage, "hello") == [failed]
    assert found(storage, "wren") == [empty]


def test_an_unknown_request_is_not_found(storage):
    with pytest.raises(NotFoundError):
        storage.index_texts("nothing")


def test_a_new_way_of_reading_makes_the_index_anew(storage, turns, database, monkeypatch):
    """A derived step can be deleted and made again: nothing of the old reading is left."""
    for place in (wording, search, derived):
        monkeypatch.setattr(place, "VERSION", 2)
    monkeypatch.setattr(search, "block_text", lambda data: "replaced")
    storage._search._current = False
    assert storage.unindexed(10) == turns
    storage.index_texts(turns[0])
    assert found(storage, "larkspur") == []
    assert found(storage, "replaced") == [turns[0]]
    assert storage.unindexed(10) == turns[1:]


@pytest.mark.heavy
def test_the_index_of_200_turns_costs_a_few_hundred_kilobytes(storage, database):
    """Measured: 0.5 MB with positions, of which 0.4 MB are words; 137 MB were sent."""
    ids = [
        storage.record([exchange(n, body, response=response(said, number=n))], {})[0]
        for n, (body, said) in enumerate(Conversation().turns(200))
    ]
    run = storage._connection.execute
    run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    before = database.stat().st_size
    for request_id in ids:
        storage.index_texts(request_id)
    run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert database.stat().st_size - before < 600_000


def test_words_are_taken_out_without_merging_and_fts5_is_left_as_it_was(storage):
    """It would merge at a commit of its choice, for as long as that takes; whoever deletes much merges in steps."""
    ids = [record(storage, exchange(n, prompt(f"word{n} " * 50))) for n in range(40)]
    run = storage._connection.execute
    run("INSERT INTO search_words (search_words) VALUES ('optimize')")
    pieces = "SELECT count(DISTINCT segid) FROM search_words_idx"
    assert run(pieces).fetchone()[0] == 1
    for number in range(1, 31):
        block = run("SELECT block FROM nodes x WHERE x.introduced = ? AND place & 3 = 2", (number,)).fetchone()[0]
        with storage.writing() as connection:
            index = search.SearchIndex(connection, storage._writer.tree)
            index.forget_block(block)
            assert index.going == len(f"word{number - 1} " * 50)
            index.take_out()
            assert index.going == 0
            index.take_out()  # of nothing: nothing is written
    assert run(pieces).fetchone()[0] == 31
    assert dict(run("SELECT k, v FROM search_words_config").fetchall()) | {"automerge": 4, "crisismerge": 16} == dict(
        run("SELECT k, v FROM search_words_config").fetchall()
    )
    while True:
        with storage.writing() as connection:
            if not search.SearchIndex(connection, storage._writer.tree).words.merge(0):
                break
    assert run(pieces).fetchone()[0] < 8
    assert found(storage, "word3") == []
    assert found(storage, "word35") == [ids[35]]
