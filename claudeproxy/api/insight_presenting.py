"""Values of `insight` as documents of the API: renaming and formatting, nothing else. As `presenting`, for captures."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from claudeproxy.api.insight_schemas import (
    Estimate,
    FeedbackDetail,
    HistoryPoint,
    MetricsSummary,
    SessionAgent,
    SessionDetail,
    SessionRequest,
    SessionSummary,
    SessionTotals,
    SessionTurn,
    SourceMetrics,
)
from claudeproxy.api.presenting import dollars, feedback_fields, request_summary, response_summary
from claudeproxy.api.times import iso, iso_or_none

if TYPE_CHECKING:
    from claudeproxy.insight import session_values as sessions
    from claudeproxy.insight import values
    from claudeproxy.store.values import CapturedRequest, CapturedResponse


def feedback_detail(
    one: values.QualityFeedback, request: CapturedRequest, response: CapturedResponse
) -> FeedbackDetail:
    """A rating with what it is of."""
    return FeedbackDetail.model_validate(
        {**feedback_fields(one), "request": request_summary(request), "response": response_summary(response)}
    )


def metrics_summary(one: values.MetricsSummary, *, drops: int) -> MetricsSummary:
    """All requests of a time."""
    return MetricsSummary(
        total_requests=one.total_requests,
        total_tokens_sent=one.total_tokens_sent,
        total_tokens_received=one.total_tokens_received,
        average_latency_ms=one.average_latency_ms,
        average_proxy_latency_ms=one.average_proxy_latency_ms,
        feedback_count=one.feedback_count,
        average_rating=one.average_rating,
        total_cost=dollars(one.total_cost),
        cache_share=one.cache_share,
        drops=drops,
        oldest_capture=iso_or_none(one.oldest_capture),
        newest_capture=iso_or_none(one.newest_capture),
    )


def source_metrics(one: values.ContextSourceMetrics) -> SourceMetrics:
    """One source."""
    return SourceMetrics.model_validate(
        {
            **{name: getattr(one, name) for name in SourceMetrics.model_fields},
            "total_cost": dollars(one.total_cost),
            "estimate": Estimate.model_validate(one.estimate, from_attributes=True),
            "last_used": iso(one.last_used),
            "created_at": iso(one.created_at),
        }
    )


def history_point(one: values.HistoryPoint) -> HistoryPoint:
    """One source in one stretch of time."""
    return HistoryPoint.model_validate(
        {**asdict(one), "start": iso(one.start), "total_cost": dollars(one.total_cost)},
    )


def session_summary(one: sessions.SessionSummary) -> SessionSummary:
    """A row of the list."""
    return SessionSummary.model_validate(_summary_fields(one))


def session_detail(one: sessions.SessionDetail, *, limit: int, offset: int) -> SessionDetail:
    """A session with a page of what it is made of."""
    return SessionDetail.model_validate(
        {
            **_summary_fields(one.summary),
            "states": one.states,
            "request_classes": one.request_classes,
            "agents": [_agent(agent) for agent in one.agents],
            "turns": [_turn(turn) for turn in one.turns],
            "turns_total": one.turns_total,
            "others": [_request(request) for request in one.others],
            "others_total": one.others_total,
            "limit": limit,
            "offset": offset,
        }
    )


def _summary_fields(one: sessions.SessionSummary) -> dict[str, object]:
    return {
        "session_id": one.session_id,
        "project": one.project,
        "client": one.client,
        "client_version": one.client_version,
        "agent_count": one.agents,
        "prompt_count": one.prompts,
        "turn_count": one.turns,
        "totals": _totals(one.totals),
    }


def _totals(one: sessions.SessionTotals) -> SessionTotals:
    return SessionTotals.model_validate(
        {
            **{name: getattr(one, name) for name in SessionTotals.model_fields},
            "cost": dollars(one.cost),
            "started": iso(one.started),
            "ended": iso(one.ended),
            "models": list(one.models),
        }
    )


def _agent(one: sessions.SessionAgent) -> SessionAgent:
    return SessionAgent(
        agent_id=one.agent_id,
        parent_agent_id=one.parent_agent_id,
        agent_type=one.agent_type,
        totals=_totals(one.totals),
        children=[_agent(child) for child in one.children],
    )


def _turn(one: sessions.SessionTurn) -> SessionTurn:
    return SessionTurn.model_validate(
        {
            **{name: getattr(one, name) for name in SessionTurn.model_fields},
            "started": iso(one.started),
            "cost": dollars(one.cost),
            "requests": [_request(request) for request in one.requests],
        }
    )


def _request(one: sessions.SessionRequest) -> SessionRequest:
    return SessionRequest.model_validate(
        {
            **{name: getattr(one, name) for name in SessionRequest.model_fields},
            "timestamp": iso(one.timestamp),
            "cost": dollars(one.cost),
        }
    )
