"""Recorded exchanges for the store's tests: what the recorder would hand over."""

from __future__ import annotations

import uuid
from dataclasses import replace
from hashlib import sha256

from claudeproxy.model import (
    Answer,
    BodyKept,
    EntryMode,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    State,
    Usage,
)

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND  # ns since the epoch

REQUEST_HEADERS = (
    (b"Host", b"api.anthropic.com"),
    (b"User-Agent", b"claude-cli/2.1.330 (external, cli)"),
    (b"Authorization", b"[REDACTED]"),
    (b"anthropic-version", b"2023-06-01"),
    (b"anthropic-beta", b"claude-code-20250219,interleaved-thinking-2025-05-14"),
    (b"content-type", b"application/json"),
    (b"x-stainless-lang", b"js"),
    (b"x-stainless-os", b"Linux"),
    (b"x-claude-code-session-id", b"11111111-2222-4333-8444-555555555555"),
)
RESPONSE_HEADERS = (
    (b"Content-Type", b"text/event-stream; charset=utf-8"),
    (b"anthropic-ratelimit-requests-limit", b"4000"),
    (b"Server", b"cloudflare"),
    (b"Set-Cookie", b"[REDACTED]"),
    (b"Set-Cookie", b"[REDACTED]"),
)


def correlation(number: int) -> str:
    """A UUID4 in form, but always the same."""
    return str(uuid.UUID(bytes=sha256(b"exchange %d" % number).digest()[:16], version=4))


def whole(data: bytes) -> RecordedBody:
    if not data:
        return RecordedBody(kept=BodyKept.EMPTY, data=None, length=0)
    return RecordedBody(kept=BodyKept.WHOLE, data=data, length=len(data), sha256=sha256(data).digest())


def response(body: bytes = b'{"id":"msg_1"}', *, number: int = 0, **changes: object) -> RecordedResponse:
    made = RecordedResponse(
        status_code=200,
        reason="OK",
        http_version="1.1",
        headers=(*RESPONSE_HEADERS, (b"request-id", b"req_%08d" % number), (b"Date", b"day %d" % number)),
        trailers=(),
        origin="upstream",
        body=whole(body),
        answer=Answer(
            message_id=f"msg_{number:08d}",
            model="claude-opus-4-8",
            stop_reason="end_turn",
            usage=Usage(input_tokens=4, cache_read_input_tokens=1000 + number, output_tokens=12, raw=None),
            streamed=body.startswith(b"event:"),
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def exchange(number: int, body: bytes = b'{"messages":[]}', **changes: object) -> RecordedExchange:
    """A complete exchange, one second after its predecessor; `changes` replace fields."""
    begin = START + number * SECOND
    made = RecordedExchange(
        correlation_id=correlation(number),
        owner="relay-1",
        state=State.COMPLETE,
        entry_mode=EntryMode.CONNECT,
        method="POST",
        url="https://api.anthropic.com/v1/messages?beta=true",
        upstream_url="https://api.anthropic.com/v1/messages?beta=true",
        http_version="1.1",
        headers=(*REQUEST_HEADERS, (b"content-length", b"%d" % len(body)), (b"x-client-request-id", b"%032d" % number)),
        api_key_hash="00ff",
        instants=Instants(
            request_initiated=begin,
            proxy_received=begin + 1_000_000,
            forwarded=begin + 2_000_000,
            response_received=begin + 42_500_000,
            delivered=begin + 90_000_000,
        ),
        request_body=whole(body),
        response=response(number=number),
        request_head_us=200,
        request_body_us=100,
        response_head_us=250,
        connect_us=7,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def in_flight(number: int, body: bytes = b'{"messages":[]}', **changes: object) -> RecordedExchange:
    began = exchange(number).instants.request_initiated
    return exchange(
        number, body, state=State.IN_FLIGHT, response=None, instants=Instants(request_initiated=began), **changes
    )
