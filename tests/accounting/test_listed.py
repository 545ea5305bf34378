"""Where prices come from: the list's offline data, the sourced file, the user's own."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal

import pytest

from claudeproxy.accounting.listed import PriceClass, PriceOverride, bare_model, factor, fee, listed_prices, pico
from claudeproxy.errors import ConfigError

DAY = date(2026, 11, 1)


@pytest.mark.parametrize(
    ("given", "bare"),
    [
        ("claude-opus-4-5-20251101", "claude-opus-4-5-20251101"),
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5"),
        ("anthropic/claude-opus-4.6", "claude-opus-4-6"),
        ("us.anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5-20251101"),
        ("global.anthropic.claude-haiku-5-5", "claude-haiku-5-5"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
        ("claude-opus-4-5@20251101", "claude-opus-4-5-20251101"),
        ("anthropic/claude-opus-4.6:batch", "claude-opus-4-6"),
        ("Claude-Opus-5", "claude-opus-5"),
    ],
)
def test_a_models_name_is_found_under_every_spelling(given, bare):
    assert bare_model(given) == bare


def test_a_monstrous_name_costs_no_time() -> None:
    """Suffixes are taken off one by one: a megabyte of them would be a megabyte, half a million times."""
    assert len(bare_model("claude" + ":x" * 500_000)) <= 256


def test_prices_are_the_lists():
    """Opus 4.5: $5 in, $25 out, 1.25, 2 and 0.1 times the base for the cache (Anthropic's price page)."""
    prices = listed_prices("claude-opus-4-5-20251101", "anthropic", DAY).for_prompt(1_000_000)
    wanted = {"uncached": "5", "write_5m": "6.25", "write_1h": "10", "read": "0.5", "output": "25", "web_search": "10"}
    assert prices == {PriceClass(kind): Decimal(price) for kind, price in wanted.items()}


def test_one_price_by_prompt_size_holds_for_the_whole_request():
    listed = listed_prices("claude-sonnet-4-5", "anthropic", DAY)
    assert listed.for_prompt(200_000)[PriceClass.UNCACHED] == 3
    assert listed.for_prompt(200_001)[PriceClass.UNCACHED] == 6
    assert listed.for_prompt(200_001)[PriceClass.OUTPUT] == Decimal("22.5")


def test_prices_are_those_of_the_day():
    """Opus 4.6 had a higher price above 200,000 tokens until March 2026."""
    before = listed_prices("claude-opus-4-6", "anthropic", date(2026, 3, 1)).for_prompt(300_000)
    after = listed_prices("claude-opus-4-6", "anthropic", date(2026, 3, 20)).for_prompt(300_000)
    assert (before[PriceClass.UNCACHED], after[PriceClass.UNCACHED]) == (10, 5)


@pytest.mark.parametrize("model", ["claude-opus-9", "gpt-4", "", "claude-opus-4-99"])
def test_an_unknown_model_is_not_listed_and_not_taken_for_a_relative(model):
    assert listed_prices(model, "anthropic", DAY) is None


def test_an_unknown_provider_lists_nothing():
    assert listed_prices("claude-opus-4-5", "nobody", DAY) is None


def test_other_providers_have_their_own_prices():
    assert listed_prices("us.anthropic.claude-opus-4-5-20251101-v1:0", "aws", DAY) is not None


def test_factors_and_fees_come_with_their_source():
    data = json.loads(
        importlib.resources.files("claudeproxy.accounting").joinpath("data", "price-modifiers.json").read_text("utf-8")
    )
    for entry in [*data["factors"], *data["fees"]]:
        assert entry["source"].startswith("https://platform.claude.com/docs/")


def test_what_the_list_lacks_is_in_the_file():
    assert factor("batch", "claude-opus-4-5-20251101") == Decimal("0.5")
    assert factor("fast", "claude-opus-4-6") == 6
    assert factor("geo:us", "claude-opus-4-6") == Decimal("1.1")
    assert factor("geo:us", "claude-opus-4-5") is None
    assert factor("fast", "claude-haiku-4-5") is None
    assert fee(PriceClass.WEB_SEARCH) == 10
    assert fee(PriceClass.OUTPUT) is None


def test_unit_prices_are_whole_pico_dollars():
    assert pico(PriceClass.UNCACHED, Decimal(5)) == 5_000_000
    assert pico(PriceClass.READ, Decimal("0.005")) == 5_000
    assert pico(PriceClass.WEB_SEARCH, Decimal(10)) == 10_000_000_000


def test_an_override_is_read_from_plain_values():
    override = PriceOverride.parse({"models": "claude-opus-*", "uncached": "4.5", "output": 20, "since": "2026-07-01"})
    assert override.prices == {PriceClass.UNCACHED: Decimal("4.5"), PriceClass.OUTPUT: Decimal(20)}
    assert override.applies("claude-opus-4-5", date(2026, 7, 1))
    assert not override.applies("claude-opus-4-5", date(2026, 6, 30))
    assert not override.applies("claude-haiku-4-5", DAY)
    until = PriceOverride.parse({"models": "*", "until": date(2026, 7, 1)})
    assert until.applies("anything", date(2026, 7, 1))
    assert not until.applies("anything", date(2026, 7, 2))


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"uncached": 1}, "models"),
        ({"models": ""}, "models"),
        ({"models": "*", "input": 1}, "input"),
        ({"models": "*", "read": "cheap"}, "read"),
        ({"models": "*", "read": -1}, "read"),
        ({"models": "*", "read": "NaN"}, "read"),
        ({"models": "*", "read": True}, "read"),
        ({"models": "*", "since": "soon"}, "since"),
    ],
)
def test_an_override_that_cannot_be_used_is_refused_by_name(entry, named):
    with pytest.raises(ConfigError, match=named):
        PriceOverride.parse(entry)


def test_importing_the_price_book_loads_no_price_list():
    code = "import sys, claudeproxy.accounting; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
