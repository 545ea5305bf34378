"""Stateful threads: the whole context of a request that sends only what is new.

``"thread": {"type": "continue", "previous_message_id": ...}`` stands on a conversation that the API keeps: the context
of the request which that message answered, the message itself, then the messages sent now (wire.md, section 1). The
client may leave out tools and system prompt as well. What was billed is the whole, so the whole is what is explained.

Apart from `messages` because here a body is written, not read. The result is a body in the one sense that it can be
laid out: blocks keep their exact bytes, so that the store finds each one again. Where earlier blocks come from is the
caller's matter.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from claudeproxy.sansio.messages import Section, is_billing_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.sansio.messages import RequestLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextBlock:
    """One block of an effective context: its exact bytes (bare strings with their quotes) and its place."""

    section: Section
    role: str  # "system" for tools and system
    raw: bytes
    opens_message: bool = True  # first block of its message; means nothing for tools and system


def answer_blocks(content: object) -> list[ContextBlock]:
    """Return the blocks of a response's `content`; nothing when it is no list of blocks.

    The answer came in pieces: its blocks are written here for the first time, compact, keys in the API's order.
    """
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return [
        ContextBlock(section=Section.MESSAGES, role="assistant", raw=_compact(block), opens_message=number == 0)
        for number, block in enumerate(blocks)
    ]


def continue_body(body: bytes, cut: RequestLayout, earlier: Sequence[ContextBlock]) -> bytes:
    """Return the body that would have been sent without a thread: `earlier`, then what `body` says.

    Its own tools and its own system prompt take the place of the earlier ones; a system prompt that is the client's
    billing header alone replaces only that. Everything else stands as in `body`, whose layout is `cut`.
    """
    last = {member.key: member for member in cut.members}
    own = {section: [b for b in cut.blocks if b.section is section] for section in Section}
    before: dict[Section, list[ContextBlock]] = {section: [] for section in Section}
    for block in earlier:
        if not is_billing_header(block.section, block.raw):  # it belongs to its own request
            before[block.section].append(block)
    headers_only = all(is_billing_header(b.section, body[b.start : b.end]) for b in own[Section.SYSTEM])
    members = [body[m.key_start : m.end] for m in cut.members if m is last[m.key] and m.key not in frozenset(Section)]
    if own[Section.TOOLS]:
        members.append(b'"tools":' + body[last["tools"].start : last["tools"].end])
    elif before[Section.TOOLS]:
        members.append(b'"tools":' + _array(block.raw for block in before[Section.TOOLS]))
    if own[Section.SYSTEM] and not headers_only:
        members.append(b'"system":' + body[last["system"].start : last["system"].end])
    elif own[Section.SYSTEM] or before[Section.SYSTEM]:
        texts = [body[b.start : b.end] for b in own[Section.SYSTEM]] + [b.raw for b in before[Section.SYSTEM]]
        members.append(b'"system":' + _array(_as_block(text) for text in texts))
    messages = _messages(before[Section.MESSAGES])
    if (sent := last.get("messages")) is not None and (new := body[sent.start + 1 : sent.end - 1].strip()):
        messages.append(new)
    members.append(b'"messages":' + _array(messages))
    return b"{" + b",".join(members) + b"}"


def _messages(blocks: Iterable[ContextBlock]) -> list[bytes]:
    count = 0

    def number(block: ContextBlock) -> int:
        nonlocal count
        count += block.opens_message
        return count

    messages = []
    for _, group in groupby(blocks, key=number):
        inside = list(group)
        bare = len(inside) == 1 and inside[0].raw.startswith(b'"')
        content = inside[0].raw if bare else _array(_as_block(block.raw) for block in inside)
        messages.append(b'{"role":' + _compact(inside[0].role) + b',"content":' + content + b"}")
    return messages


def _as_block(raw: bytes) -> bytes:
    """Return a bare string as the text block that it stands for, to stand in a list."""
    return b'{"type":"text","text":' + raw + b"}" if raw.startswith(b'"') else raw


def _array(items: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
