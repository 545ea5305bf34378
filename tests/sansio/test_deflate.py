"""permessage-deflate as the examples of RFC 7692 have it, and as a 101 announces it."""

from __future__ import annotations

import zlib

import pytest

from claudeproxy.errors import ProtocolError
from claudeproxy.sansio.deflate import TAIL, Inflater, accepted_extensions


def inflated(inflater: Inflater, payload: bytes) -> bytes:
    return b"".join(inflater.feed(payload + TAIL))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", (False, None)),
        ("permessage-deflate", (True, None)),
        ("Permessage-Deflate; server_no_context_takeover; client_max_window_bits=12", (True, None)),
        ("permessage-deflate, x-custom; a=1", (True, "x-custom")),
        (" , x-webkit-deflate-frame", (False, "x-webkit-deflate-frame")),
    ],
)
def test_the_101_says_what_was_agreed_on(header: str, told: tuple[bool, str | None]) -> None:
    assert accepted_extensions(header) == told


@pytest.mark.parametrize(
    "payloads",
    [
        ["f248cdc9c90700"],  # 7.2.3.1: one block
        ["f248cdc9c90700", "f200110000"],  # 7.2.3.2: the second one refers to the first
        ["000500faff48656c6c6f00"],  # 7.2.3.3: a block without compression
        ["f348cdc9c9070000"],  # 7.2.3.4: a last block, and more after it
        ["f24805000000ffffcac9c90700"],  # 7.2.3.5: two blocks
    ],
)
def test_the_examples_of_the_specification_say_hello(payloads: list[str]) -> None:
    inflater = Inflater()
    assert [inflated(inflater, bytes.fromhex(one)) for one in payloads] == [b"Hello"] * len(payloads)


def test_a_stream_that_was_ended_goes_on_with_its_window() -> None:
    sender, inflater = zlib.compressobj(9, zlib.DEFLATED, -15), Inflater()
    assert inflated(inflater, sender.compress(b"all of this is said twice") + sender.flush() + b"\x00") == (
        b"all of this is said twice"
    )
    again = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=b"all of this is said twice")
    short = (again.compress(b"all of this is said twice") + again.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(short) < 12
    assert inflated(inflater, short) == b"all of this is said twice"


def test_a_small_window_needs_no_small_window_here() -> None:
    sender = zlib.compressobj(9, zlib.DEFLATED, -9)
    text = bytes(range(256)) * 100
    assert inflated(Inflater(), (sender.compress(text) + sender.flush(zlib.Z_SYNC_FLUSH))[:-4]) == text


def test_what_expands_a_thousandfold_comes_piece_by_piece() -> None:
    sender = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = sender.compress(bytes(10 << 20)) + sender.flush(zlib.Z_SYNC_FLUSH)
    sizes = [len(piece) for piece in Inflater().feed(bomb)]
    assert sum(sizes) == 10 << 20
    assert max(sizes) <= 65_536


def test_damage_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="damaged"):
        inflated(Inflater(), b"\xff\xff\xff\xff")
