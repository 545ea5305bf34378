"""Tokens of an account land on nodes, or on no block at all; none is lost."""

from __future__ import annotations

from claudeproxy.model import Account, Accuracy
from claudeproxy.store.laid import Laid
from claudeproxy.store.numbers import ESTIMATED, SHARED, pack, unpack
from claudeproxy.store.skeleton import PathStep


def account(*blocks: int, unseen: int = 0, counted: bool = True) -> Account:
    return Account(
        provider="p",
        model="m",
        total=10 + unseen + sum(blocks) + 3,
        before=10,
        unseen=unseen,
        blocks=blocks,
        after=3,
        accuracy=(Accuracy.SHARED,) * len(blocks),
        counted=counted,
        error=0.0,
        bill=None,
        note=None,
    )


def path(*explanations: int | None) -> list[PathStep]:
    return [PathStep(node, 0, node, 0, None, explanation) for node, explanation in enumerate(explanations, 1)]


def whole(laid: Laid) -> int:
    return laid.before + laid.unseen + laid.after + laid.rest + sum(unpack(one)[0] for one in laid.packed)


def test_each_block_has_its_tokens_and_its_label():
    laid = Laid.of(path(1, 2), account(5, 7))
    assert laid.packed == [pack(5, SHARED), pack(7, SHARED)]
    assert (laid.rest, laid.label, whole(laid)) == (0, SHARED, 25)


def test_what_a_masked_block_has_belongs_to_no_block():
    laid = Laid.of(path(1, None), account(5, 7))
    assert (laid.packed[1] >> 2, laid.after, whole(laid)) == (0, 10, 25)


def test_blocks_that_are_no_nodes_leave_their_tokens_to_the_rest():
    laid = Laid.of([], account(5, 7))
    assert (laid.packed, laid.rest, whole(laid)) == ([], 12, 25)


def test_a_prediction_and_what_was_not_seen_are_estimates():
    assert Laid.of(path(1), account(5, counted=False)).label == ESTIMATED
    assert Laid.of(path(1), account(5, unseen=4)).label == ESTIMATED
