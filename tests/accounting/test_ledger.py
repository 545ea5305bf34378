"""TokenLedger against an API whose tokenizer it cannot know: what is billed is known, and everything adds up."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.model import Accuracy, Answer, Usage
from claudeproxy.sansio.answer import read_usage
from claudeproxy.sansio.messages import layout
from tests.accounting.billing import MODEL, TAIL, Conversation, text, to_body, tool, true_blocks

CALL = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "a/b.py"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": text(9, 200)}


def adds_up(tokens, body: bytes) -> bool:
    """Whether blocks and overhead are whole, not negative, aligned with the layout and sum to the total."""
    whole = tokens.before + sum(tokens.blocks) + tokens.after
    parts = (tokens.before, *tokens.blocks, tokens.after)
    size = len(layout(body).blocks)
    return (
        whole == tokens.total == sum(tokens.pieces)
        and tokens.overhead == tokens.before + tokens.after
        and min(parts) >= 0
        and len(tokens.blocks) == len(tokens.accuracy) == len(tokens.dropped) == size
    )


def talk(ledger: TokenLedger, conversation: Conversation, body: bytes, *content: dict[str, object]):
    usage, answer = conversation.answer(body, *content)
    settled = ledger.observe(body, usage, answer)
    assert adds_up(settled, body)
    assert settled.total == usage.prompt_tokens
    return settled


def test_a_cold_prediction_is_an_estimate_and_says_so():
    body = Conversation().say()
    prediction = TokenLedger(MODEL).predict(body)
    assert adds_up(prediction, body)
    assert set(prediction.accuracy) == {Accuracy.ESTIMATED}
    assert prediction.error > 0.1
    assert min(prediction.blocks) > 0


def test_the_same_prompt_again_is_predicted_to_the_token():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    usage, answer = conversation.answer(body)
    ledger.observe(body, usage, answer)
    prediction = ledger.predict(body)
    assert prediction.total == usage.prompt_tokens
    assert prediction.error == 0
    assert adds_up(prediction, body)


def test_settling_the_same_prompt_twice_changes_nothing():
    """A retry is the same path again: its numbers are those that are there."""
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    usage, answer = conversation.answer(body)
    first = ledger.observe(body, usage, answer)
    lessons = ledger.weights.equations
    ledger.memory.take_changes()
    assert ledger.observe(body, usage, answer) == first
    assert ledger.weights.equations == lessons
    assert ledger.memory.take_changes() == []


def test_the_end_of_an_answer_is_known_before_it_comes_back():
    """The next prompt's unknown part is what the user adds: the answer was billed as output."""
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    for _ in range(4):
        talk(ledger, conversation, conversation.say())
    answer = conversation.messages[-1]
    body = conversation.say({"type": "text", "text": text(77, 400)})
    index = next(
        i for i, block in enumerate(layout(body).blocks) if block.message_index == len(conversation.messages) - 2
    )
    prediction = ledger.predict(body)
    assert answer["role"] == "assistant"
    # within one message's opening, which the ledger assumes and this API does not have
    assert prediction.blocks[index] == pytest.approx(true_blocks(body)[index], abs=4)
    assert prediction.accuracy[index] is not Accuracy.EXACT
    assert prediction.accuracy[-1] is Accuracy.ESTIMATED
    assert 0 < prediction.error < ledger.error


def test_groups_between_breakpoints_sum_to_what_was_billed():
    """Tools and the first system block end at the hour's breakpoint, the rest at the last one."""
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    settled = talk(ledger, conversation, body)
    truth = true_blocks(body)
    assert settled.before + sum(settled.blocks[:3]) == sum(truth[:3])
    assert sum(settled.blocks[3:]) == sum(truth[3:])
    assert settled.after == TAIL
    assert set(settled.accuracy) == {Accuracy.SHARED}


def test_a_block_alone_between_two_billed_prefixes_is_exact():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    talk(ledger, conversation, body)
    conversation.messages[-1:] = []  # the client sends the same message with a block more, as after a queued prompt
    conversation.messages[-1]["content"].append({"type": "text", "text": text(55, 90)})
    longer = conversation.body()
    settled = talk(ledger, conversation, longer)
    assert settled.accuracy[-1] is Accuracy.EXACT
    assert settled.blocks[-1] == true_blocks(longer)[-1]


