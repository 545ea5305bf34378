"""The promise: for any JSON a client could send, and for any bytes at all, segments partition the body exactly."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claudeproxy.attribution import AttributionEngine
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import layout
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    FINGERPRINTS,
    IDENTITY,
    KNOWN,
    KNOWN_PART,
    check_partition,
    engine,
)

MARKERS = [rule.example for rule in DEFAULT] + [
    BILLING,
    IDENTITY,
    KNOWN,
    KNOWN_PART,
    "gitStatus: This is the git status at the start of the conversation.",
    "# MCP Server Instructions",
    "<system-reminder>\n",
    "\n</system-reminder>",
    "<command-message>a</command-message>\n<command-name>/a</command-name>",
    "Base directory for this skill: /a/vectorize\n\nbody\n\nARGUMENTS: x",
    "This session is being continued from a previous conversation that ran out of context.",
    "<available_skills>\n<skill>\n<name>\nx\n</name>\n</skill>\n</available_skills>",
    "Available agent types and the tools they have access to:\n- a: b (Tools: *)",
]
words = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(st.sampled_from(MARKERS), st.text(max_size=8)), max_size=6).map("\n\n".join),
    st.lists(st.sampled_from(MARKERS), max_size=3).map(
        lambda items: "".join(f"out\n\n<system-reminder>\n{item}\n</system-reminder>" for item in items)
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
ids = st.sampled_from(["t1", "t2", "t3"])
names = st.sampled_from(["Read", "Skill", "Task", "ToolSearch", "mcp__a__b", "mcp__a_b__c__d", "mcp__", "mcp__x", ""])
text_block = st.builds(lambda text: {"type": "text", "text": text}, words)
inner_block = st.one_of(
    text_block,
    st.builds(lambda name: {"type": "tool_reference", "tool_name": name}, names),
    st.builds(lambda data: {"type": "image", "source": {"type": "base64", "data": data}}, words),
    values,
)
block = st.one_of(
    text_block,
    st.builds(lambda i, n, v: {"type": "tool_use", "id": i, "name": n, "input": v}, ids, names, values),
    st.builds(
        lambda i, content, bad: {"tool_use_id": i, "type": "tool_result", "content": content, "is_error": bad},
        ids,
        st.one_of(words, st.lists(inner_block, max_size=3)),
        st.booleans(),
    ),
    st.builds(lambda t: {"type": "thinking", "thinking": t, "signature": t}, words),
    st.builds(lambda t: {"type": "document", "title": t, "source": {"type": "text", "data": t}}, words),
    st.builds(lambda t: {"type": "redacted_thinking", "data": t}, words),
    st.dictionaries(st.sampled_from(["type", "text", "content", "source", "id", "title", "é"]), values, max_size=4),
    values,
)
content = st.one_of(words, st.lists(block, max_size=4), st.none())
message = st.builds(
    lambda role, what: {"role": role, "content": what}, st.sampled_from(["user", "assistant", "system", "x"]), content
)
tool = st.builds(lambda n, d, v: {"name": n, "description": d, "input_schema": v}, names, words, values)
requests = st.fixed_dictionaries(
    {"messages": st.lists(message, max_size=5)},
    optional={
        "system": st.one_of(words, st.lists(text_block, max_size=3), values),
        "tools": st.one_of(st.lists(st.one_of(tool, values), max_size=3), values),
        "metadata": st.dictionaries(st.just("user_id"), words, max_size=1),
        "output_config": values,
        "max_tokens": st.integers(),
    },
)
WARM = AttributionEngine(fingerprints=FINGERPRINTS, max_cached_bytes=20_000)  # small: entries come and go


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(request=requests, claude_code=st.booleans(), ascii_only=st.booleans())
def test_any_request_is_partitioned_and_analysis_repeats_itself(request, claude_code, ascii_only):
    """Cold, again and with a cache full of other requests the result is the same, and it is a partition."""
    body = json.dumps(request, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    headers = CLAUDE if claude_code else None
    cold = engine()
    found = cold.analyze_request(body, headers=headers)
    try:
        layout(body)
    except JSONSpanError:
        assert not found.blocks
        return
    check_partition(body, found)
    assert cold.analyze_request(body, headers=headers) == found
    assert WARM.analyze_request(body, headers=headers) == found


@settings(max_examples=100)
@given(body=st.one_of(st.binary(max_size=60), st.sampled_from([b"", b"null", b'{"messages":7}', b"[" * 2000])))
def test_no_bytes_raise(body):
    """What is no request is one segment of overhead."""
    found = engine().analyze_request(body, headers=CLAUDE)
    assert not found.blocks
    assert sum(segment.byte_end - segment.byte_start for segment in found.overhead) == len(body)


@settings(max_examples=60)
@given(request=requests, data=st.data())
def test_a_request_cut_anywhere_does_not_raise(request, data):
    """A body that never arrived in full is taken as it is."""
    body = json.dumps(request).encode()
    engine().analyze_request(body[: data.draw(st.integers(0, len(body)))], headers=CLAUDE)
