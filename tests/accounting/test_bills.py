"""What a usage says about prefixes."""

from __future__ import annotations

import json

import pytest

from claudeproxy.accounting.bills import billed_ends, consistent, creation_split, is_one_prompt
from claudeproxy.accounting.chain import ChainReader
from claudeproxy.accounting.models import model_traits
from claudeproxy.accounting.plan import End
from claudeproxy.model import Answer, Usage
from claudeproxy.sansio.answer import read_usage

HOUR, SHORT = {"type": "ephemeral", "ttl": "1h"}, {"type": "ephemeral"}


def prompt(*controls: object):
    """A message of a block for each control; None: no breakpoint there."""
    content = [
        {"type": "text", "text": f"block {n}", **({"cache_control": control} if control else {})}
        for n, control in enumerate(controls)
    ]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    return ChainReader(model_traits("claude-opus-4-6")).read(body)


def usage(fresh: int, read: int, short: int | None, long: int | None) -> Usage:
    return Usage(
        input_tokens=fresh,
        cache_read_input_tokens=read,
        cache_creation_input_tokens=(short or 0) + (long or 0),
        cache_creation_5m=short,
        cache_creation_1h=long,
    )


def ends(chain, bill: Usage) -> dict[int, End]:
    return billed_ends(chain, bill, bill.prompt_tokens, tail=3)


def test_read_and_written_end_at_the_last_breakpoint_and_the_hours_part_at_its_own():
    found = ends(prompt(None, HOUR, None, SHORT), usage(4, 100, 30, 50))
    assert found == {1: End(150, billed=True), 3: End(180, billed=True)}


def test_without_a_breakpoint_at_the_end_the_tail_is_what_it_was():
    assert ends(prompt(SHORT, None), usage(50, 100, 0, 0)) == {0: End(100, billed=True), 1: End(147, billed=False)}


def test_without_caching_only_the_whole_is_billed():
    assert ends(prompt(SHORT, None), usage(150, 0, 0, 0)) == {1: End(147, billed=False)}
    assert ends(prompt(None, None), Usage(input_tokens=150)) == {1: End(147, billed=False)}
    assert ends(prompt(None, None), usage(50, 100, 0, 0)) == {1: End(147, billed=False)}


def test_a_split_that_does_not_add_up_says_nothing_about_the_hours_part():
    bill = Usage(
        input_tokens=4,
        cache_read_input_tokens=0,
        cache_creation_input_tokens=100,
        cache_creation_5m=10,
        cache_creation_1h=20,
    )
    assert creation_split(bill) is None
    assert ends(prompt(HOUR, SHORT), bill) == {1: End(100, billed=True)}


@pytest.mark.parametrize(
    ("bill", "split"),
    [
        (usage(1, 0, 0, 0), (0, 0)),
        (Usage(input_tokens=1), (0, 0)),
        (usage(1, 0, 5, 7), (5, 7)),
        (Usage(cache_creation_input_tokens=5), None),
        (Usage(cache_creation_input_tokens=5, cache_creation_5m=5), (5, 0)),
    ],
)
def test_the_split_of_what_was_written(bill, split):
    assert creation_split(bill) == split


def test_a_breakpoint_at_the_end_with_much_uncached_after_it_is_not_where_the_cache_ends():
    assert ends(prompt(None, SHORT), usage(5_000, 100, 0, 0)) == {1: End(5_097, billed=False)}


def test_several_prompts_under_one_bill_are_not_one_prompt():
    two = read_usage({"input_tokens": 9, "iterations": [{"type": "message"}, {"type": "message"}]})
    one = read_usage({"input_tokens": 9, "iterations": [{"type": "message"}]})
    search = read_usage({"input_tokens": 9, "server_tool_use": {"web_search_requests": 1}})
    assert not is_one_prompt(two, None)
    assert is_one_prompt(one, None)
    assert not is_one_prompt(search, None)


def test_a_prompt_that_the_api_edited_is_not_the_requests():
    def answer(cleared: int) -> Answer:
        edit = {"type": "clear_tool_uses_20250919", "cleared_input_tokens": cleared}
        return Answer(message={"context_management": {"applied_edits": [edit]}})

    assert not is_one_prompt(Usage(input_tokens=1), answer(500))
    assert is_one_prompt(Usage(input_tokens=1), answer(0))


def test_known_prefixes_that_contradict_a_bill_are_left_out():
    known = {0: End(10, billed=True), 1: End(90, billed=True), 2: End(40, billed=False), 4: End(999, billed=True)}
    billed = {3: End(50, billed=True), 5: End(60, billed=False)}
    assert consistent(known, billed) == {0: known[0], 2: known[2], **billed}


def test_a_bill_comes_before_what_was_known():
    assert consistent({0: End(10, billed=True)}, {0: End(12, billed=True)}) == {0: End(12, billed=True)}
