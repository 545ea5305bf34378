from __future__ import annotations

import gzip
import json

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.model import Answer, RawHeaders, Usage
from claudeproxy.sansio.answer import parse_json, read_answer, read_usage

MIB = 1 << 20
JSON: RawHeaders = ((b"Content-Type", b"application/json; charset=utf-8"),)
STREAM: RawHeaders = ((b"content-type", b"text/event-stream; charset=utf-8"),)
USAGE = {
    "input_tokens": 3,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 1},
    "output_tokens": 11,
    "output_tokens_details": {"thinking_tokens": 2},
    "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 6},
    "service_tier": "standard",
    "speed": "fast",
    "inference_geo": "us",
    "iterations": [{"type": "message", "input_tokens": 3}],
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": USAGE,
}


def read(body: bytes, headers: RawHeaders = JSON, *, status_code: int = 200, max_decoded: int = MIB) -> Answer:
    return read_answer(body, headers, status_code=status_code, max_decoded=max_decoded)


def sse(*events: dict[str, object]) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


STREAMED = sse(
    {"type": "message_start", "message": MESSAGE | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 42}},
    {"type": "message_stop"},
)


def test_a_message_is_read_with_its_whole_bill() -> None:
    answer = read(json.dumps(MESSAGE).encode())
    assert answer.message == MESSAGE
    assert (answer.message_id, answer.model, answer.stop_reason) == ("msg_1", "claude-x", "end_turn")
    assert (answer.streamed, answer.error_type) == (False, None)
    assert answer.usage.raw is not None
    assert json.loads(answer.usage.raw) == USAGE
    assert answer.usage == Usage(
        input_tokens=3,
        cache_creation_input_tokens=5,
        cache_read_input_tokens=7,
        cache_creation_5m=4,
        cache_creation_1h=1,
        output_tokens=11,
        thinking_tokens=2,
        web_search_requests=1,
        web_fetch_requests=6,
        service_tier="standard",
        speed="fast",
        inference_geo="us",
        raw=answer.usage.raw,
    )


def test_a_stream_gives_the_message_that_would_have_come_unstreamed() -> None:
    answer = read(STREAMED, STREAM)
    assert answer.message == MESSAGE | {"usage": USAGE | {"output_tokens": 42}}
    assert (answer.streamed, answer.usage.output_tokens, answer.usage.input_tokens) == (True, 42, 3)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_content_codings_are_taken_off(coding: str) -> None:
    encode = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress}[coding]
    assert read(encode(STREAMED), (*STREAM, (b"Content-Encoding", coding.encode()))).usage.output_tokens == 42


def test_of_a_cut_encoded_stream_is_known_what_came() -> None:
    compressor = zstandard.ZstdCompressor().compressobj()
    first = compressor.compress(STREAMED[:-60]) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    answer = read(first, (*STREAM, (b"content-encoding", b"zstd")))
    assert answer.message_id == "msg_1"
    assert answer.usage.input_tokens == 3


@settings(max_examples=60)
@given(cut=st.integers(0, len(STREAMED)))
def test_a_stream_cut_anywhere_never_says_more_than_the_whole(cut: int) -> None:
    answer = read(STREAMED[:cut], STREAM)
    assert answer.streamed
    assert answer.usage.input_tokens in {None, 3}
    assert answer.usage.output_tokens in {None, 11, 42}


@settings(max_examples=100)
@given(
    body=st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str).map(str.encode),
    headers=st.sampled_from([JSON, STREAM, (), ((b"content-encoding", b"gzip"),), ((b"content-encoding", b"?"),)]),
    status_code=st.sampled_from([200, 204, 429, 529]),
)
def test_it_never_raises(body: bytes, headers: RawHeaders, status_code: int) -> None:
    assert isinstance(read(body, headers, status_code=status_code), Answer)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = [
    "type",
    "message",
    "index",
    "content_block",
    "delta",
    "usage",
    "error",
    "text",
    "partial_json",
    "content",
    "to",
]
KINDS = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "message_delta",
    "error",
    "text_delta",
    "fallback",
]


@settings(max_examples=150)
@given(
    events=st.lists(
        st.dictionaries(
            st.sampled_from(MEMBERS),
            json_values
            | st.sampled_from(KINDS)
            | st.dictionaries(st.sampled_from(MEMBERS), json_values | st.sampled_from(KINDS), max_size=4),
            max_size=5,
        ),
        max_size=6,
    )
)
def test_streams_of_any_shape_never_raise(events: list[dict[str, object]]) -> None:
    body = b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)
    assert isinstance(read(body, STREAM), Answer)