def test_thinking_is_sized_by_the_bill_even_where_it_is_hidden():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    thinking = {"type": "thinking", "thinking": "", "signature": "A" * 300}
    usage, answer = conversation.answer(body, thinking, {"type": "text", "text": text(5)})
    spoken = usage.output_tokens - 76  # what this API counts for the thinking block
    usage = read_usage(json.loads(usage.raw) | {"output_tokens_details": {"thinking_tokens": 76}})
    ledger.observe(body, usage, answer)
    prediction = ledger.predict(conversation.say())
    assert prediction.blocks[-3] == pytest.approx(76, abs=4)
    assert prediction.blocks[-2] == spoken


def test_a_model_that_drops_thinking_is_billed_without_it():
    conversation, ledger = Conversation(model="claude-haiku-4-5"), TokenLedger("claude-haiku-4-5")
    thinking = {"type": "thinking", "thinking": text(3, 30), "signature": "A"}
    talk(ledger, conversation, conversation.say(), thinking, CALL)
    going_on = conversation.say(RESULT)
    assert not any(ledger.predict(going_on).dropped)
    talk(ledger, conversation, going_on)
    plain = conversation.say()
    prediction = ledger.predict(plain)
    assert [index for index, gone in enumerate(prediction.dropped) if gone] == [5]
    assert prediction.blocks[5] == 0
    assert prediction.accuracy[5] is Accuracy.EXACT
    assert adds_up(prediction, plain)


def test_the_billing_header_costs_nothing_and_breaks_no_prefix():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    conversation.request["system"].insert(0, {"type": "text", "text": "x-anthropic-billing-header: cch=1;"})
    talk(ledger, conversation, conversation.say())
    conversation.request["system"][0]["text"] = "x-anthropic-billing-header: cch=2;"
    body = conversation.say()
    assert ledger.predict(body).blocks[2] == 0
    assert ledger.predict(body).error < 0.5 * ledger.error


def test_count_tokens_teaches_the_size_of_a_whole_prompt():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = to_body({**conversation.request, "messages": [{"role": "user", "content": "hi"}]})
    total = sum(true_blocks(body)) + TAIL
    settled = ledger.observe_count(body, total)
    assert settled.learned
    assert adds_up(settled, body)
    assert ledger.predict(body).total == total


TRUE_USAGE = {"input_tokens": 500, "output_tokens": 5}


@pytest.mark.parametrize(
    ("usage", "answer"),
    [
        (TRUE_USAGE, Answer(message={"content": []}, stop_reason=None)),
        (TRUE_USAGE, Answer(message={"content": []}, stop_reason="end_turn", error_type="overloaded_error")),
        (TRUE_USAGE | {"iterations": [{"type": "message"}, {"type": "message"}]}, Answer(stop_reason="end_turn")),
        (TRUE_USAGE | {"server_tool_use": {"web_search_requests": 2}}, Answer(stop_reason="end_turn")),
        ({"input_tokens": 0, "output_tokens": 0}, Answer(stop_reason="end_turn")),
        ({"input_tokens": 1, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}, Answer()),
    ],
    ids=["cut", "error", "iterations", "search", "nothing", "tiny"],
)
def test_what_is_not_the_bill_of_this_prompt_is_settled_and_teaches_nothing(usage, answer):
    ledger, body = TokenLedger(MODEL), Conversation().say()
    before = ledger.predict(body)
    settled = ledger.observe(body, read_usage(usage), answer)
    assert settled.total == usage["input_tokens"]
    assert settled.billed
    assert not settled.learned
    assert adds_up(settled, body)
    assert ledger.predict(body) == before
    assert ledger.memory.take_changes() == []


def test_without_a_bill_the_prediction_stands():
    ledger, body = TokenLedger(MODEL), Conversation().say()
    settled = ledger.observe(body, Usage(), Answer(error_type="overloaded_error"))
    assert not settled.billed
    assert not settled.learned
    assert settled.blocks == ledger.predict(body).blocks


def test_a_request_without_blocks_has_overhead_only():
    ledger, body = TokenLedger(MODEL), b'{"model":"m","messages":[]}'
    assert adds_up(ledger.predict(body), body)
    settled = ledger.observe(body, Usage(input_tokens=9))
    assert (settled.total, settled.blocks, settled.overhead) == (9, (), 9)


