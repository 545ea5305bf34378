"""Documents and downloads."""

from __future__ import annotations

import json

import pytest

from claudeproxy.api.answers import body_response, document
from claudeproxy.api.errors import ApiError
from claudeproxy.api.schemas import BodySummary
from claudeproxy.model import BodyKept

SUMMARY = BodySummary(kept=BodyKept.WHOLE, length=1, sha256=None, encoding=None)


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


def test_a_captured_value_is_written_as_it_is() -> None:
    text = document(SUMMARY, captured={"lone surrogate": "\ud800", "text": "ä", "deep": deep(400)})
    assert text.isascii()
    assert json.loads(text)["captured"] == {"lone surrogate": "\ud800", "text": "ä", "deep": deep(400)}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), deep(100_000)])
def test_a_captured_value_that_json_cannot_say_is_null(value: object) -> None:
    assert json.loads(document(SUMMARY, captured=value)) == {**SUMMARY.model_dump(), "captured": None}


async def test_a_download_is_bytes_that_no_browser_renders() -> None:
    response = body_response(b"<script>", kept=BodyKept.WHOLE, encoding="gzip", filename="request-1.bin")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == 'attachment; filename="request-1.bin"'
    assert response.headers["X-Claudeproxy-Decoded-From"] == "gzip"
    assert response.headers["X-Claudeproxy-Body-Kept"] == "whole"
    assert response.timeout is None


@pytest.mark.parametrize("kept", [BodyKept.TOO_LARGE, BodyKept.POLICY, BodyKept.DROPPED])
def test_a_body_that_was_not_kept_is_404_with_the_reason(kept: BodyKept) -> None:
    with pytest.raises(ApiError) as caught:
        body_response(b"", kept=kept, encoding=None, filename="x")
    assert caught.value.status == 404
    assert caught.value.error == "Body not kept"
    assert caught.value.details
