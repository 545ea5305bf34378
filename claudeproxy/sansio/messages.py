"""How a Messages API request body is laid out: its blocks, where each one's bytes begin and end, and in which place.

Apart because three parties must agree to the byte on what a block is: the store (which keeps each block once),
attribution (which explains it) and accounting (which counts it). A block is a tool, a block of the system prompt or a
content block of a message; a bare string (system or content) is one block as well. Blocks come in prompt order, the
order in which the API reads and caches them (tools, system, messages), whatever the order in the document.

Knows no block types and no sources. What it does not recognise stays outside every block: keys of any name, items that
are no objects. Of duplicate keys the last one counts, as in `JSON.parse`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.sansio.contents import scan
from claudeproxy.sansio.jsonspans import JSONSpanError, Member, array_items, check_items, object_members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from claudeproxy.sansio.contents import Contents

BILLING_HEADER = "x-anthropic-billing-header:"  # wire.md 3.1: first system block of Claude Code, new in every request
_CACHE_CONTROL = b'"cache_control"'

_OPENING = b'{"messages":[{"content":""'  # of a body in place of all that a known one says already
_STRIDE = 1 << 16  # bytes that are compared at once

MAX_BLOCKS = 100_000
"""In one request; beyond it a body is not worth cutting. See `jsonspans.MAX_ITEMS`."""


class Section(StrEnum):
    """The parts of a prompt, in the order in which the API lays them end to end."""

    TOOLS = "tools"
    SYSTEM = "system"
    MESSAGES = "messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpan:
    """One block in its place. Offsets are bytes in the body."""

    section: Section
    index: int  # position in its array; 0 for a bare string
    message_index: int  # -1 for tools and system
    role: str  # "system" for tools and system; as the message says otherwise, "" when it says nothing readable
    start: int
    end: int  # the whole value, `cache_control` included
    cut: tuple[int, int] | None  # the block's own cache_control member with the comma that joins it
    string: bool  # system or content is a bare string
    opens_message: bool  # first block of its message

    @property
    def json_path(self) -> str:
        """Where the block stands: ``$.tools[3]``, ``$.system``, ``$.messages[0].content[2]``."""
        where = f"$.messages[{self.message_index}].content" if self.section is Section.MESSAGES else f"$.{self.section}"
        return where if self.string else f"{where}[{self.index}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestLayout:
    """The cut body: blocks in prompt order, top-level members in document order."""

    blocks: tuple[BlockSpan, ...]
    members: tuple[Member, ...]
    length: int


class _Cut(NamedTuple):
    """A body that was cut lately. A turn repeats it nearly to its end, and takes over what is the same."""

    body: bytes
    layout: RequestLayout
    contents: Contents
    blocks: Mapping[int, Sequence[BlockSpan]]  # by message
    sections: Mapping[Section, tuple[Member, Sequence[BlockSpan]]]  # tools and system, as far as they are there


_RECENT = 3  # conversations beside each other, the main one and its agents
_RECENT_BYTES = 2 << 20  # of a body that is kept for it
_recent: tuple[_Cut, ...] = ()  # the latest first; replaced as a whole, so that threads may read it at any time


def layout(body: bytes) -> RequestLayout:
    """Cut a request body into its blocks.

    All of it is scanned; blocks of messages that begin another body in the same bytes are the very objects that were
    made for that one, which tells whoever works block by block what it has worked at before.

    :raises JSONSpanError: when it cannot be cut: no JSON object, `messages` no list, a message no object, more than
        MAX_BLOCKS blocks. The caller then keeps the body whole.
    """
    global _recent  # the store cuts a body, attribution explains it, accounting counts it
    recent = _recent
    for one in recent:
        if one.body == body:
            return one.layout
    cut = _cut(body, recent)
    if len(body) <= _RECENT_BYTES:
        shared = [one for one in recent if not _goes_on(cut, one)]
        _recent = (cut, *shared[: _RECENT - 1])
    return cut.layout


def _cut(body: bytes, recent: Sequence[_Cut]) -> _Cut:
    known, same = _most_alike(body, recent)
    found = None if known is None else _go_on(body, known, same)
    members, contents = found or scan(body)
    last = {member.key: member for member in members}
    sections = {
        section: (last[section], _section(body, section, last[section], known, same))
        for section in (Section.TOOLS, Section.SYSTEM)
        if section in last
    }
    blocks = [block for _, found in sections.values() for block in found]
    by_message = {}
    for index, content in contents.items():
        if len(blocks) > MAX_BLOCKS:
            break
        role, start, end = content
        if known is not None and end <= same and known.contents.get(index) == content:
            by_message[index] = known.blocks[index]
        else:
            by_message[index] = _value_blocks(body, Section.MESSAGES, start, end, message_index=index, role=role)
        blocks += by_message[index]
    if len(blocks) > MAX_BLOCKS:
        raise JSONSpanError(f"more than {MAX_BLOCKS} blocks")
    made = RequestLayout(blocks=tuple(blocks), members=tuple(members), length=len(body))
    return _Cut(body, made, contents, by_message, sections)


def _go_on(body: bytes, known: _Cut, same: int) -> tuple[list[Member], Contents] | None:
    """Do as `scan`, reading only what follows the messages that stand in the first `same` bytes of a known body.

    Read is a shorter body, in which one message that ends as the last of those does stands for all before. JSON is read
    from left to right, so what comes then means the same in both. None: there is nothing to go on from, or it is not so
    simple.
    """
    inside = [index for index, (_, _, end) in known.contents.items() if 0 < end <= same][:-1]  # the last may differ yet
    if not inside:
        return None
    first = inside[-1]
    at = known.contents[first][2]
    shift = at - len(_OPENING)
    try:
        members, contents = scan(_OPENING + body[at:])
    except JSONSpanError:
        return None
    if [member.key for member in members].count("messages") > 1:
        return None
    check_items(first + len(contents))
    before = [member for member in known.layout.members if member.start < at]
    moved = [Member(one.key, one.key_start + shift, one.start + shift, one.end + shift) for one in members]
    kept = {index: known.contents[index] for index in range(first + 1)}
    for index in range(1, len(contents)):
        role, start, end = contents[index]
        kept[first + index] = (role, start + shift, end + shift) if end else (role, 0, 0)
    return [*before[:-1], replace(before[-1], end=moved[0].end), *moved[1:]], kept


def _most_alike(body: bytes, recent: Sequence[_Cut]) -> tuple[_Cut | None, int]:
    """Return the body that is the same for longest from its beginning, and for how many bytes."""
    best, length = None, 0
    for one in recent:
        if (same := common_prefix(body, one.body)) > length:
            best, length = one, same
    return best, length


def _goes_on(cut: _Cut, earlier: _Cut) -> bool:
    """Whether a conversation went on: the earlier turn will not be compared with any more."""
    first = next(iter(earlier.blocks.values()), ())
    return bool(first) and cut.blocks.get(0) is first


def common_prefix(one: bytes, other: bytes) -> int:
    """Return how many bytes two byte strings have in common from their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high and one[low : low + _STRIDE] == other[low : low + _STRIDE]:
        low += _STRIDE
    low, high = min(low, high), min(low + _STRIDE, high)
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def exact_block(body: bytes, block: BlockSpan) -> bytes:
    """Return the block's bytes without its own `cache_control` member: what the store keeps and hashes."""
    if block.cut is None:
        return body[block.start : block.end]
    return body[block.start : block.cut[0]] + body[block.cut[1] : block.end]


