"""Values of the store as documents of the API: renaming and formatting, nothing else.

Apart so that a resource module says what is fetched and this one how it looks.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from claudeproxy.api.schemas import (
    Attribution,
    BodySummary,
    Feedback,
    RequestDetail,
    RequestSummary,
    ResponseDetail,
    ResponseSummary,
    SourceTotal,
    Usage,
)
from claudeproxy.api.times import iso, iso_or_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.insight.values import QualityFeedback
    from claudeproxy.store import values

_PICO = -12


def dollars(picodollars: int | None) -> str | None:
    """Pico-dollars as an exact decimal string of dollars, without an exponent or needless zeros."""
    if picodollars is None:
        return None
    text = f"{Decimal(picodollars).scaleb(_PICO):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def header_object(headers: values.HeaderList) -> dict[str, str]:
    """Fields by name; repeated ones joined by a comma (RFC 9110, 5.3), under the spelling that came first."""
    spelling: dict[str, str] = {}
    joined: dict[str, str] = {}
    for name, value in headers:
        key = spelling.setdefault(name.lower(), name)
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def request_summary(request: values.CapturedRequest) -> RequestSummary:
    """A row of the list."""
    return RequestSummary.model_validate(_request_fields(request))


def request_detail(
    request: values.CapturedRequest,
    response: values.CapturedResponse | None,
    attributions: Sequence[values.ContextAttribution],
    sources: Sequence[values.SourceTotal],
    output: Sequence[values.SourceTotal],
    feedback: QualityFeedback | None,
) -> RequestDetail:
    """The whole of a request but its `body_json`, which is left null."""
    instants = request.instants
    return RequestDetail.model_validate(
        {
            **_request_fields(request),
            "headers": header_object(request.headers),
            "header_list": request.headers,
            "body": BodySummary(
                kept=request.body_kept,
                length=request.body_length,
                sha256=request.body_sha256,
                encoding=request.body_encoding,
            ),
            "body_json": None,
            "attributions": [attribution(one) for one in attributions],
            "sources": [source_total(one) for one in sources],
            "output": [source_total(one) for one in output],
            "request_initiated": iso(instants.request_initiated),
            "proxy_received": iso_or_none(instants.proxy_received),
            "forwarded": iso_or_none(instants.forwarded),
            "response_received": iso_or_none(instants.response_received),
            "delivered": iso_or_none(instants.delivered),
            "response": None if response is None else _response_fields(response),
            "feedback": None if feedback is None else feedback_of(feedback),
        }
    )


def response_summary(response: values.CapturedResponse) -> ResponseSummary:
    """A response as its request shows it."""
    return ResponseSummary.model_validate(_response_fields(response))


def feedback_of(one: QualityFeedback) -> Feedback:
    """A rating."""
    return Feedback.model_validate(feedback_fields(one))


def feedback_fields(one: QualityFeedback) -> dict[str, object]:
    """The fields of a rating, for the documents that have more."""
    return {
        "id": one.id,
        "request_id": one.request_id,
        "response_id": one.response_id,
        "rating": one.rating,
        "feedback_text": one.feedback_text,
        "user_id": one.user_id,
        "submitted_at": iso(one.submitted_at),
        "affected_sources": list(one.affected_sources),
    }


def response_detail(response: values.CapturedResponse) -> ResponseDetail:
    """The whole of a response but its `body_json`, which is left null."""
    return ResponseDetail.model_validate(
        {
            **_response_fields(response),
            "request_id": response.request_id,
            "latency_us": response.latency_us,
            "proxy_latency_us": response.proxy_latency_us,
            "headers": header_object(response.headers),
            "header_list": response.headers,
            "body": BodySummary(
                kept=response.body_kept, length=response.body_length, sha256=response.body_sha256, encoding=None
            ),
            "body_json": None,
            "usage": Usage.model_validate(response.usage, from_attributes=True),
        }
    )


def attribution(one: values.ContextAttribution) -> Attribution:
    """A piece of context."""
    return Attribution(
        id=one.id,
        request_id=one.request_id,
        source_type=one.source.type,
        source_name=one.source.name,
        token_count=one.token_count,
        content_hash=one.content_hash,
        message_index=one.message_index,
        message_role=one.message_role,
        json_path=one.json_path,
        start=one.start,
        end=one.end,
        kind=one.kind,
        rule=one.rule,
        confidence=one.confidence,
        accuracy=one.accuracy,
        price_class=one.price_class,
        cost=dollars(one.cost),
        effective=one.effective,
        plugin=one.source.plugin,
        evidence=one.evidence,
    )


def source_total(one: values.SourceTotal) -> SourceTotal:
    """One source's share of a request."""
    return SourceTotal(
        label=one.source.label,
        source_type=one.source.type,
        source_name=one.source.name,
        token_count=one.token_count,
        accuracy=one.accuracy,
        cost=dollars(one.cost),
    )


def _request_fields(request: values.CapturedRequest) -> dict[str, object]:
    identity = request.identity
    return {
        "id": request.id,
        "correlation_id": request.correlation_id,
        "timestamp": iso(request.timestamp),
        "method": request.method,
        "url": request.url,
        "total_tokens": request.total_tokens,
        "accuracy": request.accuracy,
        "expected_error": request.expected_error,
        "cost": dollars(request.cost),
        "cost_note": request.cost_note,
        "subscription": request.subscription,
        "has_feedback": request.has_feedback,
        "state": request.state,
        "error": request.error,
        "error_kind": request.error_kind,
        "status_code": request.status_code,
        "latency_ms": request.latency_ms,
        "proxy_latency_ms": request.proxy_latency_ms,
        "response_tokens": request.response_tokens,
        "model": identity.model,
        "session_id": identity.session_id,
        "agent_id": identity.agent_id,
        "parent_agent_id": identity.parent_agent_id,
        "agent_type": identity.agent_type,
        "request_class": identity.request_class,
        "client_version": identity.client_version,
        "project": identity.project,
        "retry_of": request.lineage.retry_of,
        "parent_request_id": request.lineage.parent_request_id,
        "prompt_index": request.lineage.prompt_index,
        "turn_index": request.lineage.turn_index,
        "effective": request.effective,
        "context_complete": request.context_complete,
        "entry_mode": request.entry_mode,
        "upstream_url": request.upstream_url,
    }


def _response_fields(response: values.CapturedResponse) -> dict[str, object]:
    return {
        "id": response.id,
        "correlation_id": response.correlation_id,
        "timestamp": iso(response.timestamp),
        "status_code": response.status_code,
        "latency_ms": response.latency_ms,
        "proxy_latency_ms": response.proxy_latency_ms,
        "response_tokens": response.response_tokens,
        "stop_reason": response.stop_reason,
        "model": response.model,
        "request_id_header": response.request_id_header,
        "origin": response.origin,
        "error_type": response.error_type,
        "streamed": response.streamed,
    }
