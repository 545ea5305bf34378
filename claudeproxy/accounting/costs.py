"""What each piece of a prompt cost: its blocks laid end to end, and the bill's price classes laid over them.

    [0, read)                             the price of a cache read
    [read, read + written for 1 hour)     the price of a 1 hour write
    ... + written for 5 minutes           the price of a 5 minute write
    the rest                              the base price

Tokens and unit prices are whole numbers, so each piece's cost is one, and all of them add up to the bill's prompt
lines to the last digit: there is nothing to round and nothing left over. Apart from `prices` because it needs the
order of the prompt, which a price list does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.accounting.listed import PriceClass
from claudeproxy.sansio.sharing import lay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.accounting.prices import Bill
    from claudeproxy.model import Usage

# The order in which the API lays them: what is read comes first, what is written after it, the tail last.
PROMPT_CLASSES = (PriceClass.READ, PriceClass.WRITE_1H, PriceClass.WRITE_5M, PriceClass.UNCACHED)


@dataclass(frozen=True, slots=True)
class PieceCost:
    """One piece of the prompt: its tokens by price class, in the order of `PROMPT_CLASSES`, and its cost."""

    tokens: tuple[int, int, int, int]
    cost: int | None  # pico-dollars; None: price unknown

    @property
    def price_class(self) -> PriceClass:
        """The class of most of its tokens (of a piece without tokens: the base price's)."""
        if not any(self.tokens):
            return PriceClass.UNCACHED
        return PROMPT_CLASSES[self.tokens.index(max(self.tokens))]


@dataclass(frozen=True, slots=True)
class OutputCost:
    """What the answer cost, thinking apart; pico-dollars, None: price unknown."""

    thinking: int | None
    spoken: int | None


def prompt_costs(bill: Bill, piece_tokens: Sequence[int]) -> list[PieceCost]:
    """Price the pieces of a prompt, given in prompt order with everything in it (overhead before and after, too).

    :raises ValueError: when the pieces do not add up to the tokens on the bill.
    """
    lines = [bill.line(kind) for kind in PROMPT_CLASSES]
    units = [line.unit for line in lines]
    try:
        laid = lay(piece_tokens, [line.quantity for line in lines])
    except ValueError:
        raise ValueError("the pieces are not the prompt that was billed") from None
    return [PieceCost((taken[0], taken[1], taken[2], taken[3]), _cost(taken, units)) for taken in laid]


def output_cost(bill: Bill, usage: Usage) -> OutputCost:
    """Price the answer: its thinking (part of the output tokens) and what was said."""
    line = bill.line(PriceClass.OUTPUT)
    thinking = min(usage.thinking_tokens or 0, line.quantity)
    return OutputCost(_cost([thinking], [line.unit]), _cost([line.quantity - thinking], [line.unit]))


def _cost(tokens: Sequence[int], units: Sequence[int | None]) -> int | None:
    cost = 0
    for count, unit in zip(tokens, units, strict=True):
        if count and unit is None:
            return None
        cost += count * (unit or 0)
    return cost
