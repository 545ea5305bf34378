"""Exchanges to store, and hand-made attributions of them, so that the API is tested on a database of the real kind."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING
from uuid import UUID

from claudeproxy.model import (
    Answer,
    BlockAttribution,
    BodyKept,
    EntryMode,
    Identity,
    Instants,
    RecordedBody,
    RecordedExchange,
    RecordedResponse,
    RequestAttribution,
    Segment,
    Source,
    SourceType,
    State,
    Usage,
)
from claudeproxy.sansio.messages import layout

if TYPE_CHECKING:
    from claudeproxy.model import RawHeaders

START = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
SECOND = 1_000_000_000
MILLISECOND = 1_000_000

REQUEST_HEADERS: RawHeaders = (
    (b"Host", b"api.anthropic.com"),
    (b"x-api-key", b"[REDACTED]"),
    (b"anthropic-beta", b"one"),
    (b"Anthropic-Beta", b"two"),
    (b"Content-Type", b"application/json"),
)
RESPONSE_HEADERS: RawHeaders = ((b"content-type", b"application/json"), (b"request-id", b"req_dummy"))

DOCS = Source(type=SourceType.MCP_SERVER, name="docs", plugin="handbook")
BASH = Source(type=SourceType.TOOL, name="Bash")
FRAMEWORK = Source(type=SourceType.FRAMEWORK, name="system prompt")
USER = Source(type=SourceType.USER)


def correlation(number: int) -> str:
    return str(UUID(int=number, version=4))


def whole(data: bytes, *, encoding: str | None = None) -> RecordedBody:
    wire = gzip.compress(data, mtime=0) if encoding == "gzip" else data
    return RecordedBody(
        kept=BodyKept.WHOLE if data else BodyKept.EMPTY,
        data=data or None,
        length=len(wire),
        sha256=hashlib.sha256(wire).digest(),
        encoding=encoding,
    )


def missing(kept: BodyKept) -> RecordedBody:
    return RecordedBody(kept=kept, data=None, length=123, sha256=hashlib.sha256(b"gone").digest())


def prompt(text: str = "hello") -> bytes:
    """A small body in which four sources have their say."""
    return json.dumps(
        {
            "model": "claude-sonnet-4-5",
            "tools": [
                {"name": "Bash", "description": "Runs commands.", "input_schema": {"type": "object"}},
                {"name": "mcp__docs__lookup", "description": "Looks things up.", "input_schema": {"type": "object"}},
            ],
            "system": [{"type": "text", "text": "You are a test."}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
        },
        ensure_ascii=False,
    ).encode()


def answered(
    status_code: int = 200,
    data: bytes = b'{"type": "message", "id": "msg_dummy"}',
    *,
    headers: RawHeaders = RESPONSE_HEADERS,
    body: RecordedBody | None = None,
    answer: Answer | None = None,
    origin: str = "upstream",
) -> RecordedResponse:
    usage = Usage(
        input_tokens=10,
        cache_creation_input_tokens=20,
        cache_read_input_tokens=30,
        cache_creation_5m=15,
        cache_creation_1h=5,
        output_tokens=7,
        thinking_tokens=2,
        web_search_requests=1,
        web_fetch_requests=0,
        service_tier="standard",
        speed="standard",
        inference_geo="us",
    )
    return RecordedResponse(
        status_code=status_code,
        reason="OK",
        http_version="1.1",
        headers=headers,
        trailers=(),
        origin=origin,
        body=body or whole(data),
        answer=answer
        or Answer(message_id="msg_dummy", model="claude-sonnet-4-5-20250929", stop_reason="end_turn", usage=usage),
    )


def exchange(
    number: int,
    *,
    state: State = State.COMPLETE,
    body: RecordedBody | None = None,
    response: RecordedResponse | None = None,
    path: str = "/v1/messages?beta=true",
    method: str = "POST",
    error: str | None = None,
    error_kind: str | None = None,
    entry_mode: EntryMode = EntryMode.CONNECT,
) -> RecordedExchange:
    """The exchange `number` seconds after START: received in 1 ms, forwarded after 2, answered after 52, done at 60."""
    begun = START + number * SECOND
    ended = response is not None
    return RecordedExchange(
        correlation_id=correlation(number),
        owner="relay-1",
        state=state,
        entry_mode=entry_mode,
        method=method,
        url=f"https://api.anthropic.com{path}",
        upstream_url=f"https://gateway.example{path}",
        http_version="1.1",
        headers=REQUEST_HEADERS,
        api_key_hash="00" * 16,
        instants=Instants(
            request_initiated=begun,
            proxy_received=begun + MILLISECOND,
            forwarded=begun + 2 * MILLISECOND if ended else None,
            response_received=begun + 52 * MILLISECOND if ended else None,
            delivered=begun + 60 * MILLISECOND if ended else None,
        ),
        request_body=body or whole(prompt(f"hello number {number}")),
        response=response,
        error=error,
        error_kind=error_kind,
        request_head_us=300,
        request_body_us=400,
        response_head_us=500,
        connect_us=9000,
    )


def explained(body: bytes, identity: Identity) -> RequestAttribution:
    """Every block to its source: tools by name, system to the framework, messages to the user, the rest overhead."""
    blocks = []
    for block in layout(body).blocks:
        raw = body[block.start : block.end]
        text = json.loads(raw)
        if block.section == "tools":
            source, kind, path, said = (DOCS if "mcp__docs" in text["name"] else BASH), "schema", "", raw.decode()
        else:
            source, kind = (FRAMEWORK, "text") if block.section == "system" else (USER, "prompt")
            path, said = ".text", text["text"]
        whole_value = path == ""
        segment = Segment(
            source=source,
            kind=kind,
            path=path,
            start=None if whole_value else 0,
            end=None if whole_value else len(said),
            byte_start=0,
            byte_end=len(raw),
            rule=f"test.{kind}",
            evidence="name" if source is DOCS else None,
            confidence=0.5 if source is USER else 1.0,
            text=said,
        )
        blocks.append(
            BlockAttribution(
                json_path=block.json_path, message_index=block.message_index, role=block.role, segments=(segment,)
            )
        )
    overhead = Segment(
        source=Source(type=SourceType.OVERHEAD),
        kind="structure",
        path="$.model",
        start=None,
        end=None,
        byte_start=0,
        byte_end=0,
        rule="test.overhead",
        text='"claude-sonnet-4-5"',
    )
    return RequestAttribution(blocks=blocks, overhead=(overhead,), identity=identity)
