"""A body put together from a path of nodes and the little that is its own: the skeleton.

Apart because writing and reading must agree here and nowhere else; pure, no database. A skeleton holds the order of
the three sections in the document, the cache_control members that were cut out of blocks, the bytes of masked blocks,
the gaps that differ from their nodes' defaults, and the tail. Everything else comes from nodes and blocks.

Indexes count the blocks of the path from 0, in prompt order. A literal is bytes, or the id of a block that holds them.
"""

from __future__ import annotations

from itertools import chain, permutations
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import msgspec

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store.places import section_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ORDERS = tuple(permutations(range(3)))  # of sections; position in this tuple is what is stored

Literal: TypeAlias = bytes | int


class PathStep(NamedTuple):
    """One node of a path, as much of it as rebuilding needs."""

    node: int
    place: int
    block: int
    gap: int
    chain: bytes | None = None  # store/canonical.py
    explanation: int | None = None


class Cut(msgspec.Struct, frozen=True, array_like=True):
    """Bytes to put back into a block."""

    index: int
    offset: int  # in the stored block
    literal: Literal


class Mask(msgspec.Struct, frozen=True, array_like=True):
    """The real bytes of a masked block."""

    index: int
    literal: Literal


class Gap(msgspec.Struct, frozen=True, array_like=True):
    """The bytes before a block, where they are not its node's default."""

    index: int
    literals: tuple[Literal, ...]


class Skeleton(msgspec.Struct, frozen=True, array_like=True):
    """What one request has of its own. New fields go to the end, with a default: old skeletons stay readable."""

    order: int
    tail: tuple[Literal, ...]
    cuts: tuple[Cut, ...] = ()
    gaps: tuple[Gap, ...] = ()
    masks: tuple[Mask, ...] = ()

    def encode(self) -> bytes:
        """Return the stored form, MessagePack."""
        return _ENCODER.encode(self)

    def references(self) -> set[int]:
        """Return the blocks that are named here."""
        literals = [*self.tail, *(cut.literal for cut in self.cuts), *(mask.literal for mask in self.masks)]
        literals += [literal for gap in self.gaps for literal in gap.literals]
        return {literal for literal in literals if isinstance(literal, int)}


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Skeleton)


def decode_skeleton(data: bytes) -> Skeleton:
    """Read the stored form.

    :raises CorruptBodyError: when it is none.
    """
    try:
        return _DECODER.decode(data)
    except msgspec.MsgspecError as error:
        raise CorruptBodyError(f"a stored skeleton cannot be read: {error}") from None


def assemble(path: Sequence[PathStep], skeleton: Skeleton, load: Callable[[int], bytes]) -> bytes:
    """Put the body together. `load` gives a block's bytes by its id and raises what it likes."""

    def text(literal: Literal) -> bytes:
        return load(literal) if isinstance(literal, int) else literal

    gaps = [load(step.gap) for step in path]
    blocks = [load(step.block) for step in path]
    for gap in skeleton.gaps:
        gaps[gap.index] = b"".join(map(text, gap.literals))
    for mask in skeleton.masks:
        blocks[mask.index] = text(mask.literal)
    for cut in skeleton.cuts:
        block = blocks[cut.index]
        blocks[cut.index] = block[: cut.offset] + text(cut.literal) + block[cut.offset :]
    sections = [ORDERS[skeleton.order].index(section_of(step.place)) for step in path]
    document = sorted(range(len(path)), key=sections.__getitem__)
    pieces = chain.from_iterable((gaps[index], blocks[index]) for index in document)
    return b"".join((*pieces, *map(text, skeleton.tail)))
