"""Requests as chains of prefixes: equal exactly where the API's cache would call them equal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.accounting import chain as module
from claudeproxy.accounting.chain import ChainReader
from claudeproxy.accounting.models import model_traits
from claudeproxy.sansio.jsonspans import JSONSpanError
from tests.accounting.billing import text, tool
from tests.sansio.growing import bodies

KEEPS, DROPS = "claude-opus-4-6", "claude-haiku-4-5"
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}


def read(request: dict[str, object], model: str = KEEPS):
    return ChainReader(model_traits(model)).read(json.dumps(request).encode())


def user(*blocks: object) -> dict[str, object]:
    return {"role": "user", "content": list(blocks)}


def assistant(*blocks: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(blocks)}


def say(number: int) -> dict[str, object]:
    return {"type": "text", "text": text(number, 5)}


def prefixes(request: dict[str, object], model: str = KEEPS) -> list[bytes]:
    return [link.prefix for link in read(request, model).links]


def test_the_order_is_tools_system_messages_whatever_the_documents():
    request = {"messages": [user(say(1))], "system": [say(2)], "tools": [tool("Read", 3)]}
    chain = read(request)
    assert [link.message for link in chain.links] == [-1, -1, 0]
    assert [link.makeup.kind for link in chain.links] == ["tool", "text", "text"]
    assert chain.tools
    assert prefixes(request) == prefixes(dict(reversed(request.items())))


def test_cache_control_and_string_content_change_no_prefix():
    """Clients move their breakpoints and turn texts into lists to set them: the prompt is the same."""
    plain = {"system": "be brief", "messages": [{"role": "user", "content": "hello"}]}
    marked = {
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "messages": [user({"type": "text", "text": "hello", "cache_control": {"type": "ephemeral", "ttl": "1h"}})],
    }
    marked_bytes = json.dumps(marked, separators=(",", ":")).encode()
    assert prefixes(plain) == [link.prefix for link in ChainReader(model_traits(KEEPS)).read(marked_bytes).links]
    assert [link.ttl for link in read(marked).links] == ["5m", "1h"]


def test_one_message_of_two_blocks_is_not_two_messages():
    together = prefixes({"messages": [user(say(1), say(2))]})
    apart = prefixes({"messages": [user(say(1)), user(say(2))]})
    assert together[0] == apart[0]
    assert together[1] != apart[1]


def test_a_longer_conversation_begins_with_the_shorter_ones_prefixes():
    first = {"tools": [tool("Read", 1)], "messages": [user(say(1))]}
    longer = {**first, "messages": [user(say(1)), assistant(say(2)), user(say(3))]}
    assert prefixes(longer)[: len(prefixes(first))] == prefixes(first)
    other = {**longer, "tools": [tool("Grep", 2)]}
    assert not set(prefixes(longer)) & set(prefixes(other))


def test_the_billing_header_is_in_no_prefix():
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"}
    with_header = read({"system": [header, say(1)], "messages": [user(say(2))]})
    assert [link.block for link in with_header.links] == [1, 2]
    assert with_header.size == 3
    assert [link.prefix for link in with_header.links] == prefixes({"system": [say(1)], "messages": [user(say(2))]})


def test_deferred_tools_are_not_in_the_prompt_until_a_result_refers_to_them():
    deferred = {**tool("Search", 1), "defer_loading": True}
    reference = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "tool_reference", "tool_name": "Search"}],
    }
    chain = read({"tools": [deferred], "messages": [user(reference)]})
    assert [link.block for link in chain.links] == [1]
    assert not chain.tools
    assert set(chain.deferred) == {"Search"}


def test_older_models_drop_the_thinking_before_the_last_plain_user_message():
    result = {"type": "tool_result", "tool_use_id": "t", "content": "done"}
    messages = [user(say(1)), assistant(THOUGHT, say(2)), user(result), assistant(THOUGHT, say(3)), user(say(4))]
    assert len(read({"messages": messages}, KEEPS).links) == 7
    dropped = read({"messages": messages}, DROPS)
    assert [link.makeup.kind for link in dropped.links] == ["text", "text", "tool_result", "text", "text"]
    assert all(link.opens for link in dropped.links)


def test_older_models_keep_the_thinking_of_a_turn_that_goes_on():
    result = {"type": "tool_result", "tool_use_id": "t", "content": "done"}
    messages = [user(say(1)), assistant(THOUGHT, say(2)), user(result)]
    assert [link.thinking for link in read({"messages": messages}, DROPS).links] == [False, True, False, False]


def test_a_top_level_cache_control_is_a_breakpoint_at_the_last_block():
    chain = read({"messages": [user(say(1), say(2))], "cache_control": {"type": "ephemeral", "ttl": "1h"}})
    assert [link.ttl for link in chain.links] == [None, "1h"]
    assert read({"messages": [user(say(1))], "cache_control": None}).links[0].ttl is None


def test_what_a_block_is_made_of_is_remembered_within_bounds():
    reader = ChainReader(model_traits(KEEPS), size=2)
    bodies = [json.dumps({"messages": [user(say(n))]}).encode() for n in range(6)]
    first = reader.read(bodies[0]).links[0].makeup
    assert reader.read(bodies[0]).links[0].makeup is first
    for body in bodies:
        reader.read(body)
    assert reader.read(bodies[0]).links[0].makeup is not first


def test_a_body_that_cannot_be_cut_is_refused():
    with pytest.raises(JSONSpanError):
        ChainReader(model_traits(KEEPS)).read(b"no json")


def variants() -> list[dict[str, object]]:
    """Bodies that have much in common, in an order in which each could be taken for another."""
    tools = [{"name": "Read", "input_schema": {}}, {"name": "Later", "defer_loading": True, "input_schema": {}}]
    header = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0"}
    other = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.1"}
    cached = {**say(2), "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    talk = [user(say(1)), assistant(THOUGHT, say(2))]
    return [
        {"tools": tools, "system": [header, say(9)], "messages": talk},
        {"tools": tools, "system": [other, say(9)], "messages": [*talk, user(say(3))]},
        {"tools": tools, "system": [header, say(9)], "messages": [user(say(1)), assistant(THOUGHT, cached)]},
        {"tools": [*tools, {"name": "Grep", "input_schema": {}}], "system": [header, say(9)], "messages": talk},
        {"tools": tools, "system": [header, say(9)], "messages": [user(say(1)), user(THOUGHT, say(2))]},
        {"tools": tools, "system": [header, say(9)], "messages": [user(say(1), say(2)), assistant(THOUGHT)]},
        {"system": "one", "messages": [user(say(1))]},
        {"system": [{"type": "text", "text": "one"}], "messages": [user(say(1))]},
        {"messages": [user(say(1)), user(), user(say(2))]},
        {"messages": [user(say(1)), user(say(2)), user()]},
        {"messages": []},
    ]


@pytest.mark.parametrize("model", [KEEPS, DROPS])
def test_a_chain_does_not_depend_on_what_was_read_before(model):
    reader = ChainReader(model_traits(model))
    for _ in range(2):
        for body in variants():
            raw = json.dumps(body).encode()
            assert reader.read(raw) == ChainReader(model_traits(model)).read(raw)


@settings(max_examples=60)
@given(bodies(), st.sampled_from([KEEPS, DROPS]))
def test_a_conversation_that_goes_on_has_the_chain_that_it_would_have_alone(sequence, model):
    reader = ChainReader(model_traits(model))
    for raw in sequence:
        try:
            alone = ChainReader(model_traits(model)).read(raw)
        except JSONSpanError:
            continue
        assert reader.read(raw) == alone


def test_few_chains_are_kept_one_of_each_conversation_and_no_large_ones(monkeypatch):
    reader = ChainReader(model_traits(KEEPS))
    history = [user(say(n)) for n in range(8)]
    for turn in range(1, 9):
        reader.read(json.dumps({"messages": history[:turn]}).encode())
    assert [len(chain.raws) for chain in reader._recent] == [8]
    for n in range(10, 20):
        reader.read(json.dumps({"messages": [user(say(n))]}).encode())
    assert len(reader._recent) == module._RECENT
    kept = list(reader._recent)
    monkeypatch.setattr(module, "_RECENT_BYTES", 10)
    reader.read(json.dumps({"messages": [user(say(30))]}).encode())
    assert reader._recent == kept
