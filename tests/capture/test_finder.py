from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.capture.finder import Found, SecretFinder, check, mask
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.patterns import SecretRule, rule_of
from tests.capture.planted import ANTHROPIC, GITHUB, PEM, PEM_LINES

FINDER = SecretFinder(KNOWN, key=b"k" * 16)
ALL = "\n".join(rule.example for rule in KNOWN) + "\n"


def masked(data: bytes, *sizes: int) -> tuple[bytes, list[Found]]:
    """The body cut into pieces of these sizes, in turn."""
    stream, out, at, turn = FINDER.stream(), b"", 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)] if sizes else len(data)
        out += stream.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    return out + stream.finish(), stream.found


def in_json(text: str, depth: int) -> bytes:
    """The text as a string in JSON, in a string in JSON, ..."""
    for _ in range(depth):
        text = json.dumps({"text": text})
    return text.encode()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_kind_is_found_however_deep_it_is_escaped(depth: int) -> None:
    found = FINDER.scan(in_json(ALL, depth))
    assert {one.rule for one in found} == {rule.id for rule in KNOWN}
    assert [one.hash for one in found] == [one.hash for one in FINDER.scan(ALL.encode())]  # the same secrets


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_masked_body_is_as_long_as_it_was_and_still_json(depth: int) -> None:
    data = in_json(ALL + PEM, depth)
    out, found = masked(data)
    assert len(out) == len(data)
    assert "dummyPlantedKeyLine" not in out.decode()
    if depth:
        # Escapes stay where they are: offsets of the decoded text stay true, too.
        assert len(json.loads(out)["text"]) == len(json.loads(data)["text"])
    changed = {at for at, (before, after) in enumerate(zip(data, out, strict=True)) if before != after}
    assert changed <= {at for one in found for at in range(one.start, one.start + one.length)}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 2))
def test_the_result_does_not_depend_on_how_a_body_is_cut(sizes: list[int], depth: int) -> None:
    data = in_json(f"begin {ANTHROPIC} and {PEM} then {GITHUB}.", depth)
    assert masked(data, *sizes) == masked(data)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_any_bytes_pass_unchanged_where_nothing_is_found(data: bytes, sizes: list[int]) -> None:
    out, found = masked(data, *sizes)
    assert len(out) == len(data)
    if not found:
        assert out == data


def test_ordinary_text_is_held_back_by_a_few_bytes_only() -> None:
    stream = FINDER.stream()
    out = stream.feed(b'data: {"type":"content_block_delta","delta":{"text":"See the manual of sk-learn"}}\n\n' * 3)
    assert stream.held < FINDER.longest
    assert len(out) + stream.held == 252
    stream.feed(b"x" * 200 + b" sk-ant-")
    assert stream.held >= len(b"sk-ant-")
    assert stream.held <= FINDER.reach


def test_what_is_held_back_is_bounded_by_the_farthest_reaching_rule() -> None:
    stream = FINDER.stream()
    for _ in range(40):
        stream.feed(b"-----BEGIN " * 100)
        assert stream.held <= FINDER.reach + FINDER.longest


@pytest.mark.parametrize(
    "text",
    [
        "task-ant-api03-" + "a" * 60,
        "x" + GITHUB,
        "sk-ant-api03-dummy",
        "http://localhost:8443/@types/node",
        "Bearer $TOKEN",
        "-----BEGIN CERTIFICATE-----\n" + "a" * 64,
    ],
)
def test_what_only_looks_alike_is_left_alone(text: str) -> None:
    assert FINDER.scan(text.encode()) == []


@pytest.mark.parametrize("before", ["", " ", '"', "=", ":", "\\n", "\\\\n", "\\t", "\\u000a", "/", "'", "_", "-"])
def test_a_secret_begins_after_anything_but_a_letter_or_digit(before: str) -> None:
    (found,) = FINDER.scan(f"{before}{ANTHROPIC} ".encode())
    assert (found.rule, found.start, found.length) == ("anthropic-key", len(before), len(ANTHROPIC))


@pytest.mark.parametrize("mark", ["\u2192", "\\t", "\t", ":", "|"])
def test_a_private_key_is_found_behind_the_line_numbers_of_a_tool(mark: str) -> None:
    """Claude Code's Read prints a number and an arrow before each line."""
    numbered = "\n".join(f"{n:6}{mark}{line}" for n, line in enumerate(PEM.splitlines(), 1))
    out, found = masked(json.dumps({"text": numbered}, ensure_ascii=False).encode())
    assert [one.rule for one in found] == ["private-key"]
    assert not [line for line in PEM_LINES if line in out.decode()]


def test_a_private_key_that_was_cut_off_is_one_too() -> None:
    (found,) = FINDER.scan("\n".join(PEM.splitlines()[:3]).encode())
    assert found.rule == "private-key"


def test_hashes_are_of_this_installation() -> None:
    other = SecretFinder(KNOWN, key=b"o" * 16)
    data = ANTHROPIC.encode()
    assert FINDER.scan(data)[0].hash != other.scan(data)[0].hash
    assert FINDER.digest().hexdigest() != other.digest().hexdigest()


def test_a_mask_tells_kind_and_which_as_far_as_there_is_room() -> None:
    def of(length: int) -> str:
        return mask(b"s" * length, Found(rule="jwt", hash="0123456789abcdef", start=0, length=length)).decode()

    assert of(30) == "[REDACTED:jwt:01234567*******]"
    assert of(20) == "[REDACTED:jwt******]"
    assert of(11) == "[REDACTED*]"
    assert of(6) == "******"
    assert all(len(of(length)) == length for length in range(1, 60))


def test_a_rule_whose_examples_do_not_hold_is_told() -> None:
    def rule(name: str, example: str, counter: str) -> SecretRule:
        return rule_of(
            {
                "id": name,
                "starts_with": "acme_",
                "matches": "[a-z]{8}",
                "example": example,
                "counter_example": counter,
            }
        )

    good = rule("a", "acme_abcdefgh", "acme_no")
    assert check([good]) == {}
    assert "nothing is found" in check([rule("b", "acme_no", "acme_no")])["b"]
    assert "counter-example" in check([rule("c", "acme_abcdefgh", "acme_abcdefgh")])["c"]
    assert "another rule" in check([good, good])["a"]


def test_secrets_one_after_the_other_are_all_found() -> None:
    text = " ".join([ANTHROPIC, GITHUB] * 5)
    found = FINDER.scan(text.encode())
    assert [one.rule for one in found] == ["anthropic-key", "github-token"] * 5
    assert all(before.start + before.length < after.start for before, after in pairwise(found))
    assert len({one.hash for one in found}) == 2


def test_no_text_keeps_the_relay_busy() -> None:
    """Expressions reach no farther than `most`: the work is counted in markers, and each costs that much at most."""
    for rule in KNOWN:
        assert rule.most <= 16384
        for letters in (b"a", b"A1", b"\\n", b"= ", b"\\", b"-"):
            text = rule.markers[0] + letters * 20_000
            assert len(masked(text)[0]) == len(text)
