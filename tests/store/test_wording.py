from __future__ import annotations

import json
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.store.wording import MAX_TEXT, answer_texts, block_text, match_expression


def text_of(value: object) -> str:
    return block_text(json.dumps(value).encode())


def test_a_text_block_is_its_text():
    assert text_of({"type": "text", "text": "hello", "citations": None}) == "hello"


def test_a_bare_string_is_its_text():
    assert text_of("hello") == "hello"


def test_a_tool_call_is_its_name_and_the_strings_of_its_input():
    call = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "Bash",
        "input": {"command": "ls", "type": "deep", "n": [1, "x"]},
    }
    assert text_of(call) == "ls\nx\ndeep\nBash"


def test_a_tool_result_is_its_texts_without_pictures():
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "found"}, picture]}
    assert text_of(result) == "found"
    assert text_of({**result, "content": "plain"}) == "plain"


def test_thinking_is_found_but_not_its_signature():
    assert text_of({"type": "thinking", "thinking": "hmm", "signature": "c2lnbmVk"}) == "hmm"


def test_an_answer_has_the_words_of_the_blocks_that_repeat_it_whatever_the_order_of_members():
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "1", "name": "N", "input": {"b": "2", "a": "1"}},
    ]
    turned = {"input": {"a": "1", "b": "2"}, "name": "N", "id": "1", "type": "tool_use"}
    assert answer_texts({"content": blocks}) == [text_of(blocks[0]), text_of(turned)]


@pytest.mark.parametrize("message", [None, "text", {}, {"content": "text"}, {"content": None}, {"content": [{}]}, []])
def test_what_is_no_message_has_no_texts(message):
    assert answer_texts(message) == []


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000 + b"]" * 100_000])
def test_what_is_no_block_has_no_words(data):
    assert block_text(data) == ""


def test_a_huge_block_is_indexed_from_its_beginning():
    assert text_of("x" * (MAX_TEXT + 5)) == "x" * MAX_TEXT


def test_words_are_all_needed_quotes_make_a_phrase_and_a_star_a_beginning():
    assert match_expression('big "red fox" jump*') == '"big" "red fox" "jump" *'
    assert match_expression("a/b-c.py") == '"a/b-c.py"'
    assert match_expression('half "open') == '"half" "open"'


@pytest.mark.parametrize("query", ["", "  ", "---", '"', '""', "*", "()", "\0"])
def test_what_holds_no_word_asks_for_nothing(query):
    assert match_expression(query) is None


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_whatever_is_typed_is_a_valid_query(query):
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(x, content='', columnsize=0)")
        expression = match_expression(query)
        if expression is not None:
            connection.execute("SELECT rowid FROM t WHERE t MATCH ?", (expression,)).fetchall()
    connection.close()


def test_a_query_of_a_thousand_words_is_cut_short():
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        assert (
            connection.execute("SELECT 1 FROM t WHERE t MATCH ?", (match_expression("word " * 1000),)).fetchall() == []
        )
    connection.close()
