from __future__ import annotations

import json

import pytest

from claudeproxy.capture.finder import SecretFinder
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.streamed import find_spread
from claudeproxy.sansio.answer import read_answer
from tests.capture.planted import ANTHROPIC, PEM

FINDER = SecretFinder(KNOWN, key=b"k" * 16)
MEMBERS = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}


def stream(text: str, size: int, *, kind: str = "text_delta", index: int = 0, gap: str = "\n") -> bytes:
    """The text as deltas of `size` characters."""
    events = []
    for at in range(0, len(text), size):
        delta = {"type": kind, MEMBERS[kind]: text[at : at + size]}
        data = json.dumps({"type": "content_block_delta", "index": index, "delta": delta}, separators=(",", ":"))
        events.append(f"event: content_block_delta{gap}data: {data}{gap}{gap}")
    return "".join(events).encode()


def patched(body: bytes) -> bytes:
    out = bytearray(body)
    for one in find_spread(body, FINDER):
        for start, patch in one.patches:
            out[start : start + len(patch)] = patch
    return bytes(out)


def text_of(body: bytes) -> str:
    message = read_answer(
        body, ((b"content-type", b"text/event-stream"),), status_code=200, max_decoded=1 << 20
    ).message
    assert message is not None
    (block,) = message["content"]  # type: ignore[misc]
    return str(block["text"])  # type: ignore[index]


@pytest.mark.parametrize("size", [1, 2, 5, 7, 40])
@pytest.mark.parametrize("gap", ["\n", "\r\n"])
def test_a_secret_that_events_spell_together_is_found_and_masked(size: int, gap: str) -> None:
    body = stream(f"The key is {ANTHROPIC}, keep it.", size, gap=gap)
    (one,) = find_spread(body, FINDER)
    assert one.found.rule == "anthropic-key"
    assert one.found.hash == FINDER.fingerprint(ANTHROPIC.encode())
    out = patched(body)
    assert len(out) == len(body)
    said = text_of(out)
    assert said.startswith("The key is [REDACTED:anthropic-key:")
    assert said.endswith("], keep it.")
    assert len(said) == len(text_of(body))


def test_line_breaks_of_a_private_key_stay() -> None:
    body = stream(PEM, 11)
    said = text_of(patched(body))
    assert "dummyPlanted" not in said
    assert said.count("\n") == PEM.count("\n")


@pytest.mark.parametrize("kind", ["input_json_delta", "thinking_delta"])
def test_deltas_of_other_kinds_count_too(kind: str) -> None:
    body = stream(json.dumps({"command": f"export KEY={ANTHROPIC}"}), 9, kind=kind)
    (one,) = find_spread(body, FINDER)
    assert one.found.rule == "anthropic-key"
    assert b"dummyPlanted" not in patched(body)


def test_pieces_of_different_blocks_are_not_joined() -> None:
    half = len(ANTHROPIC) // 2
    first, second = stream(ANTHROPIC[:half], 99), stream(ANTHROPIC[half:], 99, index=1)
    assert find_spread(first + second, FINDER) == []


def test_blocks_whose_events_alternate_are_told_apart() -> None:
    one, two = stream(f"a {ANTHROPIC} ", 6), stream("b" * len(f"a {ANTHROPIC} "), 6, index=1)
    events = zip(one.split(b"\n\n"), two.split(b"\n\n"), strict=True)
    body = b"\n\n".join(event for pair in events for event in pair)
    assert [spread.found.rule for spread in find_spread(body, FINDER)] == ["anthropic-key"]


def test_what_one_event_holds_whole_is_left_to_the_search_of_bytes() -> None:
    body = stream(f"{ANTHROPIC} ", 500) + stream("and more text", 5)
    assert find_spread(body, FINDER) == []
    assert [one.rule for one in FINDER.scan(body)] == ["anthropic-key"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: {not json_delta}\n\n",
        b'data: {"type":"content_block_delta"}\n\n' * 2,
        b'data: {"delta":"text_delta"}\n\n' * 2,
        b'data: {"delta":{"type":"text_delta","text":5}}\n\n' * 2,
        b'data: {"delta":{"type":"text_delta","text":"sk-ant-"}}\n\n' * 2,
    ],
)
def test_streams_of_no_known_shape_hold_nothing(body: bytes) -> None:
    assert find_spread(body, FINDER) == []
