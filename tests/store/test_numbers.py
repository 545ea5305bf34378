"""Numbers as they are read: divided by size, laid over the bill's classes, never a token or a pico-dollar lost."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store.numbers import (
    AFTER,
    BEFORE,
    UNSEEN,
    Priced,
    decode_corrections,
    encode_corrections,
    expand,
    expand_json,
    pack,
    unpack,
)

BLOCKS = st.lists(st.tuples(st.integers(0, 500), st.lists(st.integers(0, 50), min_size=1, max_size=4)), max_size=8)
UNITS = st.tuples(*[st.integers(0, 10**7)] * 4)


@given(BLOCKS, st.integers(0, 99), st.integers(0, 9), st.lists(st.integers(0, 10**4), min_size=3, max_size=3), UNITS)
def test_everything_adds_up_to_the_bill(sizes, before, after, cuts, units):
    total = before + after + sum(tokens for tokens, _ in sizes)
    edges = [0, *sorted(min(cut, total) for cut in cuts), total]
    classes = tuple(high - low for low, high in pairwise(edges))
    blocks = [(n + 1, pack(tokens, 1), segments) for n, (tokens, segments) in enumerate(sizes)]
    pieces = expand(blocks, [(BEFORE, before, 1), (AFTER, after, 1)], Priced(classes, units))
    assert sum(piece.tokens for piece in pieces) == total
    assert sum(piece.cost for piece in pieces) == sum(a * b for a, b in zip(classes, units, strict=True))
    for node, packed, _ in blocks:
        assert sum(piece.tokens for piece in pieces if piece.node == node) == unpack(packed)[0]


def test_what_was_read_comes_first_and_the_tail_last():
    """The preamble and what nobody saw were read, then the blocks; a block may lie across two classes."""
    loose = [(BEFORE, 10, 1), (UNSEEN, 20, 2), (0, 0, 0), (AFTER, 3, 1)]
    priced = Priced((35, 4, 6, 3), (1, 20, 12, 10))
    pieces = expand([(7, pack(15, 1), [1, 2])], loose, priced)
    assert [(p.node, p.ordinal, p.tokens, p.price_class, p.cost) for p in pieces] == [
        (0, BEFORE, 10, "read", 10),
        (0, UNSEEN, 20, "read", 20),
        (7, 0, 5, "read", 5),
        (7, 1, 10, "write_5m", 4 * 20 + 6 * 12),
        (0, 0, 0, "uncached", 0),
        (0, AFTER, 3, "uncached", 30),
    ]


def test_without_a_bill_there_is_no_price_and_without_a_price_no_cost():
    blocks = [(1, pack(4, 2), [1])]
    assert [(p.price_class, p.cost) for p in expand(blocks, [], None)] == [(None, None)]
    unknown = Priced((4, 0, 0, 0), (None, None, None, None))
    assert [(p.price_class, p.cost) for p in expand(blocks, [], unknown)] == [("read", None)]
    partly = Priced((0, 4, 0, 0), (5, None, 5, 5))
    assert [(p.price_class, p.cost) for p in expand(blocks, [], partly)] == [("write_1h", None)]


@given(st.dictionaries(st.integers(0, 2000), st.integers(0, 10**7)))
def test_corrections_come_back(corrections):
    assert decode_corrections(encode_corrections(corrections)) == corrections


def test_corrections_of_a_whole_path_are_small():
    stored = encode_corrections({index: pack(40 + index % 90, 2) for index in range(500)})
    assert len(stored) < 1_000


@pytest.mark.parametrize("stored", [b"\0junk", b"\1junk"])
def test_damaged_corrections_are_said(stored):
    with pytest.raises(CorruptBodyError, match="corrections"):
        decode_corrections(stored)


def test_for_sql_everything_is_json():
    blocks = json.dumps([[1, None, []], [2, pack(9, 1), [1, 2]]])
    loose = json.dumps([[AFTER, 3, 0]])
    corrections = encode_corrections({1: pack(6, 2)})
    assert json.loads(expand_json(blocks, loose, corrections, None)) == [
        [2, 0, 2, 2, None, None],
        [2, 1, 4, 2, None, None],
        [0, AFTER, 3, 0, None, None],
    ]
    priced = json.dumps([0, 0, 0, 9, 1, 1, 1, 5])
    assert [row[5] for row in json.loads(expand_json(blocks, loose, corrections, priced))] == [10, 20, 15]
