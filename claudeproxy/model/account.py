"""What a request cost, as accounting hands it to the store: tokens of each piece, the bill, what the ledger learned.

Integers only: tokens, and pico-dollars (10^-12 US dollars). Every sum of parts here is the whole, to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.model.context import Accuracy, Source

NO_BILL = "no bill: the API did not say what was used"  # why a request has no cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Unit prices of one day and model, kept with the record: pico-dollars a token (a request for searches).

    None where no list has a price.
    """

    model: str  # as the price list names it
    source: str  # whose prices
    modifiers: str  # applied to them: "batch, geo:us"
    read: int | None
    write_1h: int | None
    write_5m: int | None
    uncached: int | None
    output: int | None
    web_search: int | None
    web_fetch: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPart:
    """A piece of what was billed beside the prompt: text, thinking and calls of the answer, fees of server tools."""

    source: Source
    tokens: int
    accuracy: Accuracy
    cost: int | None  # None: price unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedBill:
    """A bill: the prompt's tokens by price class in the order in which the API lays them, and everything's cost."""

    read: int
    write_1h: int
    write_5m: int
    uncached: int
    rates: Rates | None  # None: no list has the model
    cost: int | None  # of prompt and output together; None: price unknown
    note: str | None  # why the price is unknown, or what changes it in a way that no list covers
    output: Sequence[OutputPart] = ()

    @property
    def classes(self) -> tuple[int, int, int, int]:
        """The prompt's tokens by price class, in prompt order; `store.numbers` lays the pieces over them."""
        return self.read, self.write_1h, self.write_5m, self.uncached


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerChange:
    """What a ledger learned from one exchange, to be saved with the numbers that follow from it."""

    state: str  # JSON
    page: bytes  # rows of its memory (`accounting.pages`); empty: none changed
    whole: bool = False  # the page is the whole memory, in place of all earlier ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A prompt's tokens in prompt order: `before`, `unseen`, each block, `after`; `total` is their sum.

    `blocks` stand one to one with ``sansio.messages.layout(context).blocks``. A body that has no readable blocks has
    `total` alone; whoever stores it divides that by local sizes.
    """

    provider: str
    model: str  # whose ledger it is
    total: int
    before: int  # what the API adds before the first block
    unseen: int  # billed, and never seen: of a thread that began before we listened
    blocks: Sequence[int]
    after: int
    accuracy: Sequence[Accuracy]  # of each block
    counted: bool  # the total is a bill's, or a count's; False: it is a prediction
    error: float  # of a prediction: the expected relative error of `total`; else 0.0
    bill: PricedBill | None  # None: there is none (yet)
    note: str | None  # why there is no cost
    change: LedgerChange | None = None  # None: nothing was learned
