from __future__ import annotations

import contextlib
import gzip
import itertools
import random
import zlib
from typing import TYPE_CHECKING

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.encoding import Decoder, decode, decode_prefix

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)] or [b""]


@settings(max_examples=60)
@given(
    data=st.binary(max_size=3000),
    codings=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=3),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
)
def test_any_split_of_any_stack_of_codings_gives_the_original(data: bytes, codings: list[str], cuts: list[int]) -> None:
    encoded = data
    for coding in codings:
        encoded = ENCODERS[coding](encoded)
    decoder = Decoder(", ".join(codings), max_bytes=MIB)
    assert b"".join(decoder.feed(piece) for piece in pieces_of(encoded, cuts)) == data
    decoder.finish()


@settings(max_examples=100)
@given(junk=st.binary(max_size=300), coding=st.sampled_from(sorted(ENCODERS)))
def test_junk_gives_a_value_or_a_protocol_error(junk: bytes, coding: str) -> None:
    with contextlib.suppress(ProtocolError):
        decode(junk, coding, max_bytes=MIB)
    assert len(decode_prefix(junk, coding, max_bytes=1000)) <= 1000


@settings(max_examples=60)
@given(cut=st.integers(0, 10_000), coding=st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_truncated_input_is_an_error_and_its_prefix_decodes(cut: int, coding: str) -> None:
    data = random.Random(1).randbytes(5000)
    encoded = ENCODERS[coding](data)
    cut = 1 + cut % (len(encoded) - 1)
    with pytest.raises(ProtocolError, match="too early"):
        decode(encoded[:cut], coding, max_bytes=MIB)
    assert data.startswith(decode_prefix(encoded[:cut], coding, max_bytes=MIB))


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_what_came_before_a_corrupt_byte_is_decoded(coding: str) -> None:
    """The beginning of an answer says what it cost, also when a byte of its end arrived wrong."""
    text = b"".join(b'data: {"delta": %d}\n\n' % (number * 7919 % 10007) for number in range(400))
    encoded = bytearray(ENCODERS[coding](text))
    corrupt = len(encoded) * 3 // 4
    encoded[corrupt:] = b"\xff" * (len(encoded) - corrupt)
    decoded = decode_prefix(bytes(encoded), coding, max_bytes=MIB)
    assert text.startswith(decoded[: len(text) // 2])
    assert len(decoded) > len(text) // 2


@pytest.mark.parametrize("encode", [zlib.compress, raw_deflate])
def test_a_deflate_stream_has_one_end_wherever_the_input_is_cut(encode: Callable[[bytes], bytes]) -> None:
    """Cut exactly at its end, what follows was once taken for another stream."""
    encoded = encode(b"one")
    for cut in (len(encoded) - 1, len(encoded), len(encoded) + 1):
        both = encoded * 2
        decoder = Decoder("deflate", max_bytes=MIB)
        with pytest.raises(ProtocolError, match="after the end"):
            decoder.feed(both[:cut])
            decoder.feed(both[cut:])
