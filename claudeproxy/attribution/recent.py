"""The requests that were divided lately: a turn repeats one of them nearly to its end, and takes over what it found.

Apart from `engine`, which divides. It compares objects, never bytes: `sansio.messages.layout` gives the same block for
the same bytes in the same place. Bounded by bytes, as blocks keep their views alive, and
by number.
"""

from __future__ import annotations

from itertools import accumulate, chain, repeat
from operator import is_
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from claudeproxy.attribution.scene import Place
    from claudeproxy.attribution.views import BlockView
    from claudeproxy.model import BlockAttribution
    from claudeproxy.sansio.messages import BlockSpan

_MOST = 8  # requests, each compared with every one that comes: of small ones thousands would fit


class Divided(NamedTuple):
    """A request that was divided, block by block."""

    blocks: Sequence[BlockSpan] = ()
    views: Sequence[BlockView] = ()
    places: Sequence[Place] = ()
    found: Sequence[BlockAttribution | None] = ()  # None: evidence may say more of this block another time
    scene: int = -1  # the number of its scene
    length: int = 0  # bytes of its body

    def seen(self) -> Iterator[tuple[BlockSpan | None, BlockView | None]]:
        """Yield the block in each place and its view, and nothing without end behind the last."""
        return chain(zip(self.blocks, self.views, strict=True), repeat((None, None)))

    def told(
        self, blocks: Sequence[BlockSpan], views: Sequence[BlockView], places: Sequence[Place], scene: int
    ) -> list[BlockAttribution | None]:
        """Return what was found of each of these blocks where it is what would be found again; None of the others."""
        if scene != self.scene:
            return [None] * len(blocks)
        told = [
            found
            if view is known and place is before and (block is earlier or _stands(block) == _stands(earlier))
            else None
            for found, view, known, place, before, block, earlier in zip(
                self.found, views, self.views, places, self.places, blocks, self.blocks, strict=False
            )
        ]
        return told + [None] * (len(blocks) - len(told))


class Recent:
    """Some requests that were divided lately, the latest first; `limit` bounds the bytes of their bodies."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[Divided] = []

    def most_like(self, blocks: Sequence[BlockSpan]) -> Divided:
        """Return the request that has the most of these blocks; an empty one where none has any."""
        return max(self._kept, key=lambda one: sum(map(is_, blocks, one.blocks)), default=Divided())

    def keep(self, divided: Divided) -> None:
        """Keep a request, in place of the one that it goes on from."""
        if divided.length > self._limit:
            return
        others = [one for one in self._kept if 2 * sum(map(is_, divided.blocks, one.blocks)) < len(one.blocks)]
        kept = (divided, *others)[:_MOST]
        held = accumulate(one.length for one in kept)
        self._kept = [one for one, bytes_so_far in zip(kept, held, strict=True) if bytes_so_far <= self._limit]


def _stands(block: BlockSpan) -> tuple[object, ...]:
    """Return all that an attribution says of a block's place."""
    return block.section, block.index, block.message_index, block.role, block.string
