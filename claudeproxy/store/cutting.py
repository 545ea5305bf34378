"""A body cut for storage: its blocks with their places, and the bytes between them. Pure, no database.

Apart from `sansio.messages`, which says what a block is, because what is done about changing parts is the store's own
matter: a block that is new in every request (the client's billing header) would give every later block a new path, so
a placeholder stands in its place and its bytes go into the request's skeleton.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.messages import exact_block, is_billing_header, layout
from claudeproxy.store.places import SECTIONS
from claudeproxy.store.skeleton import ORDERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.sansio.messages import BlockSpan

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


class _Cut(NamedTuple):
    """A block that was cut lately: its piece, and the blocks before it, in the prompt and in the document."""

    block: BlockSpan
    before: BlockSpan | None
    above: BlockSpan | None
    piece: Piece


_RECENT = 3  # bodies: of the main conversation and its agents
_RECENT_BYTES = 2 << 20  # of a body whose pieces are kept
_recent: tuple[Mapping[int, _Cut], ...] = ()  # by the identity of the block, the latest first; replaced as a whole


def cut_body(body: bytes) -> CutBody:
    """Cut a Messages API request body.

    A piece between the same two blocks as in a body before is taken from there (`sansio.messages.layout` gives the same
    block for the same bytes).

    :raises ProtocolError: when it cannot be cut, or a cut is not where the JSON parser sees it.
    """
    global _recent
    found = layout(body)
    boundaries = [member.key_start for member in found.members]
    document = sorted(found.blocks, key=lambda block: block.start)
    above: dict[int, BlockSpan | None] = dict(zip(map(id, document), (None, *document), strict=False))
    cuts: dict[int, _Cut] = {}
    before: BlockSpan | None = None
    recent = max(_recent, key=lambda one: len(one.keys() & above.keys()), default=cuts)
    for block in found.blocks:
        known, over = recent.get(id(block)), above[id(block)]
        if known is not None and known.block is block and known.before is before and known.above is over:
            cuts[id(block)] = known
        else:
            gap = _split(body, 0 if over is None else over.end, block.start, boundaries)
            cuts[id(block)] = _Cut(block, before, over, _piece(body, block, before, gap))
        before = block
    if len(body) <= _RECENT_BYTES:
        goes_on = 2 * len(cuts.keys() & recent.keys()) > len(recent)
        _recent = (cuts, *(one for one in _recent if not (goes_on and one is recent)))[:_RECENT]
    end = document[-1].end if document else 0
    return CutBody(
        pieces=tuple(cut.piece for cut in cuts.values()),
        order=_order(document),
        tail=_split(body, end, len(body), boundaries),
    )


def _piece(body: bytes, block: BlockSpan, before: BlockSpan | None, gap: tuple[bytes, ...]) -> Piece:
    """Cut one block; `before` is the one before it in the prompt."""
    item, message = -1, -1
    if before is not None:
        message = before.message_index
        if before.section is block.section and not block.opens_message:
            item = before.index
    data = exact_block(body, block)
    _check(body, block, data)
    return Piece(
        data,
        SECTIONS.index(block.section),
        block.role,
        block.opens_message,
        is_billing_header(block.section, data),
        0 if block.string else block.index - item - 1,
        block.message_index - message - 1 if block.opens_message else 0,
        block.message_index,
        -1 if block.string else block.index,
        gap,
        (block.cut[0] - block.start, body[block.cut[0] : block.cut[1]]) if block.cut else None,
    )


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
