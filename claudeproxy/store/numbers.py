"""A request's numbers as they are read: tokens, label, price class and cost of each segment, from what is stored.

Apart from `accounts`, which writes, because both the view ``context_attributions`` and the sums per source come from
here, so they cannot differ. Pure: the same rows give the same numbers for ever, and all of them add up.

    a block's tokens     its node's as of the request's clock, or the request's correction
    a segment's          a share of them in proportion to its size, by largest remainder
    its price class      all pieces of the prompt laid end to end over the bill's classes

Order of pieces: what the API adds before the first block, context that was never seen, the blocks, what belongs to no
block, what the API adds after the last.
"""

from __future__ import annotations

import json
import zlib
from itertools import pairwise
from operator import mul
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claudeproxy.errors import CorruptBodyError
from claudeproxy.model import Accuracy
from claudeproxy.sansio.sharing import lay, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCURACIES = (Accuracy.EXACT, Accuracy.SHARED, Accuracy.ESTIMATED)
SHARED, ESTIMATED = ACCURACIES.index(Accuracy.SHARED), ACCURACIES.index(Accuracy.ESTIMATED)
CLASSES = ("read", "write_1h", "write_5m", "uncached")  # in the order in which the API lays them
OUTPUT = "output"

# Ordinals of segments of no node that have a place of their own.
BEFORE, UNSEEN, AFTER = -2, -1, 1_000_001

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[int])
_WORTH_PACKING = 64  # bytes


class Priced(NamedTuple):
    """What the prompt's tokens cost: how many there are of each of `CLASSES`, and a token's price in pico-dollars."""

    tokens: tuple[int, int, int, int]
    units: tuple[int | None, int | None, int | None, int | None]

    def cost(self, taken: Sequence[int]) -> int | None:
        """The cost of so many tokens of each class; None where a price is unknown."""
        if None not in self.units:
            whole: int = sum(map(mul, taken, self.units))
            return whole
        if all(unit is None for unit in self.units):
            return None
        cost = 0
        for count, unit in zip(taken, self.units, strict=True):
            if count and unit is None:
                return None
            cost += count * (unit or 0)
        return cost


def pack(tokens: int, accuracy: int) -> int:
    """Tokens with their label, as ``node_tokens.packed``."""
    return tokens * 4 + accuracy


def unpack(packed: int) -> tuple[int, int]:
    """Tokens and label."""
    return packed >> 2, packed & 3


def encode_corrections(corrections: Mapping[int, int]) -> bytes | None:
    """Return packed numbers by the block's index in its path, in stored form; None when there are none."""
    if not corrections:
        return None
    flat: list[int] = []
    at = 0
    for index, packed in sorted(corrections.items()):
        flat += (index - at, packed)
        at = index
    data = _ENCODER.encode(flat)
    small = zlib.compress(data, 9) if len(data) > _WORTH_PACKING else data
    return b"\1" + small if len(small) < len(data) else b"\0" + data


def decode_corrections(stored: bytes | None) -> dict[int, int]:
    """Return what `encode_corrections` stored.

    :raises CorruptBodyError: it is damaged.
    """
    if not stored:
        return {}
    try:
        flat = _DECODER.decode(zlib.decompress(stored[1:]) if stored[:1] == b"\1" else stored[1:])
    except (zlib.error, msgspec.MsgspecError) as error:
        raise CorruptBodyError(f"a request's corrections cannot be read: {error}") from None
    corrections: dict[int, int] = {}
    at = 0
    for gap, packed in zip(flat[::2], flat[1::2], strict=True):
        at += gap
        corrections[at] = packed
    return corrections


class Piece(NamedTuple):
    """One segment's numbers. `node` is 0 for those of no node."""

    node: int
    ordinal: int
    tokens: int
    accuracy: int
    price_class: str | None
    cost: int | None


def expand(
    blocks: Sequence[tuple[int, int, Sequence[int]]], loose: Sequence[tuple[int, int, int]], priced: Priced | None
) -> list[Piece]:
    """Return the numbers of every segment of a request, in order of the rows that are given.

    :param blocks: node, packed number and the sizes of its segments, for each block of the path.
    :param loose: ordinal, tokens and label of each segment of no node, in order of their ordinals.
    """
    pieces = [(0, o, tokens, label) for o, tokens, label in loose if o in (BEFORE, UNSEEN)]
    for node, packed, sizes in blocks:
        tokens, label = unpack(packed)
        parts = share(tokens, sizes) if sizes else ()
        pieces += [(node, ordinal, part, label) for ordinal, part in enumerate(parts)]
    pieces += [(0, o, tokens, label) for o, tokens, label in loose if o not in (BEFORE, UNSEEN)]
    if priced is None:
        return [Piece(*piece, None, None) for piece in pieces]
    laid = lay([tokens for _, _, tokens, _ in pieces], priced.tokens)
    return [
        Piece(*piece, _class(taken, priced, at), priced.cost(taken))
        for piece, taken, at in zip(pieces, laid, _starts(laid), strict=True)
    ]


def _starts(laid: Sequence[Sequence[int]]) -> list[int]:
    """Return where each piece begins."""
    ends = [0]
    for taken in laid:
        ends.append(ends[-1] + sum(taken))
    return [start for start, _ in pairwise(ends)]


def _class(taken: Sequence[int], priced: Priced, at: int) -> str:
    """Return the class of most of a piece's tokens; one without tokens has that of the place where it stands."""
    if any(taken):
        return CLASSES[max(range(len(taken)), key=lambda index: taken[index])]
    for name, length in zip(CLASSES, priced.tokens, strict=True):
        if at < length:
            return name
        at -= length
    return CLASSES[-1]


def expand_json(blocks: str, loose: str | None, corrections: bytes | None, priced: str | None) -> str:
    """``claudeproxy_numbers(...)``: `expand` for SQL, everything in JSON. Without `priced` there is no bill."""
    corrected = decode_corrections(corrections)
    path = [
        (node, corrected.get(index, packed or 0), sizes)
        for index, (node, packed, sizes) in enumerate(json.loads(blocks))
    ]
    bill = json.loads(priced) if priced is not None else None
    rows = [(ordinal, tokens, label) for ordinal, tokens, label in json.loads(loose or "[]")]
    return json.dumps(expand(path, rows, None if bill is None else Priced(tuple(bill[:4]), tuple(bill[4:]))))
