"""Bodies in passage: the wire's bytes unchanged, the payload found, the end never missed, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claudeproxy.proxy.body import Body
from claudeproxy.sansio.headers import Framing

CHUNKS = b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "length", "wire", "payload"),
    [
        (Framing.LENGTH, 6, b"hello!", b"hello!"),
        (Framing.CHUNKED, 0, CHUNKS, b"hello!"),
        (Framing.NONE, 0, b"", b""),
        (Framing.LENGTH, 0, b"", b""),
    ],
)
@settings(max_examples=50)
@given(data=st.data())
def test_any_cut_gives_the_same_bytes_payload_and_rest(
    framing: Framing, length: int, wire: bytes, payload: bytes, data: st.DataObject
) -> None:
    message = wire + b"NEXT"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(message)), max_size=8)))
    body = Body(framing, length)
    seen, found, rest = b"", b"", b""
    for start, end in zip([0, *cuts], [*cuts, len(message)], strict=True):
        piece, part, after = body.feed(message[start:end])
        seen += piece
        found += part
        rest += after
    assert (seen, found, rest, body.ended) == (wire, payload, b"NEXT", True)
    assert body.trailers == (((b"X-T", b"1"),) if framing is Framing.CHUNKED else ())


def test_a_body_that_ends_with_the_connection_takes_all() -> None:
    body = Body(Framing.CLOSE, 0)
    assert body.feed(b"abc") == (b"abc", b"abc", b"")
    assert body.feed(b"") == (b"", b"", b"")
    assert not body.ended
    assert repr(body) == "<Body CLOSE open>"


def test_malformed_chunks_are_a_fault_and_what_stood_before_them_is_not_lost() -> None:
    body = Body(Framing.CHUNKED, 0)
    assert body.feed(b"2\r\nab\r\n-1\r\n") == (b"2\r\nab\r\n", b"ab", b"")
    assert str(body.fault) == "malformed chunk-size line"
    assert body.feed(b"1\r\nc\r\n0\r\n\r\n") == (b"", b"", b"")
    assert not body.ended
