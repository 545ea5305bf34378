"""What the API answers, field by field; the served OpenAPI document is made from these models.

Names and types are a promise to programs: fields are added, none is renamed or removed. Times are ISO 8601 in UTC with
a ``Z``, ids UUIDs, latencies whole milliseconds, money a decimal string of US dollars, averages doubles.

Values come from `store` (see `presenting`); nothing is computed here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, WithJsonSchema

from claudeproxy.model import Accuracy, BodyKept, EntryMode, SourceType, State  # noqa: TC001 - pydantic reads them

Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Id = Annotated[str, WithJsonSchema({"type": "string", "format": "uuid"})]
Dollars = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"})]
Json = Annotated[JsonValue, WithJsonSchema({})]


class Document(BaseModel):
    """What all answers have in common."""

    # Enums are sent as their text; no field is left out when it is null.
    model_config = ConfigDict(use_enum_values=True, extra="forbid", json_schema_serialization_defaults_required=True)


class BodySummary(Document):
    """What of a body was kept."""

    kept: BodyKept = Field(description="`whole`, or why not.")
    length: int = Field(description="Bytes on the wire, before any content coding was taken off.")
    sha256: str | None = Field(description="SHA-256 of the bytes on the wire, hex.")
    encoding: str | None = Field(description="The content coding that was taken off for the record, if any.")


class RequestSummary(Document):
    """One captured request, as the list shows it."""

    id: Id
    correlation_id: Id = Field(description="Shared by a request and its response.")
    timestamp: Time = Field(description="When its first byte came.")
    method: str
    url: str = Field(description="Absolute, as addressed to the API host, also in reverse mode.")
    total_tokens: int | None = Field(description="The prompt side; null until it is counted.")
    accuracy: Accuracy | None = Field(description="Of `total_tokens`: `exact` as billed, `estimated` before that.")
    expected_error: float | None = Field(description="Relative, of an estimate; null when exact or unknown.")
    cost: Dollars | None = Field(description="Answer included; null without a bill or a price.")
    cost_note: str | None = Field(description="Why there is no cost, or what no price list covers.")
    subscription: bool = Field(description="Paid by one: the cost is what the API would have charged.")
    has_feedback: bool
    state: State
    error: str | None = Field(description="What went wrong on the way, for people.")
    error_kind: str | None = Field(description="What went wrong on the way, as a stable word.")
    status_code: int | None = Field(description="Of the response; null when none came yet.")
    latency_ms: int | None = Field(description="Request forwarded to first byte of the response.")
    proxy_latency_ms: int | None = Field(description="What the proxy itself added.")
    response_tokens: int | None = Field(description="Output tokens, as billed.")
    model: str | None
    session_id: str | None
    agent_id: str | None
    parent_agent_id: str | None
    agent_type: str | None
    request_class: str | None
    client_version: str | None
    project: str | None
    retry_of: Id | None = Field(description="The first attempt at the same request, when this is another one.")
    parent_request_id: Id | None = Field(
        description="The request that this one goes on from: its messages are the longest beginning of these."
    )
    prompt_index: int | None = Field(
        description="Number of the prompt in its session and agent, from 1; null for side calls and counts."
    )
    turn_index: int | None = Field(description="Number of the turn likewise; attempts at one request share it.")
    effective: bool = Field(
        description="It continues a stateful thread: sources and tokens are those of the rebuilt conversation."
    )
    context_complete: bool = Field(description="False where a stateful thread began before it could be captured.")
    entry_mode: EntryMode
    upstream_url: str = Field(description="Where it really went.")


class RequestList(Document):
    """A page of captured requests, newest first."""

    requests: list[RequestSummary]
    total: int = Field(description="All matches, not only those on this page.")
    limit: int
    offset: int
    as_of: int = Field(description="Give it back with the next page's `offset`, so that new captures do not shift it.")


class Attribution(Document):
    """A piece of a request's context and the source that it came from."""

    id: Id
    request_id: Id
    source_type: SourceType
    source_name: str | None = Field(description="Null for `User` and `Overhead` only.")
    token_count: int
    content_hash: str = Field(description="SHA-256 of the text (UTF-8), hex.")
    message_index: int = Field(description="-1 for system, tools and overhead.")
    message_role: str
    json_path: str = Field(description="Such as `$.messages[0].content[1].text`.")
    start: int | None = Field(description="First code point of the decoded string; null for a whole value.")
    end: int | None
    kind: str
    rule: str = Field(description="The rule that found it.")
    confidence: float
    accuracy: Accuracy
    price_class: str | None = Field(description="`read`, `write_5m`, `write_1h`, `uncached`, `output`; of most of it.")
    cost: Dollars | None = Field(description="Null without a bill or a price.")
    effective: bool = Field(description="Whether the path refers to the rebuilt conversation of a stateful thread.")
    plugin: str | None = Field(description="The plugin that brought the source.")
    evidence: str | None = Field(description="What the rule went by, where it says.")


