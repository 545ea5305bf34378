"""Where the messages of a request body stand, and the content of each: the first reading of a body, before its blocks.

Apart from `messages`, which cuts blocks and takes over what a body before said already: this reads what it is given
from its first byte to its last, and remembers nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from claudeproxy.sansio.jsonspans import JSONSpanError, Member, array_items, check_items, object_members, raw_spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Contents: TypeAlias = "Mapping[int, tuple[str, int, int]]"  # by message: role and span of its content

_ABSENT = msgspec.Raw()


class _Message(msgspec.Struct):
    """The two members of a message that matter; msgspec lets the last duplicate win and skips all others."""

    role: msgspec.Raw = _ABSENT
    content: msgspec.Raw = _ABSENT


_MESSAGES = msgspec.json.Decoder(list[_Message])
_ROLES = {b'"user"': "user", b'"assistant"': "assistant", b'"system"': "system"}


def scan(body: bytes) -> tuple[list[Member], Contents]:
    """Return the members of a body and the contents of its messages, read from its first byte to its last."""
    members = object_members(body)
    messages = next((member for member in reversed(members) if member.key == "messages"), None)
    found = _contents(body, messages.start, messages.end) if messages is not None else ()
    return members, dict(enumerate(found))


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
