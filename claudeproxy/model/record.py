"""What the recorder hands to the store: an exchange as the journal tells it, secrets already redacted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.model.websocket import Direction, RecordedWebSocket
    from claudeproxy.model.wire import EntryMode, RawHeaders, State


class BodyKept(StrEnum):
    """Whether a body's bytes are in the record, and if not why."""

    WHOLE = "whole"
    PARTIAL = "partial"  # the exchange ended before the body did; what was seen is kept
    TOO_LARGE = "too_large"  # over max_body_bytes: length and SHA-256 only
    POLICY = "policy"  # not an API path, or an authentication endpoint: length only
    DROPPED = "dropped"  # the journal had no room; length only
    EMPTY = "empty"  # the message has no body


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """The five instants of an exchange: integer ns since the epoch, UTC; None for what never came.

    Wall clock at the first byte plus monotonic differences, so they never go back.
    """

    request_initiated: int
    proxy_received: int | None = None
    forwarded: int | None = None
    response_received: int | None = None
    delivered: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The bill of one answer, in tokens. None means that the API did not say; `raw` is its JSON, whole."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_5m: int | None = None
    cache_creation_1h: int | None = None
    output_tokens: int | None = None
    thinking_tokens: int | None = None
    web_search_requests: int | None = None
    web_fetch_requests: int | None = None
    service_tier: str | None = None
    speed: str | None = None
    inference_geo: str | None = None
    raw: str | None = None

    @property
    def prompt_tokens(self) -> int | None:
        """`input + cache creation + cache read`, the whole prompt; None when the API named none of them."""
        parts = (self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens)
        return None if all(p is None for p in parts) else sum(p or 0 for p in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a response says, read from its decoded body: a plain message or a reassembled stream."""

    message: dict[str, object] | None = None  # the Messages API message; None when the body is something else
    message_id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    error_type: str | None = None  # of an error body, or of `event: error` inside a 200 stream
    streamed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBody:
    """A body as the record has it. `data` is None unless `kept` is WHOLE or PARTIAL.

    `length` and `sha256` are those of the bytes on the wire (before content decoding); for a request that came
    content-encoded `data` is the decoded form and `encoding` names the coding that was taken off.
    """

    kept: BodyKept
    data: bytes | None
    length: int
    sha256: bytes | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResponse:
    """The response half of an exchange, headers redacted."""

    status_code: int
    reason: str
    http_version: str
    headers: RawHeaders
    trailers: RawHeaders
    origin: str
    body: RecordedBody  # raw bytes as received: still content-encoded when the upstream encoded them
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFinding:
    """A secret that a body held: its rule, its keyed hash, and the place of its bytes (in the decoded body)."""

    direction: Direction  # sent: it left the machine
    rule: str
    hash: str
    start: int
    length: int
    redacted: bool  # masked in the record; false: only reported


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedExchange:
    """One exchange as the journal tells it, secrets already redacted.

    Handed to the store whole, maybe several times: with ``state == IN_FLIGHT`` (`response` None or partial) and at
    last as it ended. The same `correlation_id` is the same row.
    """

    correlation_id: str
    owner: str  # the relay's journal directory name: its lock tells whether the process lives
    state: State
    entry_mode: EntryMode
    method: str
    url: str
    upstream_url: str
    http_version: str
    headers: RawHeaders
    api_key_hash: str | None
    instants: Instants
    request_body: RecordedBody
    response: RecordedResponse | None
    error: str | None = None
    error_kind: str | None = None
    request_head_us: int = 0
    request_body_us: int = 0
    response_head_us: int = 0
    connect_us: int = 0
    early_response: bool = False
    informational: tuple[int, ...] = ()
    websocket: RecordedWebSocket | None = None  # of an upgraded connection that has ended
    secrets: tuple[SecretFinding, ...] = ()
    secrets_in_journal: bool = False  # it holds what is masked here, and is to be overwritten
    unread: Mapping[str, str] = field(default_factory=dict)  # "body", "answer": the exception that reading it raised
    raw: bool = False  # reading it killed the recorder: kept as the journal has it, nothing is to be derived
