"""PriceBook: bills to the last digit, and never a 0 for what is not known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from claudeproxy.accounting.listed import PriceClass
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.model import Usage
from claudeproxy.sansio.answer import read_usage

AT = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
OPUS = "claude-opus-4-5-20251101"
USAGE = Usage(
    input_tokens=10,
    cache_read_input_tokens=100_000,
    cache_creation_input_tokens=2_000,
    cache_creation_5m=1_500,
    cache_creation_1h=500,
    output_tokens=300,
    web_search_requests=2,
)


def price(usage: Usage = USAGE, model: str = OPUS, **more: object):
    return PriceBook().price(usage, model, at=AT, **more)


def test_a_bill_is_the_sum_of_its_lines_by_hand():
    """10 x $5 + 1,500 x $6.25 + 500 x $10 + 100,000 x $0.50 + 300 x $25 a million, and 2 searches at $10 a thousand."""
    bill = price()
    assert (
        bill.total
        == 10 * 5_000_000
        + 1_500 * 6_250_000
        + 500 * 10_000_000
        + 100_000 * 500_000
        + 300 * 25_000_000
        + (2 * 10_000_000_000)
    )
    assert bill.total == 91_925_000_000  # $0.091925
    assert not bill.unknown
    assert bill.unpriced == bill.modifiers == ()
    assert bill.source.startswith("genai-prices ")


def test_an_unknown_model_has_no_price_rather_than_none():
    bill = price(model="claude-opus-77")
    assert bill.unknown
    assert bill.total is None
    assert bill.model is None
    assert bill.line(PriceClass.READ).cost is None


def test_nothing_used_costs_nothing_even_of_an_unknown_model():
    assert price(Usage(input_tokens=0), "claude-opus-77").total == 0


def test_fast_mode_batches_and_geography_multiply():
    plain = replace(USAGE, web_search_requests=None)
    base = price(plain, "claude-opus-4-6").total
    for change, times in [
        ({"speed": "fast"}, 6),
        ({"service_tier": "batch"}, 0.5),
        ({"inference_geo": "us"}, 1.1),
        ({"speed": "fast", "inference_geo": "us"}, 6.6),
    ]:
        bill = price(replace(plain, **change), "claude-opus-4-6")
        assert bill.total == round(base * times)
        assert bill.unpriced == ()
        assert bill.modifiers
    assert price(plain, "claude-opus-4-6", batch=True).total == base // 2


def test_fast_mode_comes_from_the_list_where_that_has_it():
    assert price(replace(USAGE, speed="fast"), "claude-opus-4-8").line(PriceClass.OUTPUT).unit == 50_000_000


def test_a_batch_is_half_price_before_the_list_knew_batches():
    early = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()) * 10**9
    bill = PriceBook().price(USAGE, OPUS, at=early, batch=True)
    assert bill.line(PriceClass.OUTPUT).unit == 12_500_000
    assert bill.line(PriceClass.WEB_SEARCH).unit == 10_000_000_000  # fees are no tokens


def test_a_prompt_over_the_threshold_is_billed_at_the_higher_tier_as_a_whole():
    below = Usage(input_tokens=100_000, output_tokens=10)
    above = Usage(input_tokens=100_001, output_tokens=10)
    assert price(below, "claude-haiku-5-5").line(PriceClass.OUTPUT).unit == 500_000
    assert price(above, "claude-haiku-5-5").line(PriceClass.OUTPUT).unit == 2_500_000


@pytest.mark.parametrize(
    ("usage", "named"),
    [
        (replace(USAGE, service_tier="priority"), "service tier priority"),
        (replace(USAGE, inference_geo="eu"), "geo:eu"),
        (replace(USAGE, speed="fast"), "fast"),
        (replace(USAGE, cache_creation_1h=400), "cache writes of unknown lifetime"),
        (read_usage({"input_tokens": 1, "server_tool_use": {"code_execution_requests": 2}}), "server tool code_exec"),
        (read_usage({"input_tokens": 1, "iterations": [{"type": "compaction"}]}), "compaction"),
    ],
)
def test_what_no_list_prices_is_named(usage, named):
    bill = price(usage)
    assert any(named in reason for reason in bill.unpriced)
    assert bill.total is not None


@pytest.mark.parametrize(
    "change", [{"inference_geo": "global"}, {"inference_geo": "not_available"}, {"service_tier": "standard"}]
)
def test_the_ordinary_way_needs_no_modifier(change):
    assert price(replace(USAGE, **change)) == price()


def test_the_users_own_prices_come_first_and_fill_what_is_unknown():
    book = PriceBook([{"models": "claude-opus-*", "output": "1"}, {"models": "mine", "uncached": 2, "output": 3}])
    opus = book.price(USAGE, OPUS, at=AT)
    assert opus.line(PriceClass.OUTPUT).unit == 1_000_000
    assert opus.line(PriceClass.READ).unit == 500_000
    mine = book.price(Usage(input_tokens=5, output_tokens=7), "mine", at=AT)
    assert mine.total == 5 * 2_000_000 + 7 * 3_000_000
    assert mine.source == "override"
    partly = book.price(USAGE, "mine", at=AT)
    assert partly.unknown
    assert partly.line(PriceClass.OUTPUT).cost == 900_000_000


def test_a_line_that_the_bill_has_not_is_empty():
    bill = replace(price(), lines=())
    assert bill.line(PriceClass.OUTPUT).cost == 0
    assert bill.total == 0


def test_other_providers_are_looked_up_by_their_own_names():
    bill = price(model="us.anthropic.claude-opus-4-5-20251101-v1:0", provider="aws")
    assert bill.line(PriceClass.OUTPUT).unit == 27_500_000  # regional endpoints cost a tenth more
