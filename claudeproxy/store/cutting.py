"""A body cut for storage: its blocks with their places, and the bytes between them. Pure, no database.

Apart from `sansio.messages`, which says what a block is, because what is done about changing parts is the store's own
matter: a block that is new in every request (the client's billing header) would give every later block a new path, so
a placeholder stands in its place and its bytes go into the request's skeleton.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, compress, count, pairwise, starmap
from operator import is_not
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.messages import exact_block, is_billing_header, layout
from claudeproxy.store.places import MESSAGES, SECTIONS
from claudeproxy.store.skeleton import ORDERS

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class _Body(NamedTuple):
    """A body that was cut lately: blocks and pieces in prompt order, and which of them are of each section."""

    blocks: Sequence[BlockSpan]
    pieces: Sequence[Piece]
    sections: Sequence[range]
    spans: Sequence[bytes]  # from a section's first block to its last; of messages nothing


_RECENT = 3  # bodies: of the main conversation and its agents
_RECENT_BYTES = 2 << 20  # of a body whose pieces are kept
_NONE = _Body((), (), (range(0),) * 3, (b"",) * 3)
_recent: tuple[_Body, ...] = ()  # the latest first; replaced as a whole


def cut_body(body: bytes) -> CutBody:
    """Cut a Messages API request body.

    Pieces are taken over from a body before: those of messages where the blocks are the same objects
    (`sansio.messages.layout` gives the same block for the same bytes), those of tools and system where all bytes are
    the same.

    :raises ProtocolError: when it cannot be cut, or a cut is not where the JSON parser sees it.
    """
    global _recent
    found = layout(body)
    blocks, recent = found.blocks, _recent
    boundaries = [member.key_start for member in found.members]
    sections = _sections(blocks)
    document = sorted((one for one in sections if one), key=lambda one: blocks[one.start].start)
    over = {one.start: before[-1] for before, one in pairwise(document)}  # what stands before a section's first block
    over |= {one.start: -1 for one in document[:1]}
    spans = [body[blocks[one[0]].start : blocks[one[-1]].end] if one else b"" for one in sections[:MESSAGES]] + [b""]
    alike = [same_beginning(blocks[sections[-1].start :], one.blocks[one.sections[-1].start :]) for one in recent]
    known, shared = max(zip(recent, alike, strict=True), key=lambda one: one[1], default=(_NONE, 0))
    same = [len(one) if span == then else 0 for one, span, then in zip(sections, spans, known.spans, strict=True)]
    same[MESSAGES] = shared

    def cut(index: int) -> Piece:
        above = over.get(index, index - 1)
        gap = _split(body, blocks[above].end if above >= 0 else 0, blocks[index].start, boundaries)
        return _piece(body, blocks[index], blocks[index - 1] if index else None, gap)

    pieces: list[Piece] = []
    for one, then, taken in zip(sections, known.sections, same, strict=True):
        if not taken:
            pieces += map(cut, one)
            continue
        first, earlier = cut(one.start), known.pieces[then.start : then.start + taken]
        if first.item_index != earlier[0].item_index:  # something that is no block came before it
            pieces += (first, *map(cut, one[1:]))
        else:
            pieces += (earlier[0] if first == earlier[0] else first, *earlier[1:], *map(cut, one[taken:]))
    if len(body) <= _RECENT_BYTES:
        goes_on = 2 * shared > len(known.sections[MESSAGES])
        made = _Body(blocks, pieces, sections, spans)
        _recent = (made, *(one for one in recent if not (goes_on and one is known)))[:_RECENT]
    return CutBody(
        pieces=tuple(pieces),
        order=_order([sections.index(one) for one in document]),
        tail=_split(body, blocks[document[-1][-1]].end if document else 0, len(body), boundaries),
    )


def same_beginning(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many objects two sequences have in common from their beginning: the very same ones."""
    return next(compress(count(), map(is_not, one, other)), min(len(one), len(other)))


def _sections(blocks: Sequence[BlockSpan]) -> list[range]:
    """Return which blocks are tools, which system and which messages."""
    names = [block.section for block in blocks]
    return list(starmap(range, pairwise(accumulate(map(names.count, SECTIONS), initial=0))))


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


def _order(document: Sequence[int]) -> int:
    return ORDERS.index((*document, *(section for section in range(3) if section not in document)))


def _split(body: bytes, start: int, end: int, boundaries: list[int]) -> tuple[bytes, ...]:
    """Split the bytes between two blocks where members begin: what never changes is then apart from what does."""
    inner = boundaries[bisect_right(boundaries, start) : bisect_left(boundaries, end)]
    edges = [start, *inner, end]
    return tuple(body[low:high] for low, high in pairwise(edges) if low < high)
