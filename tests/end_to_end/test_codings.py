"""Content codings and sizes: the client's bytes untouched, the record readable."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from typing import TYPE_CHECKING, Literal

import pytest

from claudeproxy.testing import Reply, Text, always, text
from tests.support.service import ask, captured, mocking, prompt, raw, serving

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_gzip_request_goes_on_as_it_is_and_is_recorded_decoded(home: Path) -> None:
    plain = prompt("squeeze me")
    squeezed = gzip.compress(plain[:50]) + gzip.compress(plain[50:])  # two members, as RFC 1952 allows
    async with mocking(always(text("ok"))) as mock, serving(home, mock.url) as running:
        async with running.client("connect") as client:
            assert (await ask(client, squeezed, **{"content-encoding": "gzip"})).status_code == 200
        assert mock.received[0].body == squeezed
        assert mock.received[0].header("content-encoding") == "gzip"
    (pair,) = captured(home)
    assert pair.body == plain
    assert pair.request.body_encoding == "gzip"
    assert pair.request.body_length == len(squeezed)
    assert pair.request.body_sha256 == hashlib.sha256(squeezed).hexdigest()
    assert pair.sources["User"] > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_an_encoded_answer_is_delivered_and_kept_as_received_and_read_for_the_record(
    home: Path, coding: Literal["gzip", "br", "zstd"], stream: bool
) -> None:
    words = "Wörter, die sich packen lassen. " * 20
    reply = Reply(content=(Text(text=words),), encoding=coding, output_tokens=77)
    async with mocking(always(reply)) as mock, serving(home, mock.url) as running:
        async with running.client() as client:
            response = await ask(client, prompt("pack", stream=stream), **{"accept-encoding": "gzip, br, zstd"})
    assert response.headers["content-encoding"] == coding
    (pair,) = captured(home)
    assert pair.answer == raw(response)
    assert words.encode() not in pair.answer
    assert pair.whole.response_tokens == 77
    message = _json(home)
    assert message["content"] == [{"type": "text", "text": words}]


def _json(home: Path) -> dict[str, object]:
    from claudeproxy.store.storage import CaptureStorage

    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        message = storage.response_json(captured(home)[0].request.id)
    assert isinstance(message, dict)
    return message


@pytest.mark.heavy
async def test_a_body_of_ten_megabytes_is_relayed_and_kept(home: Path) -> None:
    words = random.Random(7).randbytes(5 << 20).hex()
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": words}]}).encode()
    assert len(body) > 10 << 20
    async with mocking(always(text("much"))) as mock, serving(home, mock.url) as running:
        async with running.client("connect") as client:
            assert (await ask(client, body)).status_code == 200
        assert mock.received[0].body == body
    (pair,) = captured(home)
    assert pair.body == body
    assert pair.request.total_tokens


async def test_a_body_over_the_limit_is_relayed_whole_and_recorded_by_length_and_hash(home: Path) -> None:
    body = prompt("x" * 20_000)
    async with mocking(always(text("ok"))) as mock, serving(home, mock.url, max_body_bytes=10_000) as running:
        async with running.client() as client:
            assert (await ask(client, body)).status_code == 200
        assert mock.received[0].body == body
    (pair,) = captured(home)
    assert (pair.request.body_kept, pair.body) == ("too_large", b"")
    assert pair.request.body_length == len(body)
    assert pair.request.body_sha256 == hashlib.sha256(body).hexdigest()
