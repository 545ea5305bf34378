"""Whose turn it is to take the next connection."""

from __future__ import annotations

import os

from claudeproxy.workers.board import Board


def test_the_worker_with_the_fewest_connections_is_next() -> None:
    board = Board(3)
    seats = [board.seat(number) for number in range(3)]
    for seat, connections in zip(seats, (2, 1, 3), strict=True):
        seat.begin()
        seat.load(connections)
    assert [seat.mine() for seat in seats] == [False, True, False]
    board.close()


def test_of_several_with_as_few_the_one_that_waits_longest_is_next() -> None:
    """So connections that come one after the other, each alone, go round."""
    board = Board(2)
    first, second = board.seat(0), board.seat(1)
    order = []
    for seat in (first, second):
        seat.begin()
    for _ in range(6):
        (mine,) = (seat for seat in (first, second) if seat.mine())
        mine.taken()
        mine.load(0)  # it has ended
        order.append(mine is first)
    assert order == [True, False] * 3
    board.close()


def test_one_that_is_gone_or_does_not_accept_yet_is_not_waited_for() -> None:
    board = Board(2)
    first, second = board.seat(0), board.seat(1)
    second.begin()
    second.load(5)
    assert second.mine()  # the first one never began
    first.begin()
    assert not second.mine()
    board.clear(0)
    assert second.mine()
    first.begin()
    first.end()
    assert second.mine()
    board.close()


def test_what_was_taken_counts_before_it_is_counted_as_open() -> None:
    board = Board(2)
    first, second = board.seat(0), board.seat(1)
    first.begin()
    second.begin()
    first.taken()
    assert not first.mine()
    assert second.mine()
    board.close()


def test_another_process_sees_the_same_numbers() -> None:
    ours = Board(2)
    theirs = Board(2, os.dup(ours.descriptor))
    ours.seat(0).begin()
    ours.seat(0).load(1)
    assert theirs.seat(1).mine()
    theirs.seat(1).load(2)
    assert not theirs.seat(1).mine()
    ours.close()
    theirs.close()
