"""What goes in and out of feedback and metrics. Frozen values; times are ns since the epoch, ratings -1.0 to 1.0.

Apart so that the API and the command line can name them without the SQL behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.insight.estimates import Estimate


class Unchanged(Enum):
    """Says of a field in an update that it stays as it is (None takes a text away)."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityFeedback:
    """One person's rating of the answer to one request."""

    id: str
    request_id: str
    response_id: str
    rating: float
    feedback_text: str | None
    user_id: str
    submitted_at: int
    affected_sources: tuple[str, ...]  # names (the type, where a source has none), each once, in order


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackFilters:
    """What `list_feedback` is asked for; None filters nothing. Times are those of submission."""

    min_rating: float | None = None  # inclusive
    max_rating: float | None = None  # inclusive
    user_id: str | None = None
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive
    limit: int = 20
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackPage:
    """One page of feedback, the latest submitted first, and how much matches in all."""

    rows: Sequence[QualityFeedback]
    total: int


class SourceSort(StrEnum):
    """What a list of sources may be sorted by."""

    USAGE_COUNT = "usage_count"
    AVERAGE_RATING = "average_rating"
    TOTAL_TOKENS = "total_tokens"
    TOTAL_COST = "total_cost"
    RATING_LOW = "rating_low"  # the careful ranking: `Estimate.low`
    LAST_USED = "last_used"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFilters:
    """What `SourceMetrics.sources` and `.history` are asked for; None filters nothing.

    Times bound the requests. A request that retention has deleted counts at the beginning of its UTC day.
    """

    source_name: str | None = None
    source_type: str | None = None
    since: int | None = None  # inclusive
    until: int | None = None  # exclusive


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSourceMetrics:
    """What one source was used for, cost and earned. A request counts once, whatever it holds of the source."""

    source_type: str
    source_name: str  # the type, where a source has no name
    usage_count: int  # requests
    total_tokens: int
    average_tokens: float
    total_cost: int | None  # pico-dollars, of the requests whose cost is known; None: of none
    feedback_count: int
    average_rating: float  # 0.0 without feedback
    estimate: Estimate  # what the ratings say, careful about few of them
    last_used: int  # of all time, also when the other numbers are bounded
    created_at: int  # first use


class Bucket(StrEnum):
    """Widths of time in a history. Days are UTC; weeks begin on Monday."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """One source in one stretch of time, by the instants of the requests (ratings too)."""

    start: int
    source_type: str
    source_name: str
    usage_count: int
    total_tokens: int
    total_cost: int | None  # pico-dollars
    feedback_count: int
    average_rating: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSummary:
    """All requests of a time together. Averages of nothing are 0.0; `oldest_capture` is None when there is none.

    Counts include what retention has deleted; the two instants are those of captures that are there.
    """

    total_requests: int
    total_tokens_sent: int
    total_tokens_received: int
    average_latency_ms: float
    average_proxy_latency_ms: float
    feedback_count: int
    average_rating: float
    total_cost: int | None  # pico-dollars, of the context
    cache_share: float  # of the billed prompt tokens, those read from the API's cache; of captures that are there
    oldest_capture: int | None
    newest_capture: int | None
