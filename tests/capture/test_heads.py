from __future__ import annotations

import msgspec
import pytest

from claudeproxy.capture.heads import (
    BodyEnd,
    Closing,
    Opening,
    ResponseHead,
    closing,
    content_length,
    opening,
    raw_headers,
    response_head,
)
from claudeproxy.model import BodyKept, RawHeaders, State
from tests.capture import support

EVERY_BYTE = bytes(range(1, 256))


def test_a_request_head_comes_back_without_its_secrets() -> None:
    start = support.start(headers=((b"X-Odd", EVERY_BYTE),), url="https://h/v1/x?token=abc")
    written = msgspec.json.encode(opening(start, api_key_hash="00", fate=BodyKept.WHOLE))
    head = msgspec.json.decode(written, type=Opening)
    assert raw_headers(head.headers) == (
        (b"Host", b"api.anthropic.com"),
        (b"X-Api-Key", b"[REDACTED]"),
        (b"X-Odd", EVERY_BYTE),
    )
    assert head.url == head.upstream_url == "https://h/v1/x?token=[REDACTED]"
    assert (head.entry_mode, head.api_key_hash, head.fate) == (start.entry_mode, "00", BodyKept.WHOLE)


def test_a_response_head_comes_back_without_its_secrets() -> None:
    told = support.response(headers=((b"Set-Cookie", b"a=b"), (b"Content-Length", b"12")))
    written = msgspec.json.encode(response_head(told, fate=BodyKept.POLICY))
    head = msgspec.json.decode(written, type=ResponseHead)
    assert raw_headers(head.headers) == ((b"Set-Cookie", b"[REDACTED]"), (b"Content-Length", b"12"))
    assert (head.status_code, head.body_length, head.fate) == (200, 12, BodyKept.POLICY)


def test_an_end_comes_back_without_secrets_in_its_trailers_and_text() -> None:
    end = support.end(
        State.UPSTREAM_ERROR,
        error="refused sk-ant-api03-dummy \udcff",
        error_kind="refused",
        response_trailers=((b"X-Auth-Token", b"t"),),
    )
    body = BodyEnd(length=3, fate=BodyKept.WHOLE)
    written = msgspec.json.encode(closing(end, request=body, response=body, late_head=None))
    told = msgspec.json.decode(written, type=Closing)
    assert told.error == "refused [REDACTED] ?"
    assert told.trailers == [("X-Auth-Token", "[REDACTED]")]
    assert (told.state, told.error_kind, told.request) == (State.UPSTREAM_ERROR, "refused", body)


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        (((b"content-LENGTH", b" 5 "),), 5),
        (((b"content-length", b"x"), (b"Content-Length", b"7")), 7),
        (((b"content-length", b"-1"),), None),
        ((), None),
    ],
)
def test_the_announced_length(headers: RawHeaders, length: int | None) -> None:
    assert content_length(headers) == length
