"""Exchanges for the tests of this package: told to a tap, and what a recorder made of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.policy import BodyPolicy
from claudeproxy.capture.recorder import Recorder
from claudeproxy.capture.redact import KeyHasher
from claudeproxy.capture.tap import JournalTap
from claudeproxy.model import EntryMode, ExchangeEnd, ExchangeStart, ResponseStart, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from claudeproxy.model import RawHeaders, RecordedExchange, Tap

SECRET = b"0123456789abcdef0123456789abcdef"
KEY = b"sk-ant-api03-dummy"
URL = "https://api.anthropic.com/v1/messages?beta=true"
START = 1_800_000_000_000_000_000  # wall clock
MONO = 5_000_000_000_000  # monotonic clock at the same moment


def make_tap(root: Path, *, max_body_bytes: int = 1 << 20, others: bool = False, **writer: object) -> JournalTap:
    writer.setdefault("min_free_bytes", 0)
    return JournalTap(
        JournalWriter(root, **writer),  # type: ignore[arg-type]
        policy=BodyPolicy(capture_other_bodies=others),
        key_hash=KeyHasher(SECRET),
        max_body_bytes=max_body_bytes,
    )


def start(
    *, body_length: int | None = 0, url: str = URL, headers: RawHeaders = (), correlation_id: str | None = None
) -> ExchangeStart:
    return ExchangeStart(
        correlation_id=correlation_id or str(uuid.uuid4()),
        entry_mode=EntryMode.CONNECT,
        method="POST",
        url=url,
        upstream_url=url,
        http_version="1.1",
        headers=((b"Host", b"api.anthropic.com"), (b"X-Api-Key", KEY), *headers),
        body_length=body_length,
        request_initiated=START,
        monotonic=MONO,
    )


def response(*, status_code: int = 200, headers: RawHeaders = (), origin: str = "upstream") -> ResponseStart:
    return ResponseStart(
        status_code=status_code,
        reason="OK",
        http_version="1.1",
        headers=headers,
        origin=origin,
        monotonic=MONO + 3_000,
    )


def end(state: State = State.COMPLETE, *, proxy_received: int | None = MONO + 1_000, **changes: object) -> ExchangeEnd:
    values: dict[str, object] = {
        "state": state,
        "error": None,
        "error_kind": None,
        "proxy_received": proxy_received,
        "forwarded": MONO + 2_000,
        "response_received": MONO + 3_000,
        "delivered": MONO + 4_000,
        "request_head_us": 1,
        "request_body_us": 2,
        "response_head_us": 3,
        "connect_us": 4,
        "monotonic": MONO + 4_000,
    }
    return ExchangeEnd(**(values | changes))  # type: ignore[arg-type]


def tell(
    tap: Tap,
    *,
    request: Sequence[bytes] = (b"{}",),
    answer: Sequence[bytes] = (b"{}",),
    url: str = URL,
    request_headers: RawHeaders = (),
    response_headers: RawHeaders = (),
    chunked: bool = False,
    correlation_id: str | None = None,
) -> str:
    """A whole exchange, from its first byte to its last; returns its correlation id."""
    length = None if chunked else sum(map(len, request))
    begun = start(body_length=length, url=url, headers=request_headers, correlation_id=correlation_id)
    exchange = tap.exchange(begun)
    for piece in request:
        exchange.request_body(piece)
    exchange.response_start(response(headers=response_headers))
    for piece in answer:
        exchange.response_body(piece)
    exchange.end(end())
    return begun.correlation_id


@dataclass
class Store:
    """A sink as the database is one: rows by correlation id, cursors in the same transaction, failures on demand."""

    rows: dict[str, RecordedExchange] = field(default_factory=dict)
    cursors: dict[str, tuple[int, int]] = field(default_factory=dict)
    calls: list[list[RecordedExchange]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def __call__(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
        if self.failures:
            raise self.failures.pop()
        self.calls.append(list(exchanges))
        self.rows.update((exchange.correlation_id, exchange) for exchange in exchanges)
        self.cursors.update(cursors)

    def recorder(self, root: Path) -> Recorder:
        return Recorder(root, self, load_cursors=lambda: self.cursors)


def drain(recorder: Recorder) -> int:
    """Step until nothing is left."""
    total = 0
    while handed := recorder.step():
        total += handed
    return total
