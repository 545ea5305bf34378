"""Secrets that a streamed answer spells in pieces: one event says ``sk-ant-``, the next ones the rest.

Apart from `finder`, which sees bytes: between two deltas stand some fifty bytes of JSON, so no expression over the
bytes finds what their texts say together. Here the strings of all deltas of a block are joined and searched; what is
found is laid back over the pieces. It needs the whole answer, so it is the recorder's work, not the relay's.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.capture.finder import Found, mask
from claudeproxy.sansio.jsonspans import JSONSpanError, object_members

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.capture.finder import SecretFinder

_DATA = re.compile(rb"^data: ?(\{[^\r\n]*_delta[^\r\n]*\})[ \t]*\r?$", re.MULTILINE)
_TEXTS = frozenset({"text", "partial_json", "thinking"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A secret over several pieces: `found` has the place of its first byte, `patches` where to write which bytes."""

    found: Found
    patches: tuple[tuple[int, bytes], ...]


def find_spread(body: bytes, finder: SecretFinder) -> list[Spread]:
    """What is spelled over more than one delta of an event stream (decoded), in the order of the blocks."""
    pieces: dict[tuple[bytes, str], list[tuple[int, int]]] = defaultdict(list)
    for match in _DATA.finditer(body):
        for key, start, end in _strings(body, *match.span(1)):
            pieces[key].append((start, end))
    return [spread for spans in pieces.values() if len(spans) > 1 for spread in _found_in(body, spans, finder)]


def _strings(body: bytes, start: int, end: int) -> Iterator[tuple[tuple[bytes, str], int, int]]:
    """The strings that an event adds to its block: (block, member), and the bytes between their quotes."""
    try:
        event = {member.key: member for member in object_members(body, start, end)}
        delta = event.get("delta")
        if delta is None or body[delta.start] != ord("{"):
            return
        index = event.get("index")
        block = b"" if index is None else body[index.start : index.end]
        for member in object_members(body, delta.start, delta.end):
            if member.key in _TEXTS and body[member.start] == ord('"'):
                yield (block, member.key), member.start + 1, member.end - 1
    except JSONSpanError:
        return


def _found_in(body: bytes, spans: list[tuple[int, int]], finder: SecretFinder) -> Iterator[Spread]:
    joined = b"".join(body[start:end] for start, end in spans)
    for one in finder.scan(joined):
        masked = mask(joined[one.start : one.start + one.length], one)
        patches = tuple(_laid(spans, one.start, masked))
        if len(patches) > 1:  # one piece alone is found as bytes
            found = Found(rule=one.rule, hash=one.hash, start=patches[0][0], length=one.length)
            yield Spread(found=found, patches=patches)


def _laid(spans: list[tuple[int, int]], at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Lay `data`, which begins `at` bytes into the joined pieces, over the pieces themselves."""
    for start, end in spans:
        length = end - start
        if at < length and data:
            part = data[: length - at]
            yield start + at, part
            data, at = data[len(part) :], 0
        else:
            at -= length if data else 0
