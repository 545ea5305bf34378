"""A bill as it is kept: its output divided, its fees, and a sentence for what has no price."""

from __future__ import annotations

import pytest

from claudeproxy.accounting.prices import PriceBook
from claudeproxy.accounting.receipts import BELIEVED, CALLS, TEXT, THINKING, UNBELIEVED, receipt
from claudeproxy.model import Accuracy, Answer, Usage

DAY = 1_790_000_000 * 10**9
MODEL = "claude-opus-4-6"


def made(usage: Usage, *content: dict[str, object], model: str = MODEL):
    answer = Answer(message={"type": "message", "content": [*content]}, model=model, usage=usage)
    return receipt(PriceBook().price(usage, model, at=DAY), answer, model, lambda counts: float(sum(counts)))


SAID = {"type": "text", "text": "one two three four"}
CALL = {"type": "tool_use", "name": "Read", "input": {"path": "a.py"}}
THOUGHT = {"type": "thinking", "thinking": "one two"}


def parts(bill):
    return {part.source: (part.tokens, part.accuracy) for part in bill.output}


def test_what_was_only_said_is_exact():
    assert parts(made(Usage(input_tokens=1, output_tokens=9), SAID)) == {TEXT: (9, Accuracy.EXACT)}


def test_thinking_is_what_the_bill_says_and_the_rest_is_shared():
    found = parts(made(Usage(input_tokens=1, output_tokens=90, thinking_tokens=40), THOUGHT, SAID, CALL))
    assert found[THINKING] == (40, Accuracy.EXACT)
    assert found[TEXT][0] + found[CALLS][0] == 50
    assert found[TEXT][1] is found[CALLS][1] is Accuracy.SHARED


def test_thinking_that_the_bill_does_not_tell_apart_is_shared_with_the_rest():
    found = parts(made(Usage(input_tokens=1, output_tokens=90), THOUGHT, SAID))
    assert found[THINKING][0] + found[TEXT][0] == 90
    assert found[THINKING][1] is Accuracy.SHARED


def test_output_of_an_answer_without_blocks_is_text():
    assert parts(made(Usage(input_tokens=1, output_tokens=3))) == {TEXT: (3, Accuracy.EXACT)}


def test_fees_are_parts_so_that_parts_and_prompt_are_the_cost():
    bill = made(Usage(input_tokens=1000, output_tokens=10, web_search_requests=2), SAID)
    assert bill.cost == 1000 * bill.rates.uncached + sum(part.cost for part in bill.output)
    assert [part.cost for part in bill.output if part.source.name == "web_search fee"] == [2 * bill.rates.web_search]


def test_an_unknown_model_has_no_cost_and_says_so():
    bill = made(Usage(input_tokens=10, output_tokens=10), SAID, model="claude-unheard-9")
    assert (bill.cost, bill.rates) == (None, None)
    assert bill.note == "price unknown: no price list has claude-unheard-9"
    assert [part.cost for part in bill.output] == [None]


def test_what_no_list_covers_is_named():
    assert made(Usage(input_tokens=10, service_tier="priority")).note == "unpriced modifier: service tier priority"


def test_a_bill_that_nobody_can_have_has_no_cost_so_that_sums_fit_their_integers():
    bill = made(Usage(input_tokens=10**8, output_tokens=10**8), SAID)
    assert (bill.cost, bill.rates, bill.note) == (None, None, UNBELIEVED)
    assert (bill.uncached, parts(bill)[TEXT][0]) == (10**8, 10**8)
    assert [part.cost for part in bill.output] == [None]
    large = made(Usage(input_tokens=10**8), SAID)
    assert large.cost == 10**8 * large.rates.uncached
    assert 9000 * BELIEVED < 1 << 63


@pytest.mark.parametrize("content", [[], [{"type": "text", "text": None}], ["words"]])
def test_whatever_the_content_is_the_output_is_divided(content):
    bill = made(Usage(input_tokens=1, output_tokens=7), *content)
    assert sum(part.tokens for part in bill.output) == 7
