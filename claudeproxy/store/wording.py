"""The words that full-text search finds: out of blocks, out of answers, and out of what somebody types.

Pure, apart from `search`, which keeps them: an index entry can only be taken away by saying the same words again, so
what is read from a block must never depend on anything but the block. When the reading changes, raise `VERSION`: the
whole index is made anew.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeGuard

from claudeproxy.store.text import clean
from claudeproxy.store.values import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
MAX_TEXT = 1_000_000  # characters of one block; what follows is not found
MAX_TERMS = 64  # of a query; FTS5 itself gives up at some hundreds

# Members of a content block that nobody looks for, and that would be half of the index: random strings and numbers.
_UNSPOKEN = frozenset(
    {"type", "id", "tool_use_id", "signature", "data", "media_type", "cache_control", "encrypted_content"}
)
_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')


def block_text(data: bytes) -> str:
    """Return the words of a stored block (a content block, or a bare string); empty when it has none."""
    try:
        return _joined(_block(parse_json(data)))
    except RecursionError:  # nested deeper than Python follows
        return ""


def answer_texts(message: object) -> list[str]:
    """Return the words of each content block of an answer: the same as of the block that repeats it later."""
    content = message.get("content") if _is_object(message) else None
    blocks = content if isinstance(content, list) else []
    try:
        return [text for text in (_joined(_block(block)) for block in blocks) if text]
    except RecursionError:
        return []


def match_expression(query: str) -> str | None:
    """Turn what somebody typed into an FTS5 query that holds all of its words; None when there is nothing to look for.

    ``"in quotes"`` is a phrase, ``begin*`` the beginning of a word; nothing else has a meaning or is an error.
    """
    terms = []
    for phrase, word in _TERM.findall(clean(query))[:MAX_TERMS]:
        text = phrase or word
        prefix = " *" if word.endswith("*") and word.strip("*") else ""
        if any(character.isalnum() for character in text):
            terms.append('"' + text.rstrip("*" if prefix else "") + '"' + prefix)
    return " ".join(terms) or None


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)


def _joined(strings: Iterator[str]) -> str:
    return clean("\n".join(strings)[:MAX_TEXT])


def _block(value: object) -> Iterator[str]:
    if not _is_object(value):
        yield from _strings(value)
        return
    for key in sorted(value):  # an answer and its repetition may differ in the order of members
        inner = value[key]
        if key in _UNSPOKEN:
            continue
        if key == "content" and isinstance(inner, list):
            for block in inner:
                yield from _block(block)
        elif key == "source" and _is_object(inner):
            yield from _block(inner)  # an image or a document: not its base64 data
        else:
            yield from _strings(inner)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif _is_object(value):
        for key in sorted(value):
            yield from _strings(value[key])