class AttributionList(Document):
    """Attributions, in prompt order within a request."""

    attributions: list[Attribution]
    total: int


class SourceTotal(Document):
    """One source's share of a request."""

    label: str = Field(description="For people, such as `MCP: context7`.")
    source_type: SourceType
    source_name: str | None
    token_count: int
    accuracy: Accuracy = Field(description="The least accurate part decides.")
    cost: Dollars | None = Field(description="All sources and all of `output` add up to the request's cost.")


class Usage(Document):
    """The bill, as the API wrote it; null where it said nothing."""

    input_tokens: int | None
    cache_creation_input_tokens: int | None
    cache_read_input_tokens: int | None
    cache_creation_5m: int | None
    cache_creation_1h: int | None
    output_tokens: int | None
    thinking_tokens: int | None
    web_search_requests: int | None
    web_fetch_requests: int | None
    service_tier: str | None
    speed: str | None
    inference_geo: str | None


class ResponseSummary(Document):
    """One captured response, as its request shows it."""

    id: Id
    correlation_id: Id
    timestamp: Time = Field(description="When the first byte of its head came.")
    status_code: int
    latency_ms: int | None = Field(
        description="Request forwarded to first byte of the response; null when the request never got out."
    )
    proxy_latency_ms: int = Field(description="What the proxy itself added.")
    response_tokens: int | None = Field(description="Null when the API named no number.")
    stop_reason: str | None
    model: str | None
    request_id_header: str | None = Field(description="The API's own `request-id`.")
    origin: str = Field(description="`upstream`, or `proxy` for an answer that the proxy made.")
    error_type: str | None = Field(description="Of an error answer, or of an error inside a stream that began well.")
    streamed: bool


class ResponseDetail(ResponseSummary):
    """One captured response."""

    request_id: Id = Field(description="The captured request that this answers.")
    latency_us: int | None
    proxy_latency_us: int
    headers: dict[str, str] = Field(description="Redacted; repeated names joined by a comma.")
    header_list: list[tuple[str, str]] = Field(description="In the order and number that they came in.")
    body: BodySummary
    body_json: Json = Field(description="Null when it is not JSON; for a stream the reassembled message.")
    usage: Usage


class Feedback(Document):
    """What somebody thought of the answer to a request."""

    id: Id
    request_id: Id
    response_id: Id
    rating: float = Field(description="-1.0 to 1.0.")
    feedback_text: str | None
    user_id: str
    submitted_at: Time
    affected_sources: list[str] = Field(
        description="The sources in the request's context, each once, by name (by type, where one has none)."
    )


class RequestDetail(RequestSummary):
    """One captured request, with everything that is known of it."""

    headers: dict[str, str] = Field(description="Redacted; repeated names joined by a comma.")
    header_list: list[tuple[str, str]] = Field(description="In the order and number that they came in.")
    body: BodySummary
    body_json: Json = Field(description="Null when it is not JSON.")
    attributions: list[Attribution]
    sources: list[SourceTotal]
    output: list[SourceTotal] = Field(
        description="What was generated: text, thinking, calls; fees of server tools. No part of `total_tokens`."
    )
    request_initiated: Time = Field(description="First byte of the request.")
    proxy_received: Time | None = Field(description="Its last byte.")
    forwarded: Time | None = Field(description="Last byte given to the upstream.")
    response_received: Time | None = Field(description="First byte of the response's head.")
    delivered: Time | None = Field(description="Last byte given to the client.")
    response: ResponseSummary | None
    feedback: Feedback | None = Field(description="What somebody thought of the answer.")
