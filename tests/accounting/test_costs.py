"""What each piece of a prompt cost: whole pico-dollars that add up to the bill."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.accounting.costs import output_cost, prompt_costs
from claudeproxy.accounting.listed import PriceClass
from claudeproxy.accounting.prices import Bill, BillLine, PriceBook
from claudeproxy.model import Usage
from claudeproxy.sansio.sharing import share

QUANTITIES = st.tuples(*[st.integers(0, 10**6)] * 4)
UNITS = st.tuples(*[st.integers(0, 10**9)] * 4)
CLASSES = (PriceClass.READ, PriceClass.WRITE_1H, PriceClass.WRITE_5M, PriceClass.UNCACHED)


def bill(quantities, units) -> Bill:
    lines = tuple(
        BillLine(price_class=kind, quantity=quantity, unit=unit)
        for kind, quantity, unit in zip(CLASSES, quantities, units, strict=True)
    )
    return Bill(lines=lines, model="m", source="s")


@given(QUANTITIES, UNITS, st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_the_pieces_cost_what_the_bill_says_to_the_last_digit(quantities, units, weights):
    """However a prompt is cut up, its pieces' tokens and costs are the bill's, class by class."""
    prompt = bill(quantities, units)
    pieces = share(sum(quantities), weights)
    costs = prompt_costs(prompt, pieces)
    assert sum(piece.cost for piece in costs) == prompt.total
    assert [sum(piece.tokens) for piece in costs] == pieces
    assert tuple(map(sum, zip(*(piece.tokens for piece in costs), strict=True))) == quantities


def test_what_is_read_comes_first_then_the_hours_writes_then_the_short_ones():
    costs = prompt_costs(bill((10, 5, 3, 2), (1, 20, 12, 10)), [8, 4, 6, 2])
    assert [piece.tokens for piece in costs] == [(8, 0, 0, 0), (2, 2, 0, 0), (0, 3, 3, 0), (0, 0, 0, 2)]
    assert [piece.cost for piece in costs] == [8, 42, 96, 20]
    assert [piece.price_class for piece in costs] == [
        PriceClass.READ,
        PriceClass.READ,
        PriceClass.WRITE_1H,
        PriceClass.UNCACHED,
    ]


def test_a_piece_without_tokens_costs_nothing():
    (piece, _) = prompt_costs(bill((0, 0, 0, 4), (1, 1, 1, 1)), [0, 4])
    assert (piece.cost, piece.price_class) == (0, PriceClass.UNCACHED)


def test_an_unknown_price_is_unknown_only_where_it_applies():
    costs = prompt_costs(bill((3, 0, 0, 2), (None, None, None, 7)), [3, 2])
    assert [piece.cost for piece in costs] == [None, 14]


@pytest.mark.parametrize("pieces", [[], [3], [11], [12, -2]])
def test_pieces_of_another_prompt_are_refused(pieces):
    with pytest.raises(ValueError, match="not the prompt"):
        prompt_costs(bill((4, 0, 0, 6), (1, 1, 1, 1)), pieces)


def test_thinking_is_output():
    usage = Usage(input_tokens=1, output_tokens=100, thinking_tokens=60)
    priced = PriceBook().price(usage, "claude-opus-4-5", at=0)
    cost = output_cost(priced, usage)
    assert (cost.thinking, cost.spoken) == (60 * 25_000_000, 40 * 25_000_000)
    unknown = output_cost(PriceBook().price(usage, "claude-opus-77", at=0), usage)
    assert unknown.spoken is None
