from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.sansio import jsonspans
from claudeproxy.sansio import messages as module
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import MAX_BLOCKS, Section, common_prefix, exact_block, is_billing_header, layout
from tests.sansio.growing import bodies
from tests.sansio.hostile_json import json_values, write_json


def cut(body: bytes) -> list[tuple[str, bytes]]:
    return [(b.json_path, exact_block(body, b)) for b in layout(body).blocks]


def test_blocks_come_in_prompt_order_with_their_paths():
    """Tools, system, messages: also when the document has them the other way round."""
    body = (
        b'{"messages":[{"role":"user","content":"hi"},{"content":[{"type":"text","text":"a"},{"b":2}],'
        b'"role":"assistant"}],"system":[{"text":"s"}],"tools":[{"name":"t"}],"model":"m"}'
    )
    assert cut(body) == [
        ("$.tools[0]", b'{"name":"t"}'),
        ("$.system[0]", b'{"text":"s"}'),
        ("$.messages[0].content", b'"hi"'),
        ("$.messages[1].content[0]", b'{"type":"text","text":"a"}'),
        ("$.messages[1].content[1]", b'{"b":2}'),
    ]
    found = layout(body)
    assert [b.role for b in found.blocks] == ["system", "system", "user", "assistant", "assistant"]
    assert [b.opens_message for b in found.blocks] == [False, False, True, True, False]
    assert [b.message_index for b in found.blocks] == [-1, -1, 0, 1, 1]
    assert [m.key for m in found.members] == ["messages", "system", "tools", "model"]
    assert found.length == len(body)


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b"{}", []),
        (b'{"system":"s"}', ["$.system"]),
        (b'{"system":null,"tools":null,"messages":[]}', []),
        (b'{"system":"","messages":[]}', ["$.system"]),
        (b'{"system":5,"tools":"x","messages":[]}', []),
        (b'{"tools":{"a":1}}', []),
        (b'{"messages":[{"role":"system","content":[]}]}', []),
        (b'{"messages":[{"role":"user"},{"content":null},{}]}', []),
        (b'{"messages":[{"role":"user","content":["bare",{"type":"text"},7]}]}', ["$.messages[0].content[1]"]),
        (b'{"messages":[{"role":"new","content":[{"type":"never_seen"}]}]}', ["$.messages[0].content[0]"]),
        (b'{"messages":[{"role":"user","content":{"type":"text"}}]}', []),
        (b'{"messages":[{"content":"a","role":"user","content":"b"}]}', ["$.messages[0].content"]),
        (b'{"messages":"x","messages":[{"content":"b"}]}', ["$.messages[0].content"]),
        (b'{"messages":[{"content":"\\ud800","x":[[]]},{"role":"user","content":"b"},{"role":"user"}]}',
         ["$.messages[0].content", "$.messages[1].content"]),
    ],
)  # fmt: skip
def test_every_shape_that_an_sdk_can_send(body, paths):
    assert [b.json_path for b in layout(body).blocks] == paths


@pytest.mark.parametrize("prefix", [b"", b'{"role":"user","content":"\\ud800"},'])
def test_of_duplicate_keys_the_last_counts_in_both_scanners(prefix):
    body = b'{"messages":[' + prefix + b'{"content":"a","role":"user","role":"assistant","content":"b"}]}'
    block = layout(body).blocks[-1]
    assert (exact_block(body, block), block.role) == (b'"b"', "assistant")


@pytest.mark.parametrize("role", [b"7", b'"\\u0075ser"', b'"new"', b'"\\ud800"'])
def test_a_role_is_read_as_json(role):
    body = b'{"messages":[{"role":' + role + b',"content":"a"}]}'
    value = json.loads(role)
    assert layout(body).blocks[0].role == (value if isinstance(value, str) else "")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"messages":{}}', b'{"messages":null}', b'{"messages":[1]}', b'{"messages":["a"]}',
     b'{"messages":[{"content":[}]}', b'{"messages":[[]]}'],
)  # fmt: skip
def test_what_cannot_be_cut_is_refused(body):
    with pytest.raises(JSONSpanError):
        layout(body)