def test_an_error_body_names_its_type() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    assert read(body, status_code=529) == Answer(error_type="overloaded_error")


def test_a_gateway_error_without_a_type_member_counts_by_its_status() -> None:
    assert read(b'{"error":{"type":"rate_limit"}}', status_code=429).error_type == "rate_limit"
    assert read(b'{"error":{"type":"rate_limit"}}', status_code=200) == Answer()


def test_an_error_inside_a_stream_leaves_the_bill_so_far() -> None:
    start = STREAMED[: STREAMED.index(b"event: content_block_start")]
    body = start + sse({"type": "error", "error": {"type": "overloaded_error"}})
    answer = read(body, STREAM)
    assert (answer.error_type, answer.usage.input_tokens) == ("overloaded_error", 3)


def test_an_error_alone_in_a_stream_has_no_message() -> None:
    body = sse({"type": "error", "error": {"type": "api_error"}})
    assert read(body, STREAM) == Answer(error_type="api_error", streamed=True)


def test_a_token_count_is_a_usage() -> None:
    assert read(b'{"input_tokens": 2095}') == Answer(usage=Usage(input_tokens=2095, raw='{"input_tokens":2095}'))


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b'{"type":"model","id":"x"}', b"\xff", b"{" * 200_000]
)
def test_anything_else_is_an_empty_answer(body: bytes) -> None:
    assert read(body) == Answer()


@pytest.mark.parametrize("depth", [500, 900, 940, 960, 970, 980, 985, 990])
def test_a_message_nested_near_the_limits_of_python_does_not_raise(depth: int) -> None:
    """Parser and serializer have different limits: what the one reads the other may refuse."""
    body = b'{"type":"message","usage":{"a":' + b"[" * depth + b"]" * depth + b"}}"
    assert isinstance(read(body), Answer)
    assert isinstance(read(b'data: {"type":"message_start","message":' + body + b"}\n\n", STREAM), Answer)


def test_a_stream_without_a_content_type_is_recognised() -> None:
    assert read(STREAMED, ()).streamed


def test_a_monstrous_event_ends_the_reading_and_not_what_was_read() -> None:
    body = STREAMED + b"data: " + b"x" * (17 << 20)
    assert read(body, STREAM, max_decoded=64 * MIB).usage.output_tokens == 42


@pytest.mark.parametrize("value", [-1, 10**8 + 1, 1 << 63, True, 1.5, "3", None, [1]])
def test_what_is_no_count_is_none(value: object) -> None:
    assert read_usage({"input_tokens": value}).input_tokens is None


def test_the_largest_count_is_far_beyond_any_request() -> None:
    assert read_usage({"input_tokens": 10**8}).input_tokens == 10**8


@pytest.mark.parametrize("value", [None, [], "x", 3])
def test_a_usage_of_another_type_is_empty(value: object) -> None:
    assert read_usage(value) == Usage()


def test_json_beyond_any_message_is_not_read() -> None:
    """A few KB on the wire can be gigabytes as Python's objects; the raw bytes are the record."""
    body = gzip.compress(b'{"type":"message","id":"msg_1","content":[' + b"[]," * (6 << 20) + b"1]}", 1)
    headers = ((b"Content-Type", b"application/json"), (b"Content-Encoding", b"gzip"))
    assert read_answer(body, headers, status_code=200, max_decoded=128 << 20) == Answer()


def test_of_a_stream_that_bursts_the_beginning_is_read() -> None:
    """The raw bytes are the record; reading all of them would keep everybody else's waiting."""
    start = b'data: {"type":"message_start","message":{"type":"message","usage":{"input_tokens":7}}}\n\n'
    end = b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":42}}\n\n'
    body = start + (b":" + b" " * MIB + b"\n\n") * 33 + end
    headers = (*STREAM, (b"Content-Encoding", b"gzip"))
    plain = read(body, STREAM, max_decoded=64 * MIB).usage
    coded = read(gzip.compress(body, 1), headers, max_decoded=64 * MIB).usage
    assert (plain.input_tokens, plain.output_tokens) == (7, 42)
    assert (coded.input_tokens, coded.output_tokens) == (7, None)


def test_lone_surrogates_are_let_through() -> None:
    assert parse_json(b'"a\\ud83d"') == "a\ud83d"
