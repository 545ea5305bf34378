"""A request's prompt as a chain: each block with the hash of everything up to and including it.

Apart because this is what "the same prefix" means for the bill, and it must match what the API caches by: blocks in
the order tools, system, messages; `cache_control` is no part of them; a string is one text block; Claude Code's billing
header is not there at all; tools with `defer_loading` are not there until a result refers to them; and older models
drop the thinking of earlier turns once a plain user message follows.

Reads bodies through `sansio.messages`, so its blocks are those of the store and of attribution, one to one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from operator import eq, is_
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.accounting.features import read_block, read_tool
from claudeproxy.sansio.messages import Section, exact_block, is_billing_header, layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.accounting.features import BlockMakeup
    from claudeproxy.accounting.models import ModelTraits
    from claudeproxy.sansio.jsonspans import Member
    from claudeproxy.sansio.messages import BlockSpan

MAX_MAKEUPS = 4_096  # blocks whose make-up is remembered, some 570 bytes each: twenty conversations of 200 blocks
_RECENT = 4  # conversations that go on beside each other: their last chains are kept to be compared with
_RECENT_BYTES = 2 << 20  # of a body that is kept so
_DIGEST = 8  # collisions among a ledger's 150,000 rows: one in 10^9; each costs a row in the database
_HOUR = re.compile(rb'"ttl"\s*:\s*"1h"')
_DEFERRED = re.compile(rb'"defer_loading"\s*:\s*true')
_THINKING = frozenset({"thinking", "redacted_thinking"})


class Link(NamedTuple):
    """One block of the prompt as the model sees it. A tuple: there are hundreds in a request."""

    block: int  # its place in `RequestLayout.blocks`
    key: bytes  # the block itself, and whether it opens a message
    prefix: bytes  # all blocks up to and including this one
    makeup: BlockMakeup
    opens: bool  # first block of its message that the model sees
    message: int  # index of its message, -1 for tools and system
    assistant: bool
    ttl: str | None  # "5m" or "1h" where a cache breakpoint stands

    @property
    def thinking(self) -> bool:
        """Whether it is thinking, visible or not."""
        return self.makeup.kind in _THINKING


@dataclass(frozen=True, slots=True)
class Prompt:
    """The chain of a request. `size` is the number of blocks of its layout; those without a link cost nothing."""

    links: tuple[Link, ...]
    size: int
    tools: bool  # there is a tool that is not deferred: the API adds its preamble
    deferred: dict[str, BlockMakeup]


class _Read(NamedTuple):
    """A block of a chain that was read, with all that its bytes and its place say."""

    place: tuple[Section, str, bool]  # section, role, whether it is a bare string
    key: bytes  # of the block alone
    makeup: BlockMakeup
    deferred: bool
    header: bool  # the billing header
    before: bytes  # the prefix that it was added to
    link: Link | None  # None: the model did not see it


class _Chain(NamedTuple):
    """A body that was read, block by block."""

    spans: Sequence[BlockSpan] = ()
    raws: Sequence[bytes] = ()
    blocks: Sequence[_Read] = ()
    links: Sequence[Link | None] = ()  # None: the model did not see it
    drop_before: int = -1


class ChainReader:
    """Makes chains, and remembers the make-up of blocks it has seen: a turn then costs its new blocks only.

    The last chains are kept with their bytes: what a turn repeats is compared, which is ten times cheaper than hashing.
    """

    def __init__(self, traits: ModelTraits, *, size: int = MAX_MAKEUPS) -> None:
        self._traits = traits
        self._size = size
        self._makeups: OrderedDict[bytes, BlockMakeup] = OrderedDict()
        self._recent: list[_Chain] = []  # the latest last

    def read(self, body: bytes) -> Prompt:
        """Cut a request body into its chain.

        :raises JSONSpanError: when it cannot be cut (`sansio.messages.layout`).
        """
        cut = layout(body)
        like = max(self._recent, key=lambda chain: sum(map(is_, cut.blocks, chain.spans)), default=_Chain())
        same = list(map(is_, cut.blocks, like.spans))
        same += [False] * (len(cut.blocks) + 1 - len(same))  # one more: there the last run of them ends
        raws = [like.raws[i] if same[i] else exact_block(body, span) for i, span in enumerate(cut.blocks)]
        if not any(same):  # the body that `layout` went on from is another, or none: what counts is what it says
            like = max(self._recent, key=lambda chain: sum(map(eq, raws, chain.raws)), default=_Chain())
        blocks = [like.blocks[i] if same[i] else self._block(span, raws, i, like) for i, span in enumerate(cut.blocks)]
        drop_before = -1
        if self._traits.drops_thinking:
            drop_before = _last_plain_message(cut.blocks, [block.makeup for block in blocks])
        seen: list[Link | None] = []
        deferred: dict[str, BlockMakeup] = {}
        prefix, message = b"", -1
        for index, (span, block) in enumerate(zip(cut.blocks, blocks, strict=True)):
            if index < len(seen):
                continue
            if block.deferred:
                deferred.update(dict.fromkeys(block.makeup.references, block.makeup))
            if block.deferred or block.header or (span.message_index < drop_before and block.makeup.kind in _THINKING):
                seen.append(None)
                continue
            opens = span.message_index >= 0 and span.message_index != message
            message = span.message_index
            ttl = _ttl(body, span)
            link = block.link
            if link is None or block.before != prefix or link.opens != opens or link.message != message:
                key = blake2b(block.key + (b"+" if opens else b"-"), digest_size=_DIGEST).digest()
                after = blake2b(prefix + key, digest_size=_DIGEST).digest()
                link = Link(index, key, after, block.makeup, opens, message, span.role == "assistant", ttl)
            elif link.ttl != ttl:
                link = link._replace(ttl=ttl)
            if link is not block.link:
                blocks[index] = block._replace(before=prefix, link=link)
                seen.append(link)
            elif same[index] and message >= 0 and drop_before == like.drop_before and link is like.links[index]:
                # From the same place on the same blocks give the same links.
                seen += like.links[index : same.index(False, index)]
                link = next(filter(None, reversed(seen)))
                message = link.message
            else:
                seen.append(link)
            prefix = link.prefix
        self._keep(_Chain(cut.blocks, raws, blocks, seen, drop_before), len(body))
        links = list(filter(None, seen))
        if links and links[-1].ttl is None and (ttl := _automatic(body, cut.members)) is not None:
            links[-1] = links[-1]._replace(ttl=ttl)
        tools = any(cut.blocks[link.block].section is Section.TOOLS for link in links)
        return Prompt(tuple(links), len(cut.blocks), tools, deferred)

    def _block(self, span: BlockSpan, raws: list[bytes], index: int, like: _Chain) -> _Read:
        """Read a block, unless the chain that is most like this one has it in the same place."""
        raw, place = raws[index], (span.section, span.role, span.string)
        if index < len(like.raws) and like.raws[index] == raw and like.blocks[index].place == place:
            raws[index] = like.raws[index]  # one copy of what many turns repeat
            return like.blocks[index]
        key, makeup = self._makeup(span, raw)
        deferred = span.section is Section.TOOLS and _is_deferred(raw)
        return _Read(place, key, makeup, deferred, is_billing_header(span.section, raw), b"", None)

    def _keep(self, chain: _Chain, length: int) -> None:
        """Keep a chain, in place of the one that it goes on from."""
        if length > _RECENT_BYTES:
            return
        earlier = [one for one in self._recent if 2 * sum(map(eq, chain.raws, one.raws)) < len(one.raws)]
        self._recent = [*earlier[1 - _RECENT :], chain]

    def _makeup(self, span: BlockSpan, raw: bytes) -> tuple[bytes, BlockMakeup]:
        """Return the block's own hash and its make-up. A bare string and a text block that says the same are one."""
        text = b'{"type":"text","text":' + raw + b"}" if span.string else raw
        role = b"tool" if span.section is Section.TOOLS else span.role.encode("utf-8", "surrogatepass")
        key = blake2b(role + b"\0" + text, digest_size=_DIGEST).digest()
        makeup = self._makeups.get(key)
        if makeup is None:
            read = read_tool if span.section is Section.TOOLS else read_block
            makeup = self._makeups[key] = read(text, self._traits)
            if len(self._makeups) > self._size:
                self._makeups.popitem(last=False)
        else:
            self._makeups.move_to_end(key)
        return key, makeup


def _last_plain_message(blocks: Sequence[BlockSpan], makeups: Sequence[BlockMakeup]) -> int:
    """Return the index of the last user message without a tool result; thinking before it is gone."""
    users, results = set(), set()
    for span, makeup in zip(blocks, makeups, strict=True):
        if span.role == "user":
            users.add(span.message_index)
            if makeup.kind == "tool_result":
                results.add(span.message_index)
    return max(users - results, default=-1)


def _is_deferred(raw: bytes) -> bool:
    return b'"defer_loading"' in raw and _DEFERRED.search(raw) is not None


def _ttl(body: bytes, span: BlockSpan) -> str | None:
    return None if span.cut is None else _lifetime(body[span.cut[0] : span.cut[1]].rstrip(b", \t\r\n"))


def _automatic(body: bytes, members: Sequence[Member]) -> str | None:
    """Return the lifetime of a top-level `cache_control`: the API then sets a breakpoint at the last block."""
    for member in members:
        if member.key == "cache_control":
            return _lifetime(body[member.start : member.end])
    return None


def _lifetime(member: bytes) -> str | None:
    return None if member.endswith(b"null") else "1h" if _HOUR.search(member) else "5m"
