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
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.sansio.jsonspans import JSONSpanError, Member, array_items, check_items, object_members, raw_spans

if TYPE_CHECKING:
    from collections.abc import Iterator

BILLING_HEADER = "x-anthropic-billing-header:"  # wire.md 3.1: first system block of Claude Code, new in every request
_CACHE_CONTROL = b'"cache_control"'

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


_ABSENT = msgspec.Raw()


class _Message(msgspec.Struct):
    """The two members of a message that matter; msgspec lets the last duplicate win and skips all others."""

    role: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT


_MESSAGES = msgspec.json.Decoder(list[_Message])
_ROLES = {b'"user"': "user", b'"assistant"': "assistant", b'"system"': "system"}


@lru_cache(maxsize=1)  # the store cuts a body, then attribution explains it: of a megabyte, either takes some ms
def layout(body: bytes) -> RequestLayout:
    """Cut a request body into its blocks.

    :raises JSONSpanError: when it cannot be cut: no JSON object, `messages` no list, a message no object, more than
        MAX_BLOCKS blocks. The caller then keeps the body whole.
    """
    members = object_members(body)
    last = {member.key: member for member in members}
    blocks = [
        *_blocks(body, Section.TOOLS, last.get("tools"), strings=False),
        *_blocks(body, Section.SYSTEM, last.get("system"), strings=True),
    ]
    if (messages := last.get("messages")) is not None:
        for index, (role, start, end) in enumerate(_contents(body, messages.start, messages.end)):
            if len(blocks) > MAX_BLOCKS:
                break
            blocks += _value_blocks(body, Section.MESSAGES, start, end, message_index=index, role=role)
    if len(blocks) > MAX_BLOCKS:
        raise JSONSpanError(f"more than {MAX_BLOCKS} blocks")
    return RequestLayout(blocks=tuple(blocks), members=tuple(members), length=len(body))


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


def _blocks(body: bytes, section: Section, member: Member | None, *, strings: bool) -> list[BlockSpan]:
    if member is None or (body[member.start] == ord('"') and not strings):
        return []
    return _value_blocks(body, section, member.start, member.end, message_index=-1, role="system")


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


def _contents(body: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yield role and span of `content` for each message; an empty span where it has none."""
    if body[start] != ord("["):
        raise JSONSpanError("`messages` is not a list")
    try:
        messages = _MESSAGES.decode(memoryview(body)[start:end])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        yield from _contents_slowly(body, start, end)
        return
    check_items(len(messages))
    spans = iter(raw_spans(body, [message.content for message in messages if message.content is not _ABSENT]))
    for message in messages:
        yield _role(bytes(message.role)), *(next(spans) if message.content is not _ABSENT else (0, 0))


def _contents_slowly(body: bytes, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    for low, high in array_items(body, start, end):
        members = {member.key: member for member in object_members(body, low, high)}
        role, content = members.get("role"), members.get("content")
        role_bytes = body[role.start : role.end] if role else b""
        yield _role(role_bytes), *((content.start, content.end) if content else (0, 0))


def _role(quoted: bytes) -> str:
    if (role := _ROLES.get(quoted)) is not None:
        return role
    try:
        value = json.loads(quoted)
    except (ValueError, RecursionError):
        return ""
    return value if isinstance(value, str) else ""
