"""The whole that a stateful thread stands for, put together from what went before and what is new."""

from __future__ import annotations

import json

import pytest

from claudeproxy.sansio.messages import Section, exact_block, layout
from claudeproxy.sansio.threads import ContextBlock, answer_blocks, continue_body

BILLING = {"type": "text", "text": "x-anthropic-billing-header: cch=1;"}
FIRST = {
    "model": "m",
    "tools": [{"name": "Read"}],
    "system": [BILLING, {"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "é"}, {"type": "text", "text": "two"}]},
        {"role": "system", "content": "news"},
    ],
}
ANSWER = [{"type": "text", "text": "yes"}, {"type": "tool_use", "id": "t", "name": "Read", "input": {}}]
NEW = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "late"}]}]


def dump(value: object, *, spaced: bool = False) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=None if spaced else (",", ":")).encode()


def blocks(body: bytes) -> list[ContextBlock]:
    return [
        ContextBlock(
            section=block.section, role=block.role, raw=exact_block(body, block), opens_message=block.opens_message
        )
        for block in layout(body).blocks
    ]


def whole(sent: dict[str, object], *, spaced: bool = False) -> dict[str, object]:
    body = dump(sent, spaced=spaced)
    value: dict[str, object] = json.loads(
        continue_body(body, layout(body), [*blocks(dump(FIRST)), *answer_blocks(ANSWER)])
    )
    return value


@pytest.mark.parametrize("spaced", [False, True])
def test_a_request_without_tools_and_system_stands_on_the_earlier_ones(spaced):
    """Messages go on after the answer; everything beside the prompt is the request's own."""
    billing = {"type": "text", "text": "x-anthropic-billing-header: cch=2;"}
    found = whole(
        {"max_tokens": 9, "system": [billing], "messages": NEW, "thread": {"type": "continue"}}, spaced=spaced
    )
    assert found == {
        "max_tokens": 9,
        "thread": {"type": "continue"},
        "tools": FIRST["tools"],
        "system": [billing, {"type": "text", "text": "be kind"}],
        "messages": [*FIRST["messages"], {"role": "assistant", "content": ANSWER}, *NEW],
    }


def test_its_own_tools_and_system_take_the_place_of_the_earlier_ones():
    own = {"tools": [{"name": "Grep"}], "system": "be quick", "messages": NEW}
    found = whole(own)
    assert (found["tools"], found["system"]) == (own["tools"], own["system"])
    assert len(found["messages"]) == 4
    assert whole({"messages": NEW})["system"] == [{"type": "text", "text": "be kind"}]


def test_blocks_keep_their_exact_bytes():
    """The store finds each one again by its hash."""
    body = dump({"messages": NEW})
    earlier = [*blocks(dump(FIRST, spaced=True)), *answer_blocks(ANSWER)]
    found = {block.raw for block in blocks(continue_body(body, layout(body), earlier))}
    assert {block.raw for block in earlier if b"billing" not in block.raw} <= found


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": []}], "none"])
def test_a_request_that_brings_no_block_is_what_went_before(messages):
    """Whatever stands in the place of its messages."""
    sent = {} if messages == "none" else {"messages": messages}
    found = whole(sent)["messages"]
    assert found[:3] == [*FIRST["messages"], {"role": "assistant", "content": ANSWER}]


def test_a_bare_system_prompt_becomes_a_block_where_others_stand_beside_it():
    billing = BILLING["text"]
    assert whole({"system": billing, "messages": NEW})["system"] == [
        {"type": "text", "text": billing},
        {"type": "text", "text": "be kind"},
    ]


@pytest.mark.parametrize("content", [None, "text", [], ["text", 7]])
def test_an_answer_without_blocks_adds_none(content):
    assert answer_blocks(content) == []


def test_the_answer_opens_one_message():
    found = answer_blocks(ANSWER)
    assert [block.opens_message for block in found] == [True, False]
    assert {(block.section, block.role) for block in found} == {(Section.MESSAGES, "assistant")}
    assert json.loads(found[1].raw) == ANSWER[1]
