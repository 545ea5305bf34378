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
from claudeproxy.sansio.encoding import Decoder, decode, decode_prefix, split_codings

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


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
@pytest.mark.parametrize("size", [65_536, 65_537, 5 * 65_536, 1_000_003])
def test_output_of_many_pieces_comes_whole(coding: str, size: int) -> None:
    """Highly compressible input leaves output waiting inside the coder; none of it may be forgotten."""
    data = b"a" * size
    assert decode(ENCODERS[coding](data), coding, max_bytes=size) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_bomb_stops_at_the_bound(coding: str) -> None:
    bomb = ENCODERS[coding](b"\0" * 50_000_000)
    with pytest.raises(ProtocolError, match="more than 1000000") as caught:
        decode(bomb, coding, max_bytes=1_000_000)
    assert caught.value.status_hint == 413
    assert decode_prefix(bomb, coding, max_bytes=1_000_000) == b"\0" * 1_000_000


def test_a_bomb_inside_another_coding_stops_at_the_bound() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    with pytest.raises(ProtocolError, match="more than"):
        decode(bomb, "gzip, gzip", max_bytes=1_000_000)


def test_gzip_may_have_several_members_and_zero_padding() -> None:
    data = gzip.compress(b"one ") + gzip.compress(b"two") + b"\0" * 20
    assert decode(data, "gzip", max_bytes=MIB) == b"one two"


def test_zstd_may_have_several_frames() -> None:
    frame = zstandard.ZstdCompressor().compress
    assert decode(frame(b"one ") + frame(b"two"), "zstd", max_bytes=MIB) == b"one two"


def test_zstd_windows_beyond_eight_mebibytes_are_refused() -> None:
    """RFC 9659."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(b"x" * 100) + compressor.flush()
    with pytest.raises(ProtocolError, match="corrupt"):
        decode(frame, "zstd", max_bytes=MIB)


@pytest.mark.parametrize("split", [0, 1, 2])
def test_deflate_may_be_raw(split: int) -> None:
    encoded = raw_deflate(b"hello hello hello")
    decoder = Decoder("deflate", max_bytes=MIB)
    assert decoder.feed(encoded[:split]) + decoder.feed(encoded[split:]) == b"hello hello hello"
    decoder.finish()


def test_bytes_behind_a_deflate_stream_are_an_error() -> None:
    with pytest.raises(ProtocolError, match="after the end"):
        decode(zlib.compress(b"x") + b"junk", "deflate", max_bytes=MIB)


def test_identity_and_nothing_leave_the_bytes_alone_within_the_bound() -> None:
    assert decode(b"abc", None, max_bytes=3) == b"abc"
    assert decode(b"abc", "identity", max_bytes=3) == b"abc"
    with pytest.raises(ProtocolError, match="more than 2"):
        decode(b"abc", "", max_bytes=2)


def test_unknown_and_too_many_codings_are_refused() -> None:
    with pytest.raises(ProtocolError, match="unknown content coding 'compress'") as caught:
        Decoder("gzip, compress", max_bytes=1)
    assert caught.value.status_hint == 415
    with pytest.raises(ProtocolError, match="5 content codings"):
        Decoder("gzip,gzip,gzip,gzip,gzip", max_bytes=1)
    assert decode_prefix(b"abc", "compress", max_bytes=9) == b""


def test_codings_are_named_in_the_order_they_were_applied() -> None:
    assert split_codings(" GZip ,identity,, br") == ["gzip", "br"]
