"""JSON: where values stand, strings with the way back to their bytes, bodies cut for storage and explained."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import NoReturn

from claudeproxy.sansio.answer import read_answer
from claudeproxy.sansio.jsonspans import BOM, JSONSpanError, array_items, object_members
from claudeproxy.sansio.jsonstrings import decode_string
from claudeproxy.sansio.messages import layout
from claudeproxy.store.cutting import Piece, cut_body
from claudeproxy.store.skeleton import ORDERS
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    CWD,
    DATE,
    ENVIRONMENT,
    body,
    check_partition,
    engine,
    reminder,
    result,
    said,
    text,
    tool,
    use,
    user,
)
from tests.fuzz.target import REFUSED, Target, outcome


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _standard(data: bytes) -> object:
    """What `json` reads, an object as the list of its pairs; REFUSED when it is no JSON."""
    try:
        return json.loads(
            data.decode("utf-8"), parse_int=str, parse_float=str, parse_constant=_refuse, object_pairs_hook=_Pairs
        )
    except (ValueError, RecursionError):
        return REFUSED


class _Pairs(list[tuple[str, object]]):
    """An object, so that it is told from an array."""


def check_json_spans(data: bytes) -> None:
    """The members and items found are those that `json` finds, each standing where it was said to stand."""
    expected = _standard(data.removeprefix(BOM))
    members, items = outcome(lambda: object_members(data)), outcome(lambda: array_items(data))
    if isinstance(expected, _Pairs):
        assert not isinstance(members, str), "an object that json reads"
        assert [member.key for member in members] == [key for key, _ in expected]
        assert [_standard(data[member.start : member.end]) for member in members] == [value for _, value in expected]
        for member in members:
            assert scanstring(data[member.key_start + 1 :].decode("utf-8"), 0)[0] == member.key
    elif isinstance(expected, list):
        assert not isinstance(items, str), "an array that json reads"
        assert [_standard(data[low:high]) for low, high in items] == expected
    spans = [] if isinstance(members, str) else [(member.start, member.end) for member in members]
    spans += [] if isinstance(items, str) else items
    at = 0
    for low, high in spans:
        assert at <= low < high <= len(data)
        at = high
    if spans and expected == REFUSED:
        # Only where text is no UTF-8, which is left unread, or nested deeper than Python follows.
        with suppress(UnicodeDecodeError):
            data.decode("utf-8")
            assert data.count(b"[") + data.count(b"{") > 500, "bytes that json refuses"


def check_json_string(data: bytes) -> None:
    """Every code point is found back in its bytes, in order, from one quote to the other."""
    token = b'"' + data + b'"'
    found = outcome(lambda: decode_string(b"{" + token, 1))
    if isinstance(found, str):
        return
    offsets = [found.byte_offset(point) for point in range(len(found.text) + 1)]
    assert offsets[0] == 2
    assert offsets[-1] == len(token)
    for point, (low, high) in enumerate(pairwise(offsets)):
        assert low < high
        alone = decode_string(b'"' + (b"{" + token)[low:high] + b'"')
        assert alone.text == found.text[point]


def check_cutting(data: bytes) -> None:
    """The pieces of a body, put side by side again, are the body."""
    cut = outcome(lambda: cut_body(data))
    if isinstance(cut, str):
        return
    order = ORDERS[cut.order]
    rebuilt = b"".join(_whole(piece) for piece in sorted(cut.pieces, key=lambda piece: order.index(piece.section)))
    assert rebuilt + b"".join(cut.tail) == data


def _whole(piece: Piece) -> bytes:
    block = piece.data
    if piece.cut is not None:
        at, member = piece.cut
        block = block[:at] + member + block[at:]
    return b"".join(piece.gap) + block


def check_attribution(data: bytes) -> None:
    """Every byte of a body belongs to one segment, and a second look finds the same."""
    looking = engine()
    found = looking.analyze_request(data, headers=CLAUDE)
    assert looking.analyze_request(data, headers=CLAUDE) == found
    try:
        layout(data)
    except JSONSpanError:
        assert not found.blocks
        assert sum(segment.byte_end - segment.byte_start for segment in found.overhead) == len(data)
        return
    check_partition(data, found)


def check_answer(data: bytes) -> None:
    """No bytes make it raise, as JSON, as a stream or of no type; counts stay within their bound."""
    for kind in (b"application/json", b"text/event-stream", b""):
        for status in (200, 400):
            answer = read_answer(data, ((b"Content-Type", kind),), status_code=status, max_decoded=1 << 20)
            if answer.usage is not None:
                counts = [value for value in vars_of(answer.usage) if isinstance(value, int)]
                assert all(0 <= count <= 10**8 for count in counts)


def vars_of(value: object) -> list[object]:
    """The fields of a slotted value."""
    return [getattr(value, name) for name in type(value).__slots__]  # type: ignore[attr-defined]


def _bodies() -> list[bytes]:
    cached = {"cache_control": {"type": "ephemeral"}}
    return [
        body(user(reminder(DATE), text("a", **cached)), said(use("t1", "Read", file="a")), user(result("t1", "1\tx"))),
        body(user("x"), system=[text(BILLING), text(ENVIRONMENT, **cached)], tools=[tool("Read"), tool("mcp__a__b")]),
        body({"role": "user", "content": "\ud800 é " + CWD}, system="text", ascii_only=True),
        b'\xef\xbb\xbf {"messages" : [{"content":[{"cache_control":{},"type":"text"}],"role":"us\\u0065r"}],"a":1}',
    ]


_WORDS = (
    b'"', b"\\", b"\\u", b"\\ud83d\\ude00", b"\\ud800", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true",
    b"-0.1e+9", b"NaN", b"Infinity", b"\xef\xbb\xbf", b"\xff", b"\xc3\xa9", b"\0", b'"cache_control":',
    b'"messages":', b'"content":',
    b'"tools":', b'"system":', b'"type":"text"', b'"role":"user"', b'"text":',
    b'{"type":"tool_result","tool_use_id":"t1"}',
    b"<system-reminder>\\n", b"\\n</system-reminder>", b"x-anthropic-billing-header:",
)  # fmt: skip

_STREAM = b"".join(
    b"data: " + event + b"\n\n"
    for event in (
        b'{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3}}}',
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}',
        b'{"type":"message_delta","usage":{"output_tokens":-1}}',
    )
)

TARGETS = (
    Target(
        name="json-spans",
        invariant="the members and items found are those that json finds, each where it was said to stand",
        check=check_json_spans,
        seeds=lambda: [*_bodies(), b' [1, "a" ,{"b":[]}, -1.5e3,null ] ', b'{"\\u00e9":"\\ud800","a":{},"a":[[]]}'],
        words=_WORDS,
        rounds=4000,
    ),
    Target(
        name="json-string",
        invariant="every code point is found back in its bytes, in order, from one quote to the other",
        check=check_json_string,
        seeds=lambda: ["plain, é 😀 €".encode(), rb"\n\u00e9\ud83d\ude00\ud800 \"", b"a\xff\xc3\xa9\xed\xa0\x80b\\\\"],
        words=(*_WORDS[:6], b"\xf0\x9f\x98\x80", b"\xe2\x82\xac", b"\xff", b"\\n", b"\\/"),
        rounds=3000,
        max_bytes=400,
    ),
    Target(
        name="cutting",
        invariant="the pieces of a body, put side by side again, are the body",
        check=check_cutting,
        seeds=_bodies,
        words=_WORDS,
        rounds=3000,
    ),
    Target(
        name="attribution",
        invariant="every byte of a body belongs to one segment, and a second look finds the same",
        check=check_attribution,
        seeds=_bodies,
        words=_WORDS,
        rounds=400,
    ),
    Target(
        name="answer",
        invariant="no bytes make the reading of an answer raise, and its counts stay within their bound",
        check=check_answer,
        seeds=lambda: [
            b'{"type":"message","id":"msg_1","content":[{"type":"text","text":"a"}],"usage":{"input_tokens":1}}',
            _STREAM,
            b'{"type":"error","error":{"type":"overloaded_error","message":"a"}}',
        ],
        words=(*_WORDS, b"data: ", b"\n\n", b'"usage":', b'"index":', b'"delta":', b"1e400", b"99999999999999999999"),
        rounds=1000,
    ),
)  # fmt: skip