def is_billing_header(section: Section, block_json: bytes) -> bool:
    """Tell whether this is Claude Code's billing header: new in every request, no part of what the API caches by."""
    if section is not Section.SYSTEM or BILLING_HEADER.encode() not in block_json[:4096]:
        return False
    try:
        block = json.loads(block_json)
    except (ValueError, RecursionError):
        return False
    text = block.get("text") if isinstance(block, dict) else block
    return isinstance(text, str) and text.startswith(BILLING_HEADER)


def _section(body: bytes, section: Section, member: Member, known: _Cut | None, same: int) -> Sequence[BlockSpan]:
    """Return the blocks of `tools` or `system`: those of a known body where it has them too, moved as far as needed."""
    if known is not None and section in known.sections:
        earlier, blocks = known.sections[section]
        if body[member.start : member.end] == known.body[earlier.start : earlier.end]:
            shift = member.start - earlier.start
            return blocks if not shift and member.end <= same else [_moved(block, shift) for block in blocks]
    if section is Section.TOOLS and body[member.start] == ord('"'):
        return []
    return _value_blocks(body, section, member.start, member.end, message_index=-1, role="system")


def _moved(block: BlockSpan, shift: int) -> BlockSpan:
    """Return the same block so many bytes further on. Written out: `dataclasses.replace` takes three times as long."""
    return BlockSpan(
        section=block.section,
        index=block.index,
        message_index=block.message_index,
        role=block.role,
        start=block.start + shift,
        end=block.end + shift,
        cut=None if block.cut is None else (block.cut[0] + shift, block.cut[1] + shift),
        string=block.string,
        opens_message=block.opens_message,
    )


def _value_blocks(
    body: bytes, section: Section, start: int, end: int, *, message_index: int, role: str
) -> list[BlockSpan]:
    """Return the blocks of one `tools`, `system` or `content` value: a string, a list, or nothing that we know."""
    if end > start and body[start] == ord('"'):
        items, string = [(0, start, end)], True
    elif end > start and body[start] == ord("["):
        spans = enumerate(array_items(body, start, end))
        items, string = [(index, low, high) for index, (low, high) in spans if body[low] == ord("{")], False
    else:
        return []
    return [
        BlockSpan(
            section=section,
            index=index,
            message_index=message_index,
            role=role,
            start=low,
            end=high,
            cut=None if string else _cache_control(body, low, high),
            string=string,
            opens_message=section is Section.MESSAGES and number == 0,
        )
        for number, (index, low, high) in enumerate(items)
    ]


def _cache_control(body: bytes, start: int, end: int) -> tuple[int, int] | None:
    """Find the object's one cache_control member, with one comma: the rest is then what stands there without it.

    A key spelled with escapes, or given twice, is left in: nobody sends it, and it costs a block of its own at most.
    """
    if body.find(_CACHE_CONTROL, start, end) < 0:  # most blocks: no second scan
        return None
    members = object_members(body, start, end)
    places = [place for place, member in enumerate(members) if member.key == "cache_control"]
    if len(places) != 1:
        return None
    place = places[0]
    if place > 0:
        return members[place - 1].end, members[place].end
    return members[0].key_start, members[1].key_start if len(members) > 1 else members[0].end
