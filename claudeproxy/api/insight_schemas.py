"""What the API answers about captures weighed: feedback, metrics, sessions, deletions.

Apart from `schemas`, which are captures as they are; the same promises hold for both.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from claudeproxy.api.schemas import (
    Document,
    Dollars,
    Feedback,
    Id,
    RequestSummary,
    ResponseSummary,
    Time,
)
from claudeproxy.insight.values import Bucket  # noqa: TC001
from claudeproxy.model import SourceType, State  # noqa: TC001


class FeedbackDetail(Feedback):
    """Feedback with what it is of."""

    request: RequestSummary
    response: ResponseSummary


class FeedbackList(Document):
    """A page of feedback, the latest submitted first."""

    feedback: list[FeedbackDetail]
    total: int = Field(description="All matches, not only those on this page.")
    limit: int
    offset: int


class MetricsSummary(Document):
    """All requests of a time together, those too that retention has deleted."""

    total_requests: int
    total_tokens_sent: int = Field(description="The prompt side.")
    total_tokens_received: int = Field(description="Output tokens, as billed.")
    average_latency_ms: float
    average_proxy_latency_ms: float
    feedback_count: int
    average_rating: float = Field(description="0.0 without feedback.")
    total_cost: Dollars | None = Field(description="Of what has a price; null when nothing has.")
    cache_share: float = Field(
        description="The part of the billed prompt tokens that the API read from its cache, 0 to 1, in captures that "
        "are there."
    )
    drops: int = Field(description="Exchanges recorded not at all or without bodies, since the service began.")
    oldest_capture: Time | None = Field(description="Of the captures that are there; null when there is none.")
    newest_capture: Time | None


class Estimate(Document):
    """What ratings are worth: an average drawn towards 0 by five imagined ratings, and its 95 % interval."""

    rating: float
    low: float = Field(description="The end to rank by: few ratings cannot rank high.")
    high: float
    count: float = Field(description="Ratings behind it; a sum of shares when they are weighted.")


class SourceMetrics(Document):
    """What one source was used for, cost and earned. A request counts once, whatever it holds of the source."""

    source_type: SourceType
    source_name: str = Field(description="The type, where a source has no name.")
    usage_count: int = Field(description="Requests.")
    total_tokens: int
    average_tokens: float
    total_cost: Dollars | None = Field(description="Of the requests that have a price; null when none has.")
    feedback_count: int
    average_rating: float = Field(description="0.0 without feedback.")
    estimate: Estimate
    last_used: Time = Field(description="Of all time.")
    created_at: Time = Field(description="First use.")


class SourceMetricsList(Document):
    """The sources, sorted."""

    metrics: list[SourceMetrics]


class HistoryPoint(Document):
    """One source in one hour, day or week."""

    start: Time
    source_type: SourceType
    source_name: str
    usage_count: int = Field(description="Requests.")
    total_tokens: int
    total_cost: Dollars | None
    feedback_count: int
    average_rating: float


class History(Document):
    """The sources' numbers by time, in order of time, type and name."""

    bucket: Bucket
    history: list[HistoryPoint]


class SessionTotals(Document):
    """Requests of a session or an agent together."""

    requests: int = Field(description="All: attempts, side calls and token counts too.")
    retries: int = Field(description="Attempts after the first at the same request.")
    failed: int = Field(description="No whole answer, or one that says that something went wrong.")
    in_flight: int
    tokens: int = Field(description="Context, each once however many attempts it took.")
    output_tokens: int
    billed_tokens: int = Field(description="Prompt tokens as billed: input, cache creation, cache read.")
    cache_read_tokens: int
    cache_share: float
    cost: Dollars | None
    started: Time
    ended: Time
    models: list[str]


class SessionSummary(Document):
    """One session."""

    session_id: str
    project: str | None
    client: str | None
    client_version: str | None
    agent_count: int = Field(description="Subagents, without the main conversation.")
    prompt_count: int = Field(description="Of the main conversation.")
    turn_count: int = Field(description="Of all agents.")
    totals: SessionTotals


class SessionList(Document):
    """A page of sessions, the last active first."""

    sessions: list[SessionSummary]
    total: int
    limit: int
    offset: int


class SessionAgent(Document):
    """The main conversation (no id, no type) or a subagent, with the agents that it called."""

    agent_id: str | None
    parent_agent_id: str | None
    agent_type: str | None
    totals: SessionTotals = Field(description="Its own, without its children's.")
    children: list[SessionAgent]


class SessionRequest(Document):
    """One attempt at a request."""

    id: Id
    timestamp: Time
    state: State
    request_class: str | None
    model: str | None
    status_code: int | None
    error: str | None
    stop_reason: str | None
    tokens: int | None
    output_tokens: int | None
    cost: Dollars | None
    retry_of: Id | None


class SessionTurn(Document):
    """One request of a conversation with all attempts at it."""

    agent_id: str | None
    agent_type: str | None
    prompt_index: int
    turn_index: int
    started: Time
    state: State = Field(description="Of the last attempt.")
    tokens: int | None
    output_tokens: int
    cost: Dollars | None
    requests: list[SessionRequest]


class SessionDetail(SessionSummary):
    """A session: what all of it comes to, and a page of its turns and of its other requests."""

    states: dict[str, int] = Field(description="Requests by state.")
    request_classes: dict[str, int] = Field(description="Requests by class; those without one are left out.")
    agents: list[SessionAgent] = Field(description="The roots: the main conversation, where it was captured.")
    turns: list[SessionTurn] = Field(description="Those of this page, in order of time.")
    turns_total: int = Field(description="Turns of the session.")
    others: list[SessionRequest] = Field(
        description="Side calls, counts, compactions, what was not explained: those of this page."
    )
    others_total: int
    limit: int
    offset: int


class Deletion(Document):
    """What was deleted, or would be."""

    requests: int
    responses: int
    feedback: int
    nodes: int = Field(description="Places in contexts that nothing else went through.")
    blocks: int = Field(description="Pieces of text that nothing else held.")
    bytes_before: int = Field(description="Of the database on disk.")
    bytes_after: int
    seconds: float
    longest_step: float = Field(description="Seconds that nobody else could write.")
    dry_run: bool = Field(description="Only counted: then only `requests` is told.")


class UnclassifiedShare(BaseModel):
    """The framework's tokens in one client version's newest requests, and those that no rule explained."""

    client: str | None
    client_version: str
    requests: int
    tokens: int
    unclassified: int
    share: float


class Health(BaseModel):
    """How the service is; further fields say what its parts report."""

    model_config = ConfigDict(extra="allow", json_schema_serialization_defaults_required=True)

    status: str = Field(description="`ok`, or a word for what is wrong.")
    version: str
    versions: dict[str, str] = Field(description="Of claudeproxy, Python and SQLite.")
    queue: dict[str, int] = Field(description="What is on its way into the database: open exchanges, journal bytes.")
    drops: int = Field(description="Exchanges recorded not at all or without bodies, since the service began.")
    journal: dict[str, object] | None = Field(description="What the journal says of itself.")
    live: dict[str, int] = Field(
        description="The live feeds: `readers` now, their `limit`, and how many were `dropped` since they took nothing."
    )
    unclassified: list[UnclassifiedShare] | None = Field(
        description="What no rule explains of the clients' own text, by client version; null without a database."
    )
