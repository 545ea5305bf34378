"""Bookkeeper: one exchange in, its account out. Ledgers by provider and model, loaded when first needed.

Apart from the store, which keeps what is decided here, and from `ledger`, which knows one model: this says which ledger
a prompt belongs to, whether its answer may teach anything, what was billed beside the prompt, and what to write down
why there is no price. Not thread-safe. It counts and prices; it knows no sources of the prompt.

An account with a `change` must be stored, or `forget` be called: the ledger in memory has learned already.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.accounting.listed import bare_model
from claudeproxy.accounting.models import model_version
from claudeproxy.accounting.pages import decode_rows, encode_rows
from claudeproxy.accounting.receipts import COUNTED, receipt
from claudeproxy.model import NO_BILL, Account, Accuracy, LedgerChange
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.accounting.chain import Prompt
    from claudeproxy.accounting.prices import PriceBook
    from claudeproxy.accounting.settlement import PromptTokens
    from claudeproxy.model import Answer

    LoadLedger = Callable[[str, str], tuple[str, Sequence[bytes]] | None]
    LedgerClock = Callable[[str, str], int]

PROVIDER = "anthropic"
MAX_LEDGERS = 4  # in memory; a person uses three or four, and each costs up to 7 MB. Others are read from the database
PAGES = 500  # saved one by one before they are written anew as one


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How an exchange ended. `complete`: the whole answer came, with status 200: only such a one teaches."""

    answer: Answer
    complete: bool


@dataclass(slots=True)
class _Open:
    ledger: TokenLedger
    pages: int  # saved since they were last written as one
    clock: int  # how often it was saved


class Bookkeeper:
    """Accounts for the exchanges of one database.

    :param load: gives a ledger's saved state and pages by provider and model; None where there is none.
    :param clock: tells how often a ledger was saved, by whomever: one that others saved since is loaded again. None:
        nobody else saves.
    """

    def __init__(self, load: LoadLedger, prices: PriceBook, *, clock: LedgerClock | None = None) -> None:
        self._load = load
        self._clock = clock
        self._prices = prices
        self._ledgers: OrderedDict[tuple[str, str], _Open] = OrderedDict()

    def forget(self, account: Account) -> None:
        """Forget the ledger of an account that was not stored: it is loaded again as it was saved."""
        self._ledgers.pop((account.provider, account.model), None)

    def read(self, context: bytes, model: str) -> Prompt | None:
        """Cut a prompt for `predict` and `settle`; None where it cannot be cut, or has no blocks.

        :param model: whose ledger it is (`ledger_model`).
        """
        try:
            prompt = self._entry(model).ledger.read(context)
        except JSONSpanError:
            return None
        return prompt if prompt.size else None

    def predict(self, prompt: Prompt | None, model: str, *, ended: bool = False) -> Account | None:
        """Say what a prompt will be billed; None where nothing can be said. `ended`: there will be no bill."""
        if prompt is None:
            return None
        guess = self._entry(model).ledger.predict(prompt)
        return _account(model, guess, guess.total, error=guess.error, note=NO_BILL if ended else None)

    def settle(
        self, prompt: Prompt | None, model: str, outcome: Outcome, *, at: int, seen: bool = True
    ) -> Account | None:
        """Settle a prompt by its bill and learn from it; without a bill it stays a prediction.

        :param at: when it was asked, ns since the epoch: prices are those of the day.
        :param seen: the prompt is all that was billed; False: its thread began before we listened.
        """
        answer = outcome.answer
        total, billed = answer.usage.prompt_tokens, answer.message is not None
        if total is None or not (billed or outcome.complete):
            return self.predict(prompt, model, ended=True)
        entry = self._entry(model)
        name = answer.model or model
        bill = None
        if billed:
            priced = self._prices.price(answer.usage, name, at=at, provider=PROVIDER)
            bill = receipt(priced, answer, name, entry.ledger.text_size)
        change = None
        if prompt is None:
            account = _unread(model, total)
        elif not seen:
            account = _partly_seen(model, entry.ledger.predict(prompt), total)
        else:
            said = answer if outcome.complete else replace(answer, stop_reason=None)
            settled = entry.ledger.observe(prompt, answer.usage, said if billed else None)
            account = _account(model, settled, settled.total, error=0.0, note=None)
            change = self._change(entry) if settled.learned else None
        note = COUNTED if bill is None else bill.note
        return replace(account, counted=True, bill=bill, note=note, change=change)

    def _entry(self, model: str) -> _Open:
        key = (PROVIDER, model)
        entry = self._ledgers.get(key)
        clock = self._clock(*key) if self._clock is not None else 0
        if entry is None or (self._clock is not None and clock != entry.clock):
            entry = self._ledgers[key] = self._opened(model, clock)
            if len(self._ledgers) > MAX_LEDGERS:
                self._ledgers.popitem(last=False)
        self._ledgers.move_to_end(key)
        return entry

    def _opened(self, model: str, clock: int) -> _Open:
        saved = self._load(PROVIDER, model)
        if saved is None:
            return _Open(TokenLedger(model), 0, clock)
        state, pages = saved
        try:
            return _Open(TokenLedger.from_state(json.loads(state), decode_rows(pages)), len(pages), clock)
        except (ValueError, KeyError, TypeError):  # of another version: it begins anew, and bills are many
            return _Open(TokenLedger(model), PAGES, clock)

    def _change(self, entry: _Open) -> LedgerChange:
        rows = entry.ledger.memory.take_changes()
        whole = entry.pages >= PAGES
        page = encode_rows(entry.ledger.memory.rows() if whole else rows)
        entry.pages = 1 if whole else entry.pages + bool(page)
        entry.clock += 1
        return LedgerChange(state=json.dumps(entry.ledger.to_state(), separators=(",", ":")), page=page, whole=whole)


def ledger_model(asked: str | None, answered: str | None) -> str:
    """Return whose ledger an exchange belongs to: the model asked for, unless another version answered."""
    bare, other = (bare_model(name or "").encode("utf-8", "replace").decode() for name in (asked, answered))
    return other if other and model_version(other) != model_version(bare) else bare


def _account(model: str, tokens: PromptTokens, total: int, *, error: float, note: str | None) -> Account:
    return Account(
        provider=PROVIDER,
        model=model,
        total=total,
        before=tokens.before,
        unseen=0,
        blocks=tokens.blocks,
        after=tokens.after,
        accuracy=tokens.accuracy,
        counted=False,
        error=error,
        bill=None,
        note=note,
    )


def _partly_seen(model: str, guess: PromptTokens, total: int) -> Account:
    """Lay a bill over a context of which only the end was seen: what is left over was not seen."""
    account = _account(model, guess, total, error=0.0, note=None)
    estimated = (Accuracy.ESTIMATED,) * len(guess.blocks)
    if total >= guess.total:
        return replace(account, unseen=total - guess.total, accuracy=estimated)
    before, *blocks, after = share(total, guess.pieces)
    return replace(account, before=before, blocks=tuple(blocks), after=after, accuracy=estimated)


def _unread(model: str, total: int) -> Account:
    """A bill for a body that could not be cut: one sum, to be divided by whoever has its pieces."""
    return Account(
        provider=PROVIDER,
        model=model,
        total=total,
        before=0,
        unseen=0,
        blocks=(),
        after=0,
        accuracy=(),
        counted=True,
        error=0.0,
        bill=None,
        note=None,
    )
