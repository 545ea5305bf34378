"""Ledgers in the database: their own, whatever becomes of requests."""

from __future__ import annotations

from claudeproxy.model import LedgerChange
from claudeproxy.store import ledgers


def test_what_was_saved_comes_back_in_order(storage):
    with storage.writing() as connection:
        number = ledgers.ledger_id(connection, "anthropic", "m")
        assert ledgers.load_ledger(connection, "anthropic", "m") is None
        for turn in range(3):
            assert ledgers.save_change(connection, number, LedgerChange(state=f"{turn}", page=b"%d" % turn)) == turn + 1
        assert ledgers.save_change(connection, number, LedgerChange(state="3", page=b"")) == 4
        assert ledgers.load_ledger(connection, "anthropic", "m") == ("3", [b"0", b"1", b"2"])
        assert ledgers.ledger_id(connection, "anthropic", "m") == number
        assert ledgers.ledger_id(connection, "aws", "m") != number


def test_a_whole_memory_takes_the_place_of_its_pages(storage):
    with storage.writing() as connection:
        number = ledgers.ledger_id(connection, "anthropic", "m")
        ledgers.save_change(connection, number, LedgerChange(state="", page=b"old"))
        ledgers.save_change(connection, number, LedgerChange(state="", page=b"new", whole=True))
        assert ledgers.load_ledger(connection, "anthropic", "m") == ("", [b"new"])
        assert ledgers.clock(connection, number) == 2


def test_all_of_them_can_be_forgotten(storage):
    with storage.writing() as connection:
        number = ledgers.ledger_id(connection, "anthropic", "m")
        ledgers.save_change(connection, number, LedgerChange(state="", page=b"old"))
        ledgers.forget_all(connection)
        assert ledgers.load_ledger(connection, "anthropic", "m") is None
        assert connection.execute("SELECT count(*) FROM ledger_pages").fetchone()[0] == 0
