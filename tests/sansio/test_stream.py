from __future__ import annotations

import json

import pytest

from claudeproxy.sansio.answer import parse_json
from claudeproxy.sansio.sse import Event
from claudeproxy.sansio.stream import StreamedMessage


def stream(*events: dict[str, object]) -> StreamedMessage:
    message = StreamedMessage(parse_json)
    for event in events:
        message.add(Event(event=str(event["type"]), data=json.dumps(event)))
    return message


def begun(block: dict[str, object], *deltas: dict[str, object]) -> dict[str, object]:
    """The block that these deltas make."""
    message = stream(
        {"type": "message_start", "message": {"id": "m", "type": "message", "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
    ).message()
    assert message is not None
    (made,) = message["content"]  # type: ignore[misc]
    assert isinstance(made, dict)
    return made


def test_nothing_seen_is_no_message() -> None:
    assert stream({"type": "ping"}).message() is None


def test_tool_input_is_put_together() -> None:
    block = begun(
        {"type": "tool_use", "id": "t", "name": "Read", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"path": "/a'},
        {"type": "input_json_delta", "partial_json": '/b"}'},
    )
    assert block["input"] == {"path": "/a/b"}


def test_tool_input_without_any_json_stays_as_it_began() -> None:
    assert begun({"type": "tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": ""})["input"] == {}


def test_partial_tool_input_is_kept_as_text() -> None:
    block = begun({"type": "tool_use", "input": {}}, {"type": "input_json_delta", "partial_json": '{"path": "/a'})
    assert block["input"] == '{"path": "/a'


def test_thinking_and_its_signature() -> None:
    block = begun(
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "thinking_delta", "thinking": "m"},
        {"type": "signature_delta", "signature": "c2ln"},
    )
    assert block == {"type": "thinking", "thinking": "hmm", "signature": "c2ln"}


def test_citations_are_collected() -> None:
    block = begun(
        {"type": "text", "text": "", "citations": None},
        {"type": "citations_delta", "citation": {"n": 1}},
        {"type": "text_delta", "text": "x"},
        {"type": "citations_delta", "citation": {"n": 2}},
    )
    assert block == {"type": "text", "text": "x", "citations": [{"n": 1}, {"n": 2}]}


def test_compaction_replaces() -> None:
    block = begun({"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "summary"})
    assert block == {"type": "compaction", "content": "summary"}


def test_unknown_deltas_and_blocks_are_kept() -> None:
    delta = {"type": "hologram_delta", "depth": 3}
    assert begun({"type": "hologram", "x": 1}, delta) == {"type": "hologram", "x": 1, "deltas": [delta]}


def test_a_surrogate_pair_cut_between_two_deltas_is_one_character() -> None:
    block = begun(
        {"type": "text", "text": ""}, {"type": "text_delta", "text": "\ud83d"}, {"type": "text_delta", "text": "\ude00"}
    )
    assert block["text"] == "\U0001f600"


def test_the_last_value_that_is_not_null_wins_in_the_bill_nested_ones_too() -> None:
    message = stream(
        {
            "type": "message_start",
            "message": {"usage": {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"a": 1, "b": 2}}},
        },
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 5, "input_tokens": None}},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9, "cache_creation": {"a": None, "b": 3}}},
    ).message()
    assert message is not None
    assert message["usage"] == {"input_tokens": 1, "output_tokens": 9, "cache_creation": {"a": 1, "b": 3}}


def test_members_beside_the_delta_are_merged_and_null_changes_nothing() -> None:
    message = stream(
        {"type": "message_start", "message": {"id": "m", "stop_sequence": None, "container": {"id": "c"}}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "refusal", "container": None},
            "context_management": {"a": 1},
        },
    ).message()
    assert message == {
        "id": "m",
        "stop_sequence": None,
        "container": {"id": "c"},
        "stop_reason": "refusal",
        "context_management": {"a": 1},
        "content": [],
    }


def test_a_stream_that_begins_in_the_middle_gives_what_it_has() -> None:
    message = stream(
        {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "late"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    ).message()
    assert message == {"stop_reason": "end_turn", "usage": {"output_tokens": 1}, "content": [{"text": "late"}]}


def test_blocks_come_in_the_order_of_their_index() -> None:
    message = stream(
        {"type": "content_block_start", "index": 1, "content_block": {"type": "b"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "a"}},
    ).message()
    assert message == {"content": [{"type": "a"}, {"type": "b"}]}


def test_a_fallback_block_names_the_model_that_answered() -> None:
    message = stream(
        {"type": "message_start", "message": {"model": "first"}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "fallback", "to": {"model": "second"}}},
    ).message()
    assert message is not None
    assert message["model"] == "second"


@pytest.mark.parametrize("error", [{"type": "overloaded_error"}, None, {"type": 3}])
def test_an_error_event_is_noticed_whatever_it_holds(error: object) -> None:
    expected = "overloaded_error" if error == {"type": "overloaded_error"} else "error"
    assert stream({"type": "error", "error": error}).error_type == expected


def test_the_event_name_serves_where_the_data_has_no_type() -> None:
    message = StreamedMessage(parse_json)
    message.add(Event(event="message_start", data='{"message": {"id": "m"}}'))
    message.add(Event(event="message_start", data="not json"))
    message.add(Event(event="message_start", data="[]"))
    assert message.message() == {"id": "m", "content": []}
