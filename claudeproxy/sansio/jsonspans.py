"""Where JSON values stand in their bytes: spans of object members and array items, without building the values.

Apart because parsers give values and throw the places away, while the store cuts bodies at exactly these places and
attribution points into them. Two scanners, the second only where the first refuses:

1. `msgspec.Raw` keeps a view of each value; the difference of buffer addresses (`cffi`) is its offset: 370 MB/s and
   more. It refuses lone surrogates (JavaScript emits them when it cuts text), a byte order mark and deep nesting, and
   it drops duplicate keys. What stands between two values is therefore matched against the grammar: where that does
   not fit, a member was dropped.
2. The standard library's C scanner on the same bytes read as Latin-1, so that character offsets are byte offsets.

What both refuse raises `JSONSpanError`: the caller keeps such a body whole. Nothing here decodes strings other than
keys, and UTF-8 inside string values is not validated.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import msgspec
from _cffi_backend import FFI

from claudeproxy.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ITEMS = 100_000
"""In one array: the API takes as many messages at most. 32 MB of ``{}`` are ten million, minutes and gigabytes."""

BOM = b"\xef\xbb\xbf"  # RFC 8259, section 8.1: must not be sent, may be ignored; servers that use a text decoder do

_WS = rb"[ \t\n\r]*"
_MEMBER_GAP = re.compile(_WS + rb"([{,])" + _WS + rb'("[^"\\]*(?:\\.[^"\\]*)*")' + _WS + b":" + _WS, re.DOTALL)
_ITEM_GAP = re.compile(_WS + rb"([\[,])" + _WS)
_OBJECT_END = re.compile(_WS + b"}" + _WS)
_ARRAY_END = re.compile(_WS + b"]" + _WS)
_EMPTY_OBJECT = re.compile(_WS + b"{" + _WS + b"}" + _WS)
_EMPTY_ARRAY = re.compile(_WS + rb"\[" + _WS + b"]" + _WS)

# cffi without its parser of C declarations, which takes 0.1 s to import and has nothing to parse here.
_FFI = FFI()
_UINTPTR = _FFI.typeof("uintptr_t")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


class JSONSpanError(ProtocolError):
    """These bytes are not the JSON container that was asked for, or neither scanner can read them."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object. Offsets are bytes in the whole body: of the key's opening quote, and of the value."""

    key: str  # decoded; may hold lone surrogates
    key_start: int
    start: int
    end: int


def object_members(body: bytes, start: int = 0, end: int | None = None) -> list[Member]:
    """Return the members of the object that fills ``body[start:end]`` (white space around it is allowed), in order.

    Duplicate keys all appear, in their order; `JSON.parse` and Python let the last one win.

    :raises JSONSpanError: when it is not an object, or cannot be scanned.
    """
    start, end = _bounds(body, start, end)
    try:
        values = _OBJECT.decode(memoryview(body)[start:end])
        spans = [(key, *span) for key, span in zip(values, raw_spans(body, values.values()), strict=True)]
        members = _members_between(body, start, end, sorted(spans, key=lambda item: item[1]))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        members = None
    return _scan_object(body, start, end) if members is None else members


def array_items(body: bytes, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """Return the spans of the items of the array that fills ``body[start:end]``.

    :raises JSONSpanError: when it is not an array, cannot be scanned, or has more than MAX_ITEMS items.
    """
    start, end = _bounds(body, start, end)
    try:
        values = _ARRAY.decode(memoryview(body)[start:end])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return _scan_array(body, start, end)
    check_items(len(values))
    return raw_spans(body, values)


def check_items(count: int) -> None:
    """Refuse an array that is too long to be worth its places.

    :raises JSONSpanError: it has more than MAX_ITEMS items.
    """
    if count > MAX_ITEMS:
        raise JSONSpanError(f"an array of more than {MAX_ITEMS} items")


def raw_spans(body: bytes, values: Iterable[msgspec.Raw]) -> list[tuple[int, int]]:
    """Return where in `body` each `msgspec.Raw` stands that was decoded from it (or from a view of it).

    :raises JSONSpanError: when a value does not lie inside `body`: msgspec copied, and addresses say nothing.
    """
    base = _address(body)
    spans = []
    for value in values:
        start = _address(value) - base
        end = start + memoryview(value).nbytes
        if not 0 <= start < end <= len(body):
            raise JSONSpanError("a raw value does not lie in the bytes that it was decoded from")
        spans.append((start, end))
    return spans


def _address(data: bytes | msgspec.Raw) -> int:
    return int(_FFI.cast(_UINTPTR, _FFI.from_buffer(data)))


def _bounds(body: bytes, start: int, end: int | None) -> tuple[int, int]:
    if start == 0 and body.startswith(BOM):
        start = len(BOM)
    return start, len(body) if end is None else end


def _members_between(body: bytes, start: int, end: int, spans: list[tuple[str, int, int]]) -> list[Member] | None:
    """Find the keys in front of the values; None when something else stands there, a dropped duplicate for one."""
    if not spans:
        return [] if _EMPTY_OBJECT.fullmatch(body, start, end) else None
    members = []
    before, opening = start, b"{"
    for key, value_start, value_end in spans:
        gap = _MEMBER_GAP.fullmatch(body, before, value_start)
        if gap is None or gap[1] != opening:
            return None
        members.append(Member(key, gap.start(2), value_start, value_end))
        before, opening = value_end, b","
    return members if _OBJECT_END.fullmatch(body, before, end) else None


# --- the second scanner ---------------------------------------------------------------------------------------


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


# Numbers stay text: a long one would make int() raise (the 4,300 digit limit) and nobody here wants its value.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse, object_pairs_hook=len)


def _value_end(text: str, at: int) -> int:
    try:
        return _DECODER.raw_decode(text, at)[1]
    except (ValueError, RecursionError) as error:
        raise JSONSpanError(f"not JSON at byte {at}: {error}") from None


def _scan_object(body: bytes, start: int, end: int) -> list[Member]:
    text = body[start:end].decode("latin-1")
    members: list[Member] = []
    if _EMPTY_OBJECT.fullmatch(body, start, end):
        return members
    at, opening = start, b"{"
    while _OBJECT_END.fullmatch(body, at, end) is None or not members:
        gap = _MEMBER_GAP.match(body, at, end)
        if gap is None or gap[1] != opening:
            raise JSONSpanError(f"not a JSON object: no member at byte {at}")
        key_start, value_start = gap.start(2), gap.end()
        at = start + _value_end(text, value_start - start)
        members.append(Member(_key(gap[2]), key_start, value_start, at))
        opening = b","
    return members


def _key(quoted: bytes) -> str:
    try:
        return str(json.loads(quoted.decode("utf-8", "replace")))
    except ValueError as error:
        raise JSONSpanError(f"not a JSON key: {error}") from None


def _scan_array(body: bytes, start: int, end: int) -> list[tuple[int, int]]:
    text = body[start:end].decode("latin-1")
    items: list[tuple[int, int]] = []
    if _EMPTY_ARRAY.fullmatch(body, start, end):
        return items
    at, opening = start, b"["
    while _ARRAY_END.fullmatch(body, at, end) is None or not items:
        gap = _ITEM_GAP.match(body, at, end)
        if gap is None or gap[1] != opening:
            raise JSONSpanError(f"not a JSON array: no item at byte {at}")
        item_start = gap.end()
        at = start + _value_end(text, item_start - start)
        items.append((item_start, at))
        check_items(len(items))
        opening = b","
    return items
