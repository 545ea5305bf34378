"""What the micro-benchmarks work on: a real conversation's turns, each time with a result that nobody sent before.

Much of what is measured remembers what it has seen, because a turn repeats its history. So most benchmarks are asked
for the next turn of a conversation (`turns`), and a few for one of which nothing is known (`strangers`).
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from bodies import MARK_BYTES, template

from claudeproxy.model import (
    Answer,
    BodyKept,
    EntryMode,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
)
from claudeproxy.sansio.answer import read_usage
from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIZES = {"100 KB": 100_000, "1 MB": 1_000_000}
MODEL = "claude-opus-4-8"


@pytest.fixture(params=SIZES.values(), ids=SIZES.keys(), scope="session")
def parts(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """A body before and after the place that makes it new."""
    _headers, before, after = template(request.param)
    return before, after


@pytest.fixture
def turns(parts: tuple[bytes, bytes]) -> Callable[[], bytes]:
    """Gives bodies that differ in their last result, as turns do in what is new."""
    number = iter(range(10**9))
    return lambda: b"%b%0*d%b" % (parts[0], MARK_BYTES, next(number), parts[1])


@pytest.fixture
def strangers(turns: Callable[[], bytes]) -> Callable[[], bytes]:
    """Gives bodies of which no block and no beginning was seen."""
    number = iter(range(10**9))

    def next_one() -> bytes:
        mark = b"%08d" % next(number)
        return (
            turns().replace(b'"text":"', b'"text":"' + mark).replace(b'{"model":"', b'{"x":"' + mark + b'","model":"')
        )

    return next_one


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CaptureStorage]:
    """An empty database."""
    with CaptureStorage(tmp_path / "captures.db") as storage:
        yield storage


def answer(body: bytes) -> Answer:
    """A short answer, billed a token for four bytes of the prompt, all but 1,500 of them read from the cache."""
    tokens = len(body) // 4
    usage = read_usage(
        {
            "input_tokens": 5,
            "cache_read_input_tokens": tokens - 1_500,
            "cache_creation_input_tokens": 1_500,
            "output_tokens": 40,
        }
    )
    content = [{"type": "text", "text": "Fifty words or so of an answer."}]
    message = {"type": "message", "role": "assistant", "model": MODEL, "content": content}
    return Answer(message=message, model=MODEL, stop_reason="end_turn", usage=usage)


def exchange(body: bytes) -> RecordedExchange:
    """A finished exchange, as the recorder hands it to the store."""
    said = answer(body)
    data = json.dumps(said.message).encode()
    return RecordedExchange(
        correlation_id=str(uuid.UUID(bytes=hashlib.sha256(body).digest()[:16], version=4)),
        owner="relay",
        state=State.COMPLETE,
        entry_mode=EntryMode.CONNECT,
        method="POST",
        url="https://api.anthropic.com/v1/messages",
        upstream_url="https://api.anthropic.com/v1/messages",
        http_version="1.1",
        headers=((b"user-agent", b"claude-cli/2.1.330 (external, cli)"),),
        api_key_hash=None,
        instants=Instants(request_initiated=time.time_ns()),
        request_body=RecordedBody(kept=BodyKept.WHOLE, data=body, length=len(body)),
        response=RecordedResponse(
            status_code=200,
            reason="OK",
            http_version="1.1",
            headers=((b"content-type", b"application/json"),),
            trailers=(),
            origin="upstream",
            body=RecordedBody(kept=BodyKept.WHOLE, data=data, length=len(data)),
            answer=said,
        ),
    )
