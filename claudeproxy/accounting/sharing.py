"""A block's tokens divided among its segments: the last division of a bill, from blocks to sources.

Apart because whose a piece of a block is, is attribution's knowledge and not the ledger's. The rule is that of
`sansio.sharing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    from collections.abc import Sequence


def share_segments(
    block_tokens: Sequence[int], segment_sizes: Sequence[Sequence[float]], *, overhead: int = 0
) -> tuple[list[list[int]], int]:
    """Divide each block's tokens among its segments in proportion to their local sizes.

    `block_tokens` and `segment_sizes` are aligned; the result has one list for each block, and what belongs to no
    segment: `overhead` and the tokens of blocks that have none. All of it together is what came in.
    """
    parts: list[list[int]] = []
    rest = overhead
    for tokens, sizes in zip(block_tokens, segment_sizes, strict=True):
        parts.append(share(tokens, sizes) if sizes else [])
        rest += 0 if sizes else tokens
    return parts, rest
