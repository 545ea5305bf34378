"""A body cut for storage: its blocks with their places, and the bytes between them. Pure, no database.

Apart from `sansio.messages`, which says what a block is, because what is done about changing parts is the store's own
matter: a block that is new in every request (the client's billing header) would give every later block a new path, so
a placeholder stands in its place and its bytes go into the request's skeleton.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.messages import Section, exact_block, is_billing_header, layout
from claudeproxy.store.places import SECTIONS
from claudeproxy.store.skeleton import ORDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.sansio.messages import BlockSpan, RequestLayout

PLACEHOLDER = b'"x-anthropic-billing-header:"'  # the masked block of every billing header


class CutError(ProtocolError):
    """The cut does not stand up to a second look; the body is stored whole."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One block of a body that is about to be stored."""

    data: bytes  # exact, without its own cache_control
    section: int  # index into places.SECTIONS
    role: str
    opens: bool
    masked: bool
    items_skipped: int
    messages_skipped: int
    message_index: int
    item_index: int  # -1 for a bare string
    gap: tuple[bytes, ...]  # the bytes before it, split where a top-level member begins
    cut: tuple[int, bytes] | None  # offset in `data`, bytes


@dataclass(frozen=True, slots=True)
class CutBody:
    """A whole body: its pieces in prompt order, the order of its sections, the bytes after the last block."""

    pieces: Sequence[Piece]
    order: int  # index into skeleton.ORDERS
    tail: tuple[bytes, ...]


def cut_body(body: bytes) -> CutBody:
    """Cut a Messages API request body.

    :raises ProtocolError: when it cannot be cut, or a cut is not where the JSON parser sees it.
    """
    found = layout(body)
    boundaries = [member.key_start for member in found.members]
    document = sorted(found.blocks, key=lambda block: block.start)
    gaps: dict[int, tuple[bytes, ...]] = {}
    at = 0
    for block in document:
        gaps[block.start] = _split(body, at, block.start, boundaries)
        at = block.end
    return CutBody(
        pieces=tuple(_pieces(body, found, gaps)),
        order=_order(document),
        tail=_split(body, at, len(body), boundaries),
    )


def _pieces(body: bytes, found: RequestLayout, gaps: dict[int, tuple[bytes, ...]]) -> list[Piece]:
    pieces = []
    section, message, item = Section.TOOLS, -1, -1
    for block in found.blocks:
        if block.section is not section or block.opens_message:
            item = -1
        skipped = block.message_index - message - 1 if block.opens_message else 0
        data = exact_block(body, block)
        _check(body, block, data)
        pieces.append(
            Piece(
                data,
                SECTIONS.index(block.section),
                block.role,
                block.opens_message,
                is_billing_header(block.section, data),
                0 if block.string else block.index - item - 1,
                skipped,
                block.message_index,
                -1 if block.string else block.index,
                gaps[block.start],
                (block.cut[0] - block.start, body[block.cut[0] : block.cut[1]]) if block.cut else None,
            )
        )
        section, message, item = block.section, block.message_index, block.index
    return pieces


def _check(body: bytes, block: BlockSpan, data: bytes) -> None:
    """Look a second time, with the parser itself: any partition of a body rebuilds, also a wrong one."""
    first, last = body[block.start], body[block.end - 1]
    if (first, last) != ((0x22, 0x22) if block.string else (0x7B, 0x7D)):
        raise CutError(f"{block.json_path} does not begin and end as a block does")
    if block.cut is None:
        return
    try:
        whole = msgspec.json.decode(body[block.start : block.end], type=dict[str, msgspec.Raw])
        rest = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise CutError(f"{block.json_path} is no JSON object once its cache_control is cut: {error}") from None
    whole.pop("cache_control", None)
    if {key: bytes(value) for key, value in whole.items()} != {key: bytes(value) for key, value in rest.items()}:
        raise CutError(f"{block.json_path} is another block once its cache_control is cut")


def _order(document: Sequence[BlockSpan]) -> int:
    seen = list(dict.fromkeys(SECTIONS.index(block.section) for block in document))
    return ORDERS.index(tuple(seen + [section for section in range(3) if section not in seen]))


def _split(body: bytes, start: int, end: int, boundaries: list[int]) -> tuple[bytes, ...]:
    """Split the bytes between two blocks where members begin: what never changes is then apart from what does."""
    inner = boundaries[bisect_right(boundaries, start) : bisect_left(boundaries, end)]
    edges = [start, *inner, end]
    return tuple(body[low:high] for low, high in pairwise(edges) if low < high)
