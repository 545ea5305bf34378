from __future__ import annotations

import json
import re
import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.sansio.jsonspans import MAX_ITEMS, JSONSpanError, array_items, object_members
from tests.sansio.hostile_json import json_values, write_json


def parsed(data: bytes) -> object:
    """Parse as `object_members` understands JSON: last duplicate wins, long numbers stay text."""
    return json.loads(data.decode("utf-8", "surrogatepass"), parse_int=str, parse_float=str)


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=6), st.randoms(use_true_random=False))
def test_spans_of_members_parse_to_the_values_and_stand_in_order(value, random):
    """However an object is written, each span parses to its member's value, and spans are disjoint and in order."""
    body = write_json(value, random)
    members = object_members(body)
    assert {m.key: parsed(body[m.start : m.end]) for m in members} == parsed(body)
    edges = [edge for m in members for edge in (m.key_start, m.start, m.end)]
    assert edges == sorted(edges)
    assert all(body[m.key_start : m.key_start + 1] == b'"' for m in members)
    assert all(body[m.start : m.end] == body[m.start : m.end].strip() for m in members)


@settings(max_examples=150)
@given(st.lists(json_values, max_size=6), st.randoms(use_true_random=False), st.binary(max_size=5))
def test_spans_of_items_parse_to_the_values_wherever_the_array_stands(value, random, before):
    """An array inside other bytes is cut at its own items."""
    text = write_json(value, random)
    body = before + text + b"]]"
    spans = array_items(body, len(before), len(before) + len(text))
    assert [parsed(body[low:high]) for low, high in spans] == parsed(text)


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=5), st.randoms(use_true_random=False))
def test_both_scanners_find_the_same_spans(value, random):
    """A lone surrogate in a last member sends the whole object to the second scanner, which cuts the rest alike."""
    body = write_json(value, random).rstrip()
    first = object_members(body)
    joined = body[:-1] + (b"," if first else b"") + b'"z":"\\udc00"}'
    assert object_members(joined)[:-1] == first


def test_duplicate_keys_all_appear_in_order():
    body = b'{"a":1, "b":2 ,"a" :3}'
    assert [(m.key, body[m.start : m.end]) for m in object_members(body)] == [("a", b"1"), ("b", b"2"), ("a", b"3")]


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"a": [1]}',
        b'{"a":"\\ud83d"}',
        b'{"a":"\\ud83d\\ud83d"}',
        b'{"\\ud83d":1}',
        b'{"\xff":1}',
        b'{"a":"\xff"}',
        b'{"a":%s}' % (b"9" * 5000),
        b'{"a":1e999}',
        b' {"a\\"\\\\":"\\"}"}\r\n',
    ],
)
def test_what_javascript_can_send_is_cut(body):
    """Byte order marks, lone surrogates, broken UTF-8 and long numbers do not stop the cut."""
    (member,) = object_members(body)
    assert re.fullmatch(rb'(\xef\xbb\xbf)?\s*\{".*":', body[: member.start].rstrip(), re.DOTALL)
    assert body[member.end :].strip() == b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"[]",
        b'"a"',
        b"{",
        b"{,}",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b'{"a":1]',
        b'{"a":1}x',
        b'{"a":1 "b":2}',
        b'{"a":NaN}',
        b'{"a":"\x01"}',
        b'{"a":"\\ud800',
        b'{"\\q":1}',
        b"{a:1}",
        b'{"a":01}',
    ],
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(JSONSpanError):
        object_members(body)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[", b"[,]", b"[1,]", b"[1}", b"[1 2]", b"[1]x", b"[-Infinity]", b"[tru]"]
)
def test_what_is_no_array_is_refused(body):
    with pytest.raises(JSONSpanError):
        array_items(body)


@pytest.mark.parametrize("body", [b"{}", b" { \n} ", b"\xef\xbb\xbf{}"])
def test_an_empty_object_has_no_members(body):
    assert object_members(body) == []


@pytest.mark.parametrize("body", [b"[]", b"\t[ ]"])
def test_an_empty_array_has_no_items(body):
    assert array_items(body) == []


def test_nesting_deeper_than_both_parsers_go_is_refused_with_our_error():
    """Deep nesting raises one error class, not RecursionError."""
    depth = 200_000
    deep = b"[" * depth + b"]" * depth
    with pytest.raises(JSONSpanError):
        object_members(b'{"a":' + deep + b"}")
    with pytest.raises(JSONSpanError):
        array_items(b"[" + deep + b"]")


def test_moderate_nesting_is_cut():
    depth = min(500, sys.getrecursionlimit() // 3)
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    (member,) = object_members(body)
    assert member.end - member.start == 2 * depth


@settings(max_examples=200)
@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:\\ud8 1tn', max_size=25).map(str.encode))
def test_any_bytes_give_spans_or_one_error_class(body):
    """Junk never raises anything else."""
    for scan in (object_members, array_items):
        with suppress(JSONSpanError):
            scan(body)


@pytest.mark.parametrize("item", [b"{}", b'"\\ud800"'], ids=["first scanner", "second scanner"])
def test_an_array_of_very_many_items_is_refused(item):
    """Their places alone would take gigabytes."""
    assert len(array_items(b"[" + b",".join([item] * MAX_ITEMS) + b"]")) == MAX_ITEMS
    with pytest.raises(JSONSpanError, match="more than"):
        array_items(b"[" + b",".join([item] * (MAX_ITEMS + 1)) + b"]")