def test_a_bill_that_contradicts_an_earlier_one_is_settled_all_the_same():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    body = conversation.say()
    usage, answer = conversation.answer(body)
    ledger.observe(body, usage, answer)
    half = ledger.observe(body, Usage(input_tokens=usage.prompt_tokens // 2), Answer(stop_reason="end_turn"))
    assert half.total == usage.prompt_tokens // 2
    assert adds_up(half, body)
    assert ledger.predict(body).total == half.total


def test_a_deferred_tool_costs_where_a_result_brings_it_in():
    ledger = TokenLedger(MODEL)
    deferred = {**tool("Search", 5), "defer_loading": True}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "tool_reference", "tool_name": "Search"}]}
    prediction = ledger.predict(to_body({"tools": [deferred], "messages": [{"role": "user", "content": [result]}]}))
    assert prediction.blocks[0] == 0
    assert prediction.dropped == (True, False)
    assert prediction.blocks[1] > 100


def test_early_divisions_are_made_again_when_the_weights_know_more():
    """The first bill divides tools by shipped weights; sixteen lessons later the same prefix is divided better."""
    ledger = TokenLedger(MODEL)
    first = Conversation()
    body = first.say()
    cold = talk(ledger, first, body)
    for _ in range(12):
        talk(ledger, first, first.say({"type": "text", "text": text(first.turn, 40 + 30 * first.turn)}))
    assert ledger.weights.stage > 0
    second = Conversation(cache=first.cache)
    warm = talk(ledger, second, second.say())
    truth = true_blocks(body)
    assert sum(warm.blocks[:3]) + warm.before == sum(truth[:3])
    assert warm.blocks[:3] != cold.blocks[:3]


def test_the_ledger_survives_as_plain_values_and_rows():
    conversation, ledger = Conversation(), TokenLedger(MODEL)
    rows = {}
    for _ in range(5):
        talk(ledger, conversation, conversation.say(RESULT), CALL)
        rows.update({(row.table, row.key): row for row in ledger.memory.take_changes()})
    again = TokenLedger.from_state(json.loads(json.dumps(ledger.to_state())), rows.values())
    body = conversation.say(RESULT)
    assert again.predict(body) == ledger.predict(body)
    usage, answer = conversation.answer(body)
    assert again.observe(body, usage, answer) == ledger.observe(body, usage, answer)


def test_state_of_another_version_is_refused():
    with pytest.raises(ValueError, match="weights"):
        TokenLedger.from_state({"model": MODEL, "tail": 3, "weights": None})


def test_a_text_weighs_what_its_classes_do():
    from claudeproxy.accounting.classes import count_classes

    ledger = TokenLedger(MODEL)
    assert ledger.text_size(count_classes("")) == 0
    assert ledger.text_size(count_classes(text(1))) == pytest.approx(1.14 * sum(count_classes(text(1))), rel=0.15)


COUNTS = st.none() | st.integers(0, 3_000)
BLOCKS = st.sampled_from(
    [
        {"type": "text", "text": "hello there"},
        {"type": "text", "text": ""},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x" * 40},
        CALL,
        RESULT,
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {"type": "unheard_of", "x": [1, 2]},
    ]
)
CONTROLLED = st.tuples(BLOCKS, st.sampled_from([None, None, {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}]))
MESSAGES = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.lists(CONTROLLED, max_size=4)), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([MODEL, "claude-haiku-4-5", "no-such-model"]),
    st.lists(st.tuples(st.booleans(), MESSAGES, st.tuples(*[COUNTS] * 7), st.booleans()), min_size=1, max_size=5),
)
def test_blocks_and_overhead_are_the_bill_whatever_it_says(model, exchanges):
    """Any request, any numbers on the bill, in any order on one ledger: nothing is lost, nothing is negative."""
    ledger = TokenLedger(model)
    for tools, messages, counts, ended in exchanges:
        request = {"system": "be brief", "messages": [_message(role, blocks) for role, blocks in messages]}
        body = to_body(request | ({"tools": [tool("Read", 1)]} if tools else {}))
        fresh, creation, read, short, long, output, thinking = counts
        usage = Usage(
            input_tokens=fresh,
            cache_creation_input_tokens=creation,
            cache_read_input_tokens=read,
            cache_creation_5m=short,
            cache_creation_1h=long,
            output_tokens=output,
            thinking_tokens=thinking,
        )
        content = request["messages"][-1]["content"] if messages else []
        answer = Answer(message={"content": content}, stop_reason="end_turn" if ended else None)
        assert adds_up(ledger.predict(body), body)
        settled = ledger.observe(body, usage, answer)
        assert adds_up(settled, body)
        if usage.prompt_tokens is not None:
            assert settled.total == usage.prompt_tokens
        assert adds_up(ledger.predict(body), body)


def _message(role: str, blocks: list[tuple[dict[str, object], dict[str, str] | None]]) -> dict[str, object]:
    return {"role": role, "content": [{**b, **({"cache_control": c} if c else {})} for b, c in blocks]}
