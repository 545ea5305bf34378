from __future__ import annotations

import pytest

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store.skeleton import ORDERS, Cut, Gap, Mask, PathStep, Skeleton, assemble, decode_skeleton

BLOCKS = {0: b"", 1: b"<tool>", 2: b"<sys>", 3: b"<msg>", 4: b",gap,", 5: b"+cc+", 6: b"long literal"}
PATH = [PathStep(1, 0, 1, 4), PathStep(2, 1, 2, 4), PathStep(3, 2, 3, 0)]


def build(skeleton: Skeleton) -> bytes:
    return assemble(PATH, decode_skeleton(skeleton.encode()), BLOCKS.__getitem__)


@pytest.mark.parametrize("order", range(6))
def test_sections_come_in_the_documents_order(order):
    pieces = [b",gap,<tool>", b",gap,<sys>", b"<msg>"]
    assert build(Skeleton(order, (b"]",))) == b"".join(pieces[section] for section in ORDERS[order]) + b"]"


def test_what_differs_from_the_defaults_takes_their_place():
    """A gap of its own, a masked block, a cut in a plain and in a masked block, literals by value and by name."""
    skeleton = Skeleton(
        0,
        (6, b"}"),
        cuts=(Cut(0, 5, 5), Cut(1, 1, b"*")),
        gaps=(Gap(2, (b"<", 6)), Gap(1, ())),
        masks=(Mask(1, b"[real]"),),
    )
    assert build(skeleton) == b",gap,<tool+cc+>[*real]<long literal<msg>long literal}"
    assert skeleton.references() == {5, 6}


def test_the_stored_form_is_small():
    assert len(Skeleton(0, (7, b"}"), cuts=(Cut(300, 5000, 12),)).encode()) < 20


def test_a_skeleton_of_an_older_form_can_be_read():
    """Fields that came later have defaults: [order, tail] is a whole skeleton."""
    assert decode_skeleton(b"\x92\x00\x91\xc4\x01x") == Skeleton(0, (b"x",))


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x90", b"\x92\x00\xc0"])
def test_damage_is_an_error_of_ours(data):
    with pytest.raises(CorruptBodyError):
        decode_skeleton(data)
