"""What blocks are made of."""

from __future__ import annotations

import json

import pytest

from claudeproxy.accounting.classes import CLASSES
from claudeproxy.accounting.features import FEATURES, STRUCTURE, mark_of, read_block, read_tool
from claudeproxy.accounting.models import model_traits
from claudeproxy.accounting.tokens import TokenCounter

TRAITS = model_traits("claude-opus-4-6")


def block(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()


def structure(makeup) -> dict[str, int]:
    return {name: count for name, count in zip(STRUCTURE, makeup.counts[: len(STRUCTURE)], strict=True) if count}


def tokens(makeup) -> int:
    return sum(makeup.counts[len(STRUCTURE) :])


def count(text: str) -> int:
    return TokenCounter().count(text)


def test_a_text_block_counts_its_text_and_nothing_around_it():
    makeup = read_block(block({"type": "text", "text": "hello big world"}), TRAITS)
    assert tokens(makeup) == count("hello big world")
    assert structure(makeup) == {"block": 1}
    assert len(makeup.counts) == len(FEATURES)


def test_a_bare_string_is_a_text_block():
    assert read_block(b'"hello"', TRAITS).counts == read_block(block({"type": "text", "text": "hello"}), TRAITS).counts


def test_a_tool_counts_name_description_schema_and_its_properties_at_any_depth():
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "object", "properties": {"b": {}, "c": {}}}}},
    }
    makeup = read_tool(block({"name": "Read", "description": "Reads.", "input_schema": schema}), TRAITS)
    assert structure(makeup) == {"tool": 1, "property": 3}
    assert tokens(makeup) == count("Read") + count("Reads.") + count(json.dumps(schema, separators=(",", ":")))
    assert makeup.references == ("Read",)


def test_a_call_counts_arguments_as_plain_text():
    makeup = read_block(
        block({"type": "tool_use", "id": "toolu_1", "name": "Edit", "input": {"text": 'say "no"\n', "all": True}}),
        TRAITS,
    )
    assert structure(makeup) == {"call": 1, "parameter": 2}
    assert tokens(makeup) == sum(map(count, ["Edit", "text", 'say "no"\n', "all", "true"]))


def test_a_call_whose_input_is_no_object_still_counts():
    makeup = read_block(block({"type": "tool_use", "id": "x", "name": "Edit", "input": "abc def"}), TRAITS)
    assert tokens(makeup) == count("Edit") + count('"abc def"')


def test_a_result_counts_its_texts_and_images_by_size():
    parts = [
        {"type": "text", "text": "one two"},
        {"type": "image", "source": {"type": "url", "url": "https://x.test/"}},
    ]
    makeup = read_block(block({"type": "tool_result", "tool_use_id": "t", "content": parts}), TRAITS)
    assert structure(makeup) == {"result": 1}
    assert tokens(makeup) == count("one two")
    assert makeup.fixed == 39 * 39


def test_a_result_of_a_string_counts_the_same_as_one_of_a_text():
    string = read_block(block({"type": "tool_result", "tool_use_id": "t", "content": "one two"}), TRAITS)
    parts = [{"type": "text", "text": "one two"}]
    assert (
        string.counts == read_block(block({"type": "tool_result", "tool_use_id": "t", "content": parts}), TRAITS).counts
    )


def test_a_result_names_the_deferred_tools_that_it_brings_in():
    parts = [{"type": "tool_reference", "tool_name": "mcp__docs__search"}]
    makeup = read_block(block({"type": "tool_result", "tool_use_id": "t", "content": parts}), TRAITS)
    assert makeup.references == ("mcp__docs__search",)


def test_visible_thinking_counts_its_text_hidden_thinking_a_guess_from_its_signature():
    shown = read_block(block({"type": "thinking", "thinking": "let me see", "signature": "A" * 300}), TRAITS)
    hidden = read_block(block({"type": "thinking", "thinking": "", "signature": "A" * 300}), TRAITS)
    redacted = read_block(block({"type": "redacted_thinking", "data": "A" * 600}), TRAITS)
    assert (tokens(shown), shown.fixed) == (count("let me see"), 0)
    assert (tokens(hidden), hidden.fixed, redacted.fixed) == (0, 50, 100)


def test_a_text_document_counts_its_words_and_a_file_its_pages():
    source = {"type": "text", "media_type": "text/plain", "data": "many words"}
    document = read_block(block({"type": "document", "title": "Notes", "source": source}), TRAITS)
    assert tokens(document) == count("Notes\nmany words")
    nested = {"type": "content", "content": [{"type": "text", "text": "inner"}]}
    assert tokens(read_block(block({"type": "document", "source": nested}), TRAITS)) >= count("inner")


def test_search_results_count_what_is_shown_and_guess_what_is_encrypted():
    found = {"type": "web_search_result", "title": "A page", "url": "https://x.test/", "encrypted_content": "B" * 60}
    makeup = read_block(block({"type": "web_search_tool_result", "tool_use_id": "s", "content": [found]}), TRAITS)
    assert makeup.fixed == 10
    assert count("A page") <= tokens(makeup) < 40
    assert structure(makeup) == {"result": 1}


@pytest.mark.parametrize(
    "raw", [b"{broken", b"[1, 2]", b"\xff\xfe", b'{"type": 7, "content": {"type": "text"}}', b"{}"]
)
def test_what_is_no_known_block_is_counted_without_an_error(raw):
    for read in (read_block, read_tool):
        assert len(read(raw, TRAITS).counts) == len(STRUCTURE) + len(CLASSES)


def test_an_answers_block_is_recognised_whatever_its_json_looks_like():
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"a": 1}}
    again = {"name": "Read", "input": {"a": 1.0}, "id": "toolu_1", "type": "tool_use", "cache_control": {}}
    assert mark_of(call) == mark_of(again)
    assert mark_of({"type": "text", "text": "a"}) != mark_of({"type": "thinking", "thinking": "a"})
    assert mark_of({"type": "odd", "x": 1, "cache_control": {}}) == mark_of({"type": "odd", "x": 1})
    assert mark_of({"type": "text", "text": "\ud800"}) != mark_of({"type": "text", "text": "?"})
