"""Texts that stood alone: kept with the explanation that showed them, and what they make outdated."""

from __future__ import annotations

import json
from dataclasses import replace

from claudeproxy.model import WholeText
from claudeproxy.store.migrations import MIGRATIONS
from claudeproxy.store.witnesses import MAX_KNOWN
from tests.store.exchanges import exchange
from tests.store.explaining import count, explain

TEXT = WholeText.of("docs", "## docs\nAsk me.\n")
OTHER = WholeText.of("docs", "## docs\nAsk me twice.\n")


def body(system: str, *said: str) -> bytes:
    return json.dumps({"system": system, "messages": [{"role": "user", "content": one} for one in said]}).encode()


def save(storage, number, raw, *, whole=(), undecided=(), version="1") -> tuple[str, bool]:
    """Store a request whose system prompt tells this, or asks for it."""
    (request_id,) = storage.record([exchange(number, raw)], {})
    result = explain(raw)
    first = replace(result.blocks[0], whole=whole, undecided=undecided)
    result = replace(result, blocks=(first, *result.blocks[1:]))
    return request_id, storage.save_attribution(request_id, result, count(result), rules_version=version)


def test_what_stood_alone_is_known_by_its_owner(storage):
    save(storage, 0, body("a"), whole=(TEXT, OTHER))
    assert {one.sha256 for one in storage.whole_texts("docs")} == {TEXT.sha256, OTHER.sha256}
    assert storage.whole_texts("docs")[0].owner == "docs"
    assert storage.whole_texts("wiki") == []


def test_a_text_that_comes_to_be_known_makes_those_outdated_that_ask_for_it(storage):
    """All requests below the block, and no others; they keep what they have until they are explained anew."""
    asking = [save(storage, number, body("glued", *said), undecided=("docs",))[0] for number, said in enumerate(SAID)]
    save(storage, 10, body("other"), undecided=("wiki",))
    assert storage.underived("1", 10) == []
    _, told = save(storage, 11, body("alone"), whole=(TEXT,))
    assert told
    assert set(storage.underived("1", 10)) == set(asking)
    assert all(storage.is_attributed(request_id) and storage.sources(request_id) for request_id in asking)


SAID = (("one",), ("one", "two"), ("another",))


def test_what_was_outdated_is_explained_anew_and_then_is_not_outdated(storage):
    """The node takes the new explanation, for all that stand on it."""
    asking = [save(storage, number, body("glued", *said), undecided=("docs",))[0] for number, said in enumerate(SAID)]
    save(storage, 11, body("alone"), whole=(TEXT,))
    for number, said in enumerate(SAID):
        raw = body("glued", *said)
        result = explain(raw, rule="better")
        storage.save_attribution(asking[number], result, count(result), rules_version="1")
    assert storage.underived("1", 10) == []
    for request_id in asking:
        assert {one.rule for one in storage.attributions(request_id) if one.json_path.startswith("$.system")} == {
            "better"
        }


def test_the_same_text_again_changes_nothing(storage):
    """Every turn tells it."""
    save(storage, 0, body("glued"), undecided=("docs",))
    save(storage, 1, body("alone"), whole=(TEXT,))
    save(storage, 0, body("glued"), undecided=("docs",))
    for number, words in enumerate(("alone again", "and again"), start=2):
        assert not save(storage, number, body(words), whole=(TEXT,))[1]
    assert len(storage.whole_texts("docs")) == 1


def test_known_texts_of_one_owner_are_bounded(storage):
    """The newest count: a server may say something else each day."""
    for number in range(MAX_KNOWN + 3):
        save(storage, number, body(f"day {number}"), whole=(WholeText.of("docs", f"day {number}"),))
    known = storage.whole_texts("docs")
    assert len(known) == MAX_KNOWN
    assert WholeText.of("docs", f"day {MAX_KNOWN + 2}") in known


def test_questions_and_answers_are_found_by_index(storage):
    """They are asked while requests are recorded."""
    statements = (
        "SELECT length, sha256 FROM whole_texts WHERE owner = 'x'",
        "SELECT 1 FROM whole_texts WHERE owner = 'x' AND sha256 = x'00'",
        "SELECT explanation FROM undecided_texts WHERE owner = 'x'",
    )
    for statement in statements:
        (step,) = storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        assert "USING COVERING INDEX" in step["detail"]
    assert "m0016_witnesses" in [one.name for one in MIGRATIONS]