@pytest.mark.parametrize(
    ("block", "rest"),
    [
        (b'{"text":"a","cache_control":{"type":"ephemeral"}}', b'{"text":"a"}'),
        (b'{"text": "a", "cache_control": {"type": "ephemeral"}}', b'{"text": "a"}'),
        (b'{"cache_control":{"type":"ephemeral"},"text":"a"}', b'{"text":"a"}'),
        (b'{ "cache_control" : null , "text":"a"}', b'{ "text":"a"}'),
        (b'{"a":1,"cache_control":{},"text":"a"}', b'{"a":1,"text":"a"}'),
        (b'{"cache_control":1}', b"{}"),
        (b'{"input":{"cache_control":1}}', b'{"input":{"cache_control":1}}'),
        (b'{"a":"\\"cache_control\\""}', b'{"a":"\\"cache_control\\""}'),
        (b'{"cache_control":1,"cache_control":2}', b'{"cache_control":1,"cache_control":2}'),
        (b'{"cache_control":1,"a":"\\ud800"}', b'{"a":"\\ud800"}'),
    ],
)
def test_the_blocks_own_cache_control_is_cut_with_one_comma(block, rest):
    """What is left is byte for byte what the client writes when the breakpoint has moved on."""
    body = b'{"messages":[{"role":"user","content":[' + block + b"]}]}"
    (span,) = layout(body).blocks
    assert body[span.start : span.end] == block
    assert exact_block(body, span) == rest


texts = st.text(max_size=10)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "new"])},
    optional={"text": texts, "input": json_values, "cache_control": st.just({"type": "ephemeral"})},
)
contents = st.none() | texts | st.lists(blocks, max_size=3)
messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "other"])},
    optional={"content": contents, "id": json_values},
)
requests = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=5)},
    optional={
        "system": texts | st.lists(blocks, max_size=3),
        "tools": st.none() | st.lists(blocks, max_size=3),
        "model": texts,
        "metadata": json_values,
    },
)


@settings(max_examples=150)
@given(requests, st.randoms(use_true_random=False), st.booleans())
def test_every_block_parses_to_the_block_that_was_written(request, random, duplicates):
    """However the request is written, the cut finds exactly its blocks, disjoint, each without its cache_control."""
    body = write_json(request, random, duplicates=duplicates)
    read = json.loads(body)  # last duplicate wins, as in JSON.parse
    if not isinstance(read["messages"], list):
        return
    expected: list[tuple[str, object]] = []
    for section in ("tools", "system"):
        value = read.get(section) or ([] if read.get(section) != "" else "")
        if isinstance(value, str) and section == "system":
            expected.append(("$.system", value))
        elif isinstance(value, list):
            expected += [(f"$.{section}[{i}]", block) for i, block in enumerate(value)]
    for i, message in enumerate(read["messages"]):
        value = message.get("content")
        if isinstance(value, str):
            expected.append((f"$.messages[{i}].content", value))
        elif isinstance(value, list):
            expected += [(f"$.messages[{i}].content[{j}]", block) for j, block in enumerate(value)]
    found = layout(body)
    assert [(b.json_path, json.loads(body[b.start : b.end])) for b in found.blocks] == expected
    for block, (_, value) in zip(found.blocks, expected, strict=True):
        if block.cut is not None:
            assert isinstance(value, dict)
            del value["cache_control"]
            assert json.loads(exact_block(body, block)) == value
    edges = [edge for b in sorted(found.blocks, key=lambda b: b.start) for edge in (b.start, b.end)]
    assert edges == sorted(edges)


@pytest.mark.parametrize(
    ("section", "block", "expected"),
    [
        (Section.SYSTEM, b'{"type":"text","text":"x-anthropic-billing-header: cc_version=1;"}', True),
        (Section.SYSTEM, b'"x-anthropic-billing-header: cc_version=1;"', True),
        (Section.MESSAGES, b'"x-anthropic-billing-header: cc_version=1;"', False),
        (Section.SYSTEM, b'{"type":"text","text":"see x-anthropic-billing-header: a"}', False),
        (Section.SYSTEM, b'{"type":"text","note":"x-anthropic-billing-header: a"}', False),
        (Section.SYSTEM, b'{"type":"text","text":"You are helpful"}', False),
        (Section.SYSTEM, b'{"x-anthropic-billing-header:', False),
    ],
)
def test_the_billing_header_is_known_by_how_its_text_starts(section, block, expected):
    assert is_billing_header(section, block) is expected


@pytest.mark.parametrize("content", [b'"a"', b"[{},{}]"])
def test_a_body_of_very_many_blocks_is_not_cut(content):
    count = MAX_BLOCKS + 1 if content == b'"a"' else MAX_BLOCKS // 2 + 1
    message = b'{"role":"user","content":' + content + b"}"
    with pytest.raises(JSONSpanError, match="more than"):
        layout(b'{"messages":[' + b",".join([message] * count) + b"]}")


