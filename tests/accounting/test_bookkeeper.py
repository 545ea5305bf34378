"""Exchanges in, accounts out; ledgers saved and loaded."""

from __future__ import annotations

import pytest

from claudeproxy.accounting import bookkeeper as module
from claudeproxy.accounting.bookkeeper import Bookkeeper, Outcome, ledger_model
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.accounting.receipts import COUNTED
from claudeproxy.model import NO_BILL, Accuracy, Answer, Usage
from tests.accounting.billing import MODEL, Conversation

DAY = 1_790_000_000 * 10**9


class Saved:
    """What a database would keep."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.pages: list[bytes] = []

    def load(self, provider: str, model: str):
        return None if self.state is None else (self.state, list(self.pages))

    def keep(self, account) -> None:
        if account.change is not None:
            self.state = account.change.state
            self.pages = [] if account.change.whole else self.pages
            self.pages += [account.change.page] if account.change.page else []


@pytest.fixture
def saved() -> Saved:
    return Saved()


@pytest.fixture
def books(saved) -> Bookkeeper:
    return Bookkeeper(saved.load, PriceBook())


def talk(books, saved, conversation, turns):
    for _ in range(turns):
        body = conversation.say()
        usage, answer = conversation.answer(body)
        account = books.settle(books.read(body, MODEL), MODEL, Outcome(answer=answer, complete=True), at=DAY)
        saved.keep(account)
    return account, usage


def whole(account):
    return account.before + account.unseen + sum(account.blocks) + account.after


def test_a_bill_is_settled_priced_and_learned(books, saved):
    account, usage = talk(books, saved, Conversation(), 3)
    assert whole(account) == account.total == usage.prompt_tokens == sum(account.bill.classes)
    assert account.counted
    assert account.bill.cost is not None
    assert account.change is not None


def test_a_ledger_that_was_saved_predicts_as_the_one_in_memory(books, saved):
    conversation = Conversation()
    talk(books, saved, conversation, 6)
    body = conversation.say()
    first = books.predict(books.read(body, MODEL), MODEL)
    again = Bookkeeper(saved.load, PriceBook())
    second = again.predict(again.read(body, MODEL), MODEL)
    assert (first.total, first.blocks, first.error) == (second.total, second.blocks, second.error)


def test_pages_are_written_anew_as_one_before_they_are_too_many(books, saved, monkeypatch):
    monkeypatch.setattr(module, "PAGES", 4)
    conversation = Conversation()
    talk(books, saved, conversation, 11)
    assert len(saved.pages) <= 4
    body = conversation.say()
    again = Bookkeeper(saved.load, PriceBook())
    assert again.predict(again.read(body, MODEL), MODEL).total == books.predict(books.read(body, MODEL), MODEL).total


def test_a_ledger_of_another_version_begins_anew(saved):
    saved.state, saved.pages = "{}", [b"junk"]
    books = Bookkeeper(saved.load, PriceBook())
    account, _ = talk(books, saved, Conversation(), 1)
    assert account.change.whole
    assert Bookkeeper(saved.load, PriceBook()).read(b'{"messages":[{"role":"user","content":"x"}]}', MODEL)


def test_a_ledger_whose_account_was_not_stored_knows_what_was_saved(books, saved):
    conversation = Conversation()
    talk(books, saved, conversation, 2)
    kept = saved.state
    body = conversation.say()
    _, answer = conversation.answer(body)
    lost = books.settle(books.read(body, MODEL), MODEL, Outcome(answer=answer, complete=True), at=DAY)
    assert lost.change.state != kept
    books.forget(lost)
    assert (
        books._entry(MODEL).ledger.weights.equations
        == Bookkeeper(saved.load, PriceBook())._entry(MODEL).ledger.weights.equations
    )


def test_a_ledger_that_others_saved_since_is_loaded_again(saved):
    clock = [0]
    books = Bookkeeper(saved.load, PriceBook(), clock=lambda *_: clock[0])
    conversation = Conversation()
    for _ in range(2):
        talk(books, saved, conversation, 1)
        clock[0] += 1
    ledger = books._entry(MODEL).ledger
    assert ledger.weights.equations > 0
    saved.state, clock[0] = None, 7
    assert books._entry(MODEL).ledger is not ledger
    assert books._entry(MODEL).ledger.weights.equations == 0


def test_what_failed_or_was_cut_is_settled_and_teaches_nothing(books, saved):
    conversation = Conversation()
    body = conversation.say()
    usage, answer = conversation.answer(body)
    cut = books.settle(books.read(body, MODEL), MODEL, Outcome(answer=answer, complete=False), at=DAY)
    assert (cut.total, cut.change) == (usage.prompt_tokens, None)
    failed = books.settle(
        books.read(body, MODEL), MODEL, Outcome(answer=Answer(error_type="overloaded_error"), complete=False), at=DAY
    )
    assert (failed.counted, failed.bill, failed.note, failed.change) == (False, None, NO_BILL, None)
    assert failed.error > 0


def test_a_count_teaches_the_size_and_is_not_billed(books):
    body = Conversation().say()
    outcome = Outcome(answer=Answer(usage=Usage(input_tokens=500)), complete=True)
    account = books.settle(books.read(body, MODEL), MODEL, outcome, at=DAY)
    assert (account.total, account.counted, account.bill, account.note) == (500, True, None, COUNTED)
    assert books.predict(books.read(body, MODEL), MODEL).total == 500


@pytest.mark.parametrize("more", [1000, -100])
def test_of_a_thread_that_began_before_us_the_rest_was_not_seen(books, more):
    body = Conversation().say()
    prompt = books.read(body, MODEL)
    guess = books.predict(prompt, MODEL).total
    usage = Usage(input_tokens=guess + more, output_tokens=1)
    answer = Answer(message={"type": "message"}, stop_reason="end_turn", usage=usage)
    account = books.settle(prompt, MODEL, Outcome(answer=answer, complete=True), at=DAY, seen=False)
    assert account.unseen == max(0, more)
    assert whole(account) == account.total == guess + more
    assert {*account.accuracy} == {Accuracy.ESTIMATED}
    assert account.change is None


def test_a_body_that_cannot_be_cut_has_its_bill(books):
    assert books.read(b"junk", MODEL) is books.read(b'{"messages":[]}', MODEL) is None
    assert books.predict(None, MODEL) is None
    usage = Usage(input_tokens=9, output_tokens=1)
    answer = Answer(message={"type": "message"}, stop_reason="end_turn", usage=usage)
    account = books.settle(None, MODEL, Outcome(answer=answer, complete=True), at=DAY)
    assert (account.total, account.blocks, account.bill.classes) == (9, (), (0, 0, 0, 9))


def test_few_ledgers_are_held_in_memory(books, monkeypatch):
    monkeypatch.setattr(module, "MAX_LEDGERS", 2)
    body = Conversation().say()
    for name in ("a", "b", "c"):
        books.read(body, name)
    assert [model for _, model in books._ledgers] == ["b", "c"]


@pytest.mark.parametrize(
    ("asked", "answered", "whose"),
    [
        ("claude-opus-4-8", None, "claude-opus-4-8"),
        ("claude-opus-4-8[1m]", "claude-opus-4-8", "claude-opus-4-8"),
        ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("claude-opus-4-8", "claude-sonnet-5", "claude-sonnet-5"),
        (None, None, ""),
    ],
)
def test_a_ledger_is_that_of_the_model_that_counted(asked, answered, whose):
    assert ledger_model(asked, answered) == whose


def test_a_model_that_no_file_can_hold_has_a_ledger_all_the_same() -> None:
    """JavaScript's lone surrogates are in no UTF-8 text, and so in no database."""
    assert ledger_model("claude-\ud800", None) == "claude-?"
