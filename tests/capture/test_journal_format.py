from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from claudeproxy.capture.journal_format import (
    HEADER_BYTES,
    MAX_PAYLOAD,
    RecordType,
    decode_header,
    encode_header,
    find_header,
    header_seed,
    segment_path,
    segments,
)

if TYPE_CHECKING:
    from pathlib import Path

SEED = header_seed("owner", 0)


@given(
    kind=st.sampled_from(RecordType),
    exchange=st.integers(0, 2**64 - 1),
    instant=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=50),
)
def test_a_header_comes_back_as_it_was_written(kind: RecordType, exchange: int, instant: int, payload: bytes) -> None:
    data = encode_header(kind, exchange, instant, payload, seed=SEED)
    assert len(data) == HEADER_BYTES == 32
    header = decode_header(data, 0, seed=SEED)
    assert header is not None
    assert (header.type, header.exchange, header.instant, header.length) == (kind, exchange, instant, len(payload))


@given(bit=st.integers(0, HEADER_BYTES * 8 - 1))
def test_one_wrong_bit_makes_it_no_header(bit: int) -> None:
    data = bytearray(encode_header(RecordType.OPEN, 1, 2, b"{}", seed=SEED))
    data[bit // 8] ^= 1 << bit % 8
    assert decode_header(data, 0, seed=SEED) is None


def test_a_header_of_another_owner_or_segment_is_none() -> None:
    """A journal that is uploaded through the proxy must not be mistaken for our own."""
    data = encode_header(RecordType.OPEN, 1, 2, b"{}", seed=SEED)
    assert decode_header(data, 0, seed=header_seed("owner", 1)) is None
    assert decode_header(data, 0, seed=header_seed("other", 0)) is None


def test_an_oversized_length_is_no_header() -> None:
    data = encode_header(RecordType.REQUEST_BODY, 1, 2, bytes(MAX_PAYLOAD + 1), seed=SEED)
    assert decode_header(data, 0, seed=SEED) is None


@given(before=st.binary(max_size=80), after=st.binary(max_size=40))
def test_the_next_header_is_found_in_any_noise(before: bytes, after: bytes) -> None:
    header = encode_header(RecordType.END, 1, 2, b"", seed=SEED)
    assert find_header(before + header + after, 0, seed=SEED) == len(before)
    assert find_header(before + header[:-1], 0, seed=SEED) is None


def test_segments_are_listed_in_order_and_nothing_else_is(tmp_path: Path) -> None:
    for number in (12, 3):
        segment_path(tmp_path, number).touch()
    for name in ("lock", "x.journal", "²3.journal"):
        (tmp_path / name).touch()
    assert segments(tmp_path) == [3, 12]
    assert segments(tmp_path / "gone") == []