@settings(max_examples=150)
@given(bodies())
def test_what_is_taken_over_from_other_bodies_is_what_would_have_been_found(sequence):
    """And a block that two bodies have in common stands in the same bytes, with the same bytes before it."""
    seen = []
    for body in sequence:
        try:
            fresh = module._cut(body, ()).layout
        except JSONSpanError:
            with pytest.raises(JSONSpanError):
                layout(body)
            continue
        found = layout(body)
        assert found == fresh
        for other, blocks in seen:
            for block in found.blocks:
                if any(block is one for one in blocks):
                    assert body[: block.end] == other[: block.end]
        seen.append((body, found.blocks))


def written(*messages: str, before: str = '"model":"m",', after: str = ',"tools":[{"name":"t"}]') -> bytes:
    return f'{{{before}"messages":[{",".join(messages)}]{after}}}'.encode()


TALK = ['{"role":"user","content":"a"}', '{"content":[{"b":1},7],"id":[1],"role":"assistant"}', '{"role":"user"}',
        '{"role":"user","content":"c","content":"d"}', '{"role":"user","content":[{"e":"\\ud800"}]}']  # fmt: skip


@pytest.mark.parametrize(
    "later",
    [
        written(*TALK, '{"role":"assistant","content":[{"f":1}]}', '{"role":"user"}'),
        written(*TALK, after=',"system":"s","tools":[{"name":"t"},{"name":"u"}],"messages":[{"content":"z"}]'),
        written(*TALK, before='"messages":[{"content":"y"}],"model":"m",'),
        written(*TALK[:-1], '{"role":"user","content":[{"e":"\\ud801"}]}'),
        written(*TALK[:-1]) + b" ",
        written(*TALK[:2], '{"role":"system","content":[]}', after=""),
        written(*TALK[:-1], '{"role":"user","content":[{"e":"\\ud800"}],"role":"assistant","content":"g"}'),
    ],
)
def test_a_body_that_begins_as_another_is_cut_as_if_it_were_alone(later):
    earlier = module._cut(written(*TALK), ())
    found, alone = module._cut(later, (earlier,)), module._cut(later, ())
    assert (found.layout, dict(found.contents), found.blocks) == (alone.layout, dict(alone.contents), alone.blocks)


@pytest.mark.parametrize(
    "later",
    [written(*TALK)[:-1], written(*TALK, "1"), written(*TALK) + b"}", written(*TALK, after=',"messages":7')],
)
def test_a_body_that_begins_as_another_is_refused_as_if_it_were_alone(later):
    earlier = module._cut(written(*TALK), ())
    with pytest.raises(JSONSpanError):
        module._cut(later, ())
    with pytest.raises(JSONSpanError):
        module._cut(later, (earlier,))


def test_messages_that_were_taken_over_count(monkeypatch):
    """A list that grows beyond the bound is refused however much of it is known."""
    earlier = module._cut(written(*TALK), ())
    monkeypatch.setattr(jsonspans, "MAX_ITEMS", len(TALK))
    module._cut(written(*TALK, before=""), (earlier,))
    with pytest.raises(JSONSpanError, match="more than"):
        module._cut(written(*TALK, '{"role":"user"}'), (earlier,))


def test_a_turn_takes_over_the_blocks_of_the_turn_before_it_in_conversations_side_by_side():
    def body(name: str, turns: int) -> bytes:
        written = [{"role": "user", "content": [{"type": "text", "text": f"{name} {n}"}]} for n in range(turns)]
        return json.dumps({"messages": written, "tools": []}).encode()

    before = {name: layout(body(name, 3)).blocks for name in ("main", "agent", "other")}
    for name, blocks in before.items():
        assert all(now is then for now, then in zip(layout(body(name, 5)).blocks[:3], blocks, strict=True))


@given(st.binary(max_size=300), st.integers(0, 300), st.binary(max_size=4))
def test_the_common_prefix_is_found_to_the_byte(one, at, other):
    stride, module._STRIDE = module._STRIDE, 16
    try:
        changed = one[:at] + other + one[at:]
        expected = next((i for i, (a, b) in enumerate(zip(one, changed, strict=False)) if a != b), len(one))
        assert common_prefix(one, changed) == common_prefix(changed, one) == expected
    finally:
        module._STRIDE = stride
