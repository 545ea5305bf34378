"""What the store gives back: captures, sources, pages. Frozen values; bodies and attributions are read on demand.

Apart so that the API, the CLI and the exporters can name these types without touching SQL. A capture remembers the
storage that it came from, and reads its body when asked: lists of captures stay cheap.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.model import Accuracy, BodyKept, EntryMode, Identity, Instants, Source, State, Usage

HeaderList = tuple[tuple[str, str], ...]
"""Header fields in wire order, redacted, read as Latin-1 (the superset of what RFC 9110, 5.5 allows)."""


class Bodies(Protocol):
    """The part of `CaptureStorage` that captures read their bodies from."""

    def request_body(self, id: str) -> bytes: ...  # noqa: A002, D102
    def response_body(self, id: str) -> bytes: ...  # noqa: A002, D102
    def response_json(self, id: str) -> object: ...  # noqa: A002, D102
    def attributions(self, request_id: str) -> list[ContextAttribution]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """A request's place among the others. Ids are those of requests; numbers count from 1 in a session and agent."""

    retry_of: str | None = None  # the first attempt at the same request
    parent_request_id: str | None = None  # whose messages are the longest beginning of this one's
    prompt_index: int | None = None  # None: no turn of a conversation (a side call, a count)
    turn_index: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRequest:
    """One request with what is known of it. `timestamp` is `instants.request_initiated`, ns since the epoch."""

    id: str
    correlation_id: str
    timestamp: int
    state: State
    method: str
    url: str
    upstream_url: str
    http_version: str
    entry_mode: EntryMode
    owner: str
    headers: HeaderList
    api_key_hash: str | None
    instants: Instants
    identity: Identity
    lineage: Lineage
    effective: bool  # it continues a stateful thread: its sources are those of the rebuilt conversation
    context_complete: bool  # False: the thread began before this database saw it
    total_tokens: int | None  # of the prompt, as billed; before the answer a prediction; None until it was attributed
    accuracy: Accuracy | None  # of total_tokens: exact or estimated
    expected_error: float | None  # relative, of an estimate; None: exact, or nobody knows
    cost: int | None  # pico-dollars, answer included; None: no bill or price unknown, as cost_note says
    cost_note: str | None  # why there is no cost, or what changes it in a way that no price list covers
    subscription: bool  # paid by one: the cost is what the API would have charged
    error: str | None
    error_kind: str | None
    connect_us: int
    early_response: bool
    informational: tuple[int, ...]
    body_kept: BodyKept
    body_length: int  # bytes on the wire
    body_sha256: str | None  # hex, of the bytes on the wire
    body_encoding: str | None  # the content coding that was taken off before storing
    status_code: int | None  # of the response, None while there is none
    latency_ms: int | None
    proxy_latency_ms: int | None
    response_tokens: int | None
    has_feedback: bool
    stored_in: Bodies = field(repr=False, compare=False)

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self.identity.model

    @property
    def body(self) -> bytes:
        """The captured bytes; empty when they were not kept (see `body_kept`)."""
        return self.stored_in.request_body(self.id)

    @property
    def body_json(self) -> object:
        """The body parsed, None when it is not JSON."""
        return parse_json(self.body)

    @property
    def source_attributions(self) -> list[ContextAttribution]:
        """Which source every piece of the context came from."""
        return self.stored_in.attributions(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedResponse:
    """The response to a captured request. `origin` is ``upstream`` or ``proxy`` (our own 502)."""

    id: str
    request_id: str
    correlation_id: str
    timestamp: int  # first byte of the head, ns since the epoch; the request's own when it never came
    status_code: int
    reason: str
    http_version: str
    headers: HeaderList
    trailers: HeaderList
    origin: str
    latency_us: int | None
    proxy_latency_us: int
    usage: Usage
    message_id: str | None
    model: str | None
    stop_reason: str | None
    error_type: str | None
    streamed: bool
    request_id_header: str | None  # `request-id` of the API
    body_kept: BodyKept
    body_length: int
    body_sha256: str | None
    stored_in: Bodies = field(repr=False, compare=False)

    @property
    def latency_ms(self) -> int | None:
        """Forwarded to first byte of the response, in whole milliseconds."""
        return None if self.latency_us is None else (self.latency_us + 500) // 1000

    @property
    def proxy_latency_ms(self) -> int:
        """What the proxy added, in whole milliseconds."""
        return (self.proxy_latency_us + 500) // 1000

    @property
    def response_tokens(self) -> int | None:
        """Output tokens, as billed."""
        return self.usage.output_tokens

    @property
    def body(self) -> bytes:
        """The raw bytes as received, still content-encoded when the upstream encoded them."""
        return self.stored_in.response_body(self.id)

    @property
    def body_json(self) -> object:
        """The body parsed, the reassembled message for a stream, None when it is neither."""
        return self.stored_in.response_json(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextAttribution:
    """A piece of one request's context and the source that it came from (a row of ``context_attributions``)."""

    id: str  # UUIDv5 of request and ordinal
    request_id: str
    source: Source
    kind: str
    rule: str
    confidence: float
    evidence: str | None
    token_count: int
    accuracy: Accuracy
    price_class: str | None
    cost: int | None  # pico-dollars
    content_hash: str  # SHA-256, hex, of the segment's UTF-8 text
    message_index: int  # -1 for tools, system and overhead
    message_role: str
    json_path: str
    start: int | None  # code points of the decoded string at json_path; both None: the whole value
    end: int | None
    byte_start: int | None  # bytes within the block, cache_control included; None for overhead
    byte_end: int | None
    effective: bool  # the path refers to the rebuilt conversation of a stateful thread


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTotal:
    """What one source contributed to one request."""

    source: Source
    token_count: int
    accuracy: Accuracy
    cost: int | None  # pico-dollars


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilters:
    """What `query_requests` is asked for; None filters nothing. Times are ns since the epoch.

    `source` matches a source's label (``MCP: context7``) or its name. `path` is the URL's path without query; with a
    ``*`` at its end it is a prefix. `project` is a directory, or the last parts of one. `over` is pico-dollars that the
    request cost more than. `as_of` comes from the first page: captures that arrived after it are left out, so that
    paging is stable. `q` is what somebody typed, any text (`wording.match_expression`): found is the request that
    brought a text with all these words in one block or answer, with `everywhere` each request that carried it.
    """

    since: int | None = None  # inclusive
    until: int | None = None  # exclusive
    source: str | None = None
    source_type: str | None = None
    request_class: str | None = None
    method: str | None = None
    path: str | None = None
    model: str | None = None
    status: int | None = None
    state: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    project: str | None = None
    over: int | None = None
    q: str | None = None
    everywhere: bool = False
    limit: int = 20
    offset: int = 0
    as_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """One page of captures, newest first, and how many match in all."""

    rows: Sequence[CapturedRequest]
    total: int
    as_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionReport:
    """What was deleted, or would be (`dry_run`: then only `requests` is told, what size will cost being estimated)."""

    requests: int
    responses: int
    feedback: int
    nodes: int
    blocks: int
    bytes_before: int  # of the database with its write-ahead log
    bytes_after: int
    seconds: float
    longest_step: float  # seconds that nobody else could write
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What `verify` found. `problems` holds one line each, at most a hundred; `problem_count` counts all."""

    requests: int
    responses: int
    messages: int
    blocks: int
    nodes: int
    problem_count: int
    problems: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether everything stored is what was captured."""
        return self.problem_count == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageSummary:
    """How much is stored. Sizes in bytes, times in ns since the epoch."""

    requests: int
    responses: int
    in_flight: int
    stored_whole: int  # bodies that came whole but were not cut into blocks
    blocks: int
    nodes: int
    database_bytes: int
    wal_bytes: int
    oldest: int | None
    newest: int | None


def parse_json(body: bytes) -> object:
    """Parse a body as JSON; None when it is none (or is the value null)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
