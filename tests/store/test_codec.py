from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.errors import CorruptBodyError
from claudeproxy.store.codec import _SHAPES, RAW, ZSTD_SHAPES, Codec

FROZEN = "28b52ffd20455d0000000340005a6b13ecfdca21"
SIZE = 2937


@settings(max_examples=100)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode() * 20))
def test_what_is_compressed_reads_back_and_is_never_longer(data):
    codec = Codec()
    number, stored = codec.compress(data)
    assert len(stored) <= len(data)
    assert codec.decompress(number, stored) == data
    assert Codec().decompress(number, stored) == data


def test_small_blocks_profit_from_the_known_shapes():
    """A tool call of a hundred bytes is mostly what all tool calls hold."""
    block = b'{"type":"tool_use","id":"toolu_01AbCdEfGh","name":"Read","input":{"file_path":"/a/b.py"}}'
    number, stored = Codec().compress(block)
    assert number == ZSTD_SHAPES
    assert len(stored) < len(block) * 0.6


def test_what_does_not_shrink_stays_as_it_is():
    data = os.urandom(1000)
    assert Codec().compress(data) == (RAW, data)
    assert Codec().compress(b"short") == (RAW, b"short")


@pytest.mark.parametrize(("number", "data"), [(ZSTD_SHAPES, b"junk"), (99, b"x")])
def test_damage_is_an_error_of_ours(number, data):
    with pytest.raises(CorruptBodyError):
        Codec().decompress(number, data)


def test_the_dictionary_never_changes():
    """Stored data depends on it. If this fails, restore it and add a codec with a new one."""
    number, stored = ZSTD_SHAPES, bytes.fromhex(FROZEN)
    assert (
        Codec().decompress(number, stored) == b'{"type":"tool_use","id":"toolu_01","name":"Bash","input":{"command":"'
    )
    assert len(_SHAPES) == SIZE
