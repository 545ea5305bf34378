"""The ledger's rows: bounded, with the changes to be saved."""

from __future__ import annotations

from claudeproxy.accounting.memory import LedgerRow, Memory, Settled, Turn
from claudeproxy.model import Accuracy


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_was_settled_is_known_in_its_place_and_by_itself():
    memory = Memory()
    settled = Settled(7, Accuracy.SHARED, 100, billed=True, stage=2)
    memory.settle(key(1), key(2), settled)
    assert memory.prefix(key(1)) == settled
    assert memory.block(key(2)) == Settled(7, Accuracy.SHARED, stage=2)
    assert memory.prefix(key(2)) is None


def test_a_block_elsewhere_changes_only_for_something_better():
    memory = Memory()
    memory.settle(key(1), key(9), Settled(7, Accuracy.SHARED, stage=1))
    memory.settle(key(2), key(9), Settled(8, Accuracy.SHARED, stage=1))
    assert memory.block(key(9)).size == 7
    memory.settle(key(3), key(9), Settled(9, Accuracy.SHARED, stage=2))
    assert memory.block(key(9)).size == 9
    memory.settle(key(4), key(9), Settled(10, Accuracy.EXACT, stage=0))
    assert memory.block(key(9)).size == 10


def test_the_least_recently_used_row_is_forgotten_first_and_said_so():
    memory = Memory(size=2)
    for number in (1, 2):
        memory.learn_turn(key(number), Turn(number, 0))
    memory.turn(key(1))
    memory.learn_turn(key(3), Turn(3, None))
    assert memory.turn(key(2)) is None
    assert memory.turn(key(1)) == Turn(1, 0)
    assert memory.turn(key(3)) == Turn(3, None)
    assert LedgerRow("turn", key(2), None) in memory.take_changes()


def test_prefixes_asked_for_together_are_used_together():
    memory = Memory(size=3)
    for number in (1, 2, 3):
        memory.settle(key(number), key(9), Settled(number, Accuracy.SHARED))
    found = memory.prefixes([key(1), key(7), key(2)])
    assert [settled and settled.size for settled in found] == [1, None, 2]
    memory.settle(key(4), key(9), Settled(4, Accuracy.SHARED))
    assert [settled and settled.size for settled in memory.prefixes(list(map(key, (1, 2, 3, 4))))] == [1, 2, None, 4]


def test_changes_are_told_once_and_only_when_something_changed():
    memory = Memory()
    settled = Settled(7, Accuracy.EXACT, 7)
    memory.settle(key(1), key(2), settled)
    assert {row.key for row in memory.take_changes()} == {key(1), key(2)}
    memory.settle(key(1), key(2), settled)
    assert memory.take_changes() == []


def test_saved_rows_make_the_same_memory():
    memory = Memory()
    memory.settle(key(1), key(2), Settled(7, Accuracy.SHARED, 99, stage=1))
    memory.learn_turn(key(3), Turn(5, 2))
    again = Memory()
    again.load(memory.take_changes())
    assert sorted(again.rows()) == sorted(memory.rows())
    assert again.take_changes() == []


def test_a_place_that_tells_no_more_than_its_block_is_not_saved():
    """A new tool in front gives a whole history new places."""
    memory = Memory()
    for place in range(10, 20):
        memory.settle(key(place), key(2), Settled(7, Accuracy.SHARED, stage=1))
    memory.settle(key(30), key(2), Settled(8, Accuracy.SHARED, stage=1))
    assert {row.key for row in memory.take_changes()} == {key(2), key(30)}
    memory.settle(key(30), key(2), Settled(7, Accuracy.SHARED, stage=1))
    assert {row.key for row in memory.take_changes()} == {key(30)}


def test_rows_of_an_unknown_table_are_passed_over():
    memory = Memory()
    memory.load([LedgerRow("later", key(1), (1,)), LedgerRow("turn", key(1), None)])
    assert list(memory.rows()) == []
