"""What the context cost: tokens that add up to the bill, and money that adds up to the last digit.

In reading order:

``tokens``, ``classes``
    cl100k_base, offline, and what sort of token each one is
``models``, ``images``, ``features``, ``chain``
    what a model's name says; what a block is made of; a request as a chain of prefixes
``linear``, ``weights``
    what each sort of token costs with one model, learned from its bills
``sharing``, ``bills``, ``memory``, ``plan``, ``settlement``, ``ledger``
    `TokenLedger`: predicts a prompt's size and settles it block by block
``listed``, ``prices``, ``costs``
    `PriceBook`: what the bill cost, and each piece of the prompt
``counts``, ``receipts``, ``pages``, ``bookkeeper``
    `Bookkeeper`: an exchange in, its account out, as the database keeps it; ledgers saved and loaded

Importing this package loads no tokenizer and no price list: that happens at the first count and the first price.
"""

from __future__ import annotations

from claudeproxy.accounting.bookkeeper import Bookkeeper, Outcome, ledger_model
from claudeproxy.accounting.costs import OutputCost, PieceCost, output_cost, prompt_costs
from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.accounting.listed import PriceClass, PriceOverride
from claudeproxy.accounting.memory import LedgerRow
from claudeproxy.accounting.prices import Bill, BillLine, PriceBook
from claudeproxy.accounting.settlement import Prediction, Settlement
from claudeproxy.accounting.sharing import share_segments
from claudeproxy.accounting.tokens import TokenCounter
from claudeproxy.sansio.sharing import share

__all__ = [
    "Bill",
    "BillLine",
    "Bookkeeper",
    "LedgerRow",
    "Outcome",
    "OutputCost",
    "PieceCost",
    "Prediction",
    "PriceBook",
    "PriceClass",
    "PriceOverride",
    "Settlement",
    "TokenCounter",
    "TokenLedger",
    "ledger_model",
    "output_cost",
    "prompt_costs",
    "share",
    "share_segments",
]
