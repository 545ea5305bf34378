"""String tokens: decoded as json does it, and every code point found again in the bytes."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.jsonstrings import decode_string


def pieces(token: bytes) -> list[str]:
    """Cut a token at every code point and decode each piece by itself."""
    string = decode_string(token)
    offsets = [string.byte_offset(point) for point in range(len(string.text) + 1)]
    parts = [token[low:high].decode("utf-8", "surrogateescape") for low, high in pairwise(offsets)]
    return [json.loads(f'"{part}"', strict=False) for part in parts]


@given(st.text(), st.booleans())
def test_every_code_point_has_its_own_bytes(text, ascii_only):
    """However the text is written, cutting at code points and decoding the pieces gives the text."""
    token = json.dumps(text, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    string = decode_string(token)
    assert pieces(token) == list(string.text)


@given(st.text(st.characters(codec="utf-8")))
def test_valid_text_decodes_to_itself(text):
    """For text without surrogates the result is that of json."""
    assert decode_string(json.dumps(text, ensure_ascii=False).encode()).text == text
    assert decode_string(json.dumps(text).encode()).text == text


def test_a_token_inside_a_body_keeps_its_absolute_offsets():
    """Offsets count from the body's start."""
    data = b'{"a":"x\\ny"}'
    string = decode_string(data, 5, 11)
    assert string.text == "x\ny"
    assert [string.byte_offset(point) for point in range(4)] == [6, 7, 9, 10]


def test_lone_surrogates_and_pairs():
    """A pair is one code point, half a pair stays half."""
    assert decode_string(rb'"\ud83d\ude00"').text == "\U0001f600"
    assert pieces(rb'"a\ud83d\u0041\ude00"') == ["a", "\ud83d", "A", "\ude00"]


def test_bytes_that_are_no_utf8_survive():
    """Each becomes a surrogate of its own and finds its byte again."""
    string = decode_string(b'"a\xff\xfeb"')
    assert len(string.text) == 4
    assert [string.byte_offset(point) for point in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("token", [b"", b'"', b"12", b'"a', b'"\\"', b'"\\u12"', b'"a"b"', b'"\\x"'])
def test_what_is_no_string_is_refused(token):
    """With the one error that callers know."""
    with pytest.raises(JSONSpanError):
        decode_string(token)
