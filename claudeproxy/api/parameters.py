"""What a request to the API may ask: one model a route, from which both the checks and the documentation follow.

A parameter that is not listed is an error and not ignored: a misspelt filter that silently matches everything is worse
than a refusal. Ids in filters must be whole UUIDs; abbreviations are for people at a prompt (the CLI takes them).
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from claudeproxy.api.times import parse_time, within_reach
from claudeproxy.insight.quota_values import QuotaBy
from claudeproxy.insight.values import Bucket, SourceSort
from claudeproxy.model import Direction, SourceType, State  # noqa: TC001 - likewise
from claudeproxy.store.values import RequestFilters

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
MAX_ATTRIBUTIONS = 1000

# As far as JSON numbers go exactly; SQLite's integers go further.
_MAX_OFFSET = (1 << 53) - 1
_MAX_DOLLARS = 1_000_000  # SQLite's integers hold nine times as many, in pico-dollars


def _time(value: object) -> object:
    return parse_time(value) if isinstance(value, str) else value


def _uuid(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return str(UUID(value))
    except ValueError:
        raise ValueError("give a UUID") from None


Time = Annotated[
    int,
    BeforeValidator(_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Id = Annotated[str, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Words = Annotated[str, StringConstraints(max_length=1000)]
Status = Annotated[int, Field(ge=100, le=999)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Field(ge=0, le=_MAX_OFFSET)]
Rating = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
Amount = Annotated[
    Decimal,
    Field(ge=0, le=_MAX_DOLLARS, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": _MAX_DOLLARS}),
]
Order = Literal["asc", "desc"]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Period(_Query):
    start_time: Time | None = Field(None, description="Not before this time (ISO 8601; UTC without a zone).")
    end_time: Time | None = Field(None, description="Before this time.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start_time is not None and self.end_time is not None and self.start_time >= self.end_time:
            raise ValueError("start_time must be before end_time")
        return self

    @property
    def since(self) -> int | None:
        """`start_time` as the database takes it."""
        return within_reach(self.start_time)

    @property
    def until(self) -> int | None:
        """`end_time` likewise."""
        return within_reach(self.end_time)


_HOUR = 3600 * 10**9  # ns


class _Stretch(_Period):
    """A time that has two ends, whatever is given of them."""

    @property
    def _length(self) -> int:
        """Where no beginning is given, ns."""
        return 7 * 24 * _HOUR

    @property
    def period(self) -> tuple[int, int]:
        """From and to, ns since the epoch: to now, unless that lies before the beginning."""
        until = self.until
        if until is None:
            until = max(time.time_ns(), (self.since or 0) + 1)
        return (until - self._length if self.since is None else self.since), until


class FilterQuery(_Period):
    """The filters of the list; those given must all hold."""

    context_source: Text | None = Field(None, description="The name of a source in the context, such as `context7`.")
    source_type: SourceType | None = Field(None, description="The type of a source in the context.")
    request_class: Text | None = Field(None, description="`main`, `subagent`, `compaction`, `auxiliary`, ...")
    method: Text | None = Field(None, description="HTTP method.")
    path: Text | None = Field(None, description="The URL's path; with a `*` at its end every path that begins so.")
    model: Text | None = Field(None, description="Model name.")
    status: Status | None = Field(None, description="HTTP status of the response.")
    state: State | None = Field(None, description="What became of the exchange.")
    session_id: Text | None = Field(None, description="The client's session.")
    agent_id: Text | None = Field(None, description="The subagent's id.")
    project: Text | None = Field(None, description="The client's working directory, or the last parts of it.")
    over: Amount | None = Field(None, description="Cost more than so many dollars.")
    q: Words | None = Field(
        None, description="Words: the request that introduced a text with all of them, or was answered with it."
    )
    everywhere: bool = Field(False, description="With `q`: every request that carried the text.")

    def filters(self) -> RequestFilters:
        """What the store is asked for."""
        asked = self.model_dump(include=set(RequestFilters.__dataclass_fields__) - {"over"})
        over = None if self.over is None else int(self.over.scaleb(12))  # pico-dollars
        return RequestFilters(since=self.since, until=self.until, source=self.context_source, over=over, **asked)


class RequestQuery(FilterQuery):
    """The filters of the list, and its pages."""

    limit: Limit = Field(DEFAULT_LIMIT, description="Requests on a page.")
    offset: Offset = Field(0, description="Requests to skip, newest first.")
    as_of: Offset | None = Field(
        None,
        description="From the first page's answer: leaves out what was captured since, so that pages fit together.",
    )


class DeletionQuery(FilterQuery):
    """What is to be deleted; at least one filter is required."""

    dry_run: bool = Field(False, description="Only count what would be deleted.")


class LiveQuery(FilterQuery):
    """The filters of the list, and where to go on."""

    last_event_id: Offset | None = Field(
        None, description="Of the last event that was seen: what happened since comes first. Without it: from now on."
    )


class ExportQuery(FilterQuery):
    """The filters of the list, and the format."""

    format: Literal["jsonl", "har"] = Field("jsonl", description="JSON lines, or an HTTP archive (HAR 1.2).")


class ContextQuery(_Period):
    """The filters of the attributions; those given must all hold."""

    request_id: Id | None = Field(None, description="Of one captured request; all its attributions without a `limit`.")
    source_name: Text | None = Field(None, description="The source's name.")
    source_type: SourceType | None = Field(None, description="The source's type.")
    limit: Limit | None = Field(
        None,
        description=f"Attributions on a page. Without it and without `request_id`: the first {MAX_ATTRIBUTIONS:,}.",
    )
    offset: Offset = Field(0, description="Attributions to skip.")


class SummaryQuery(_Period):
    """The time that a summary is of."""


class SourceQuery(_Period):
    """Which sources, in which order."""

    source_name: Text | None = Field(None, description="The source's name; its type, where it has none.")
    source_type: SourceType | None = Field(None, description="The source's type.")
    sort_by: SourceSort = Field(SourceSort.USAGE_COUNT, description="`rating_low` is the careful ranking by rating.")
    order: Order = Field("desc", description="Sources with equal numbers are in order of type and name.")
    weighted: bool = Field(
        False, description="In `estimate` a rating counts as much as the source's share of the rated context."
    )


class HistoryQuery(_Period):
    """Which sources, in buckets of which width."""

    bucket: Bucket = Field(Bucket.DAY, description="Days are UTC, weeks begin on Monday.")
    source_name: Text | None = Field(None, description="The source's name; its type, where it has none.")
    source_type: SourceType | None = Field(None, description="The source's type.")


class FeedbackQuery(_Period):
    """Which feedback; times are those of submission."""

    min_rating: Rating | None = Field(None, description="At least.")
    max_rating: Rating | None = Field(None, description="At most.")
    user_id: Text | None = Field(None, description="Who gave it.")
    limit: Limit = Field(DEFAULT_LIMIT, description="Entries on a page.")
    offset: Offset = Field(0, description="Entries to skip, the latest first.")

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        if self.min_rating is not None and self.max_rating is not None and self.min_rating > self.max_rating:
            raise ValueError("min_rating must not be above max_rating")
        return self


class SessionQuery(_Period):
    """Which sessions; times are those of their requests."""

    project: Text | None = Field(None, description="The working directory, or the last parts of it.")
    limit: Limit = Field(DEFAULT_LIMIT, description="Sessions on a page.")
    offset: Offset = Field(0, description="Sessions to skip.")


class SessionDetailQuery(_Query):
    """Which of a session's turns and other requests are listed; the totals are always of all."""

    limit: Limit = Field(MAX_LIMIT, description="Turns, and other requests, on a page.")
    offset: Offset = Field(0, description="Turns, and other requests, to skip.")


class CarryingQuery(_Query):
    """How many of a session's pieces are listed."""

    limit: Limit = Field(DEFAULT_LIMIT, description="Pieces, the dearest first; sources are always all there.")


class MessageQuery(_Query):
    """Which messages of a WebSocket."""

    direction: Direction | None = Field(None, description="Only those: `sent` is client to API.")
    limit: Limit = Field(DEFAULT_LIMIT, description="Messages on a page.")
    offset: Offset = Field(0, description="Messages to skip, the earliest first.")


class CompareQuery(_Stretch):
    """The later one of two periods; without `start_time` seven days, without `end_time` until now."""

    source_name: Text | None = Field(None, description="The source's name; its type, where it has none.")
    source_type: SourceType | None = Field(None, description="The source's type.")


class KindsQuery(_Period):
    """Which sources, in the captures of which time."""

    source_name: Text | None = Field(None, description="The source's name; its type, where it has none.")
    source_type: SourceType | None = Field(None, description="The source's type.")


class QuotaQuery(_Stretch):
    """What a limit's use is divided by; without `start_time` the last five hours, without `end_time` until now."""

    by: QuotaBy = Field(QuotaBy.SOURCE, description="What to add up.")
    window: Text | None = Field(None, description="Only this one: `5h`, `7d`, `input-tokens`.")

    @property
    def _length(self) -> int:
        return 5 * _HOUR


class QuotaHistoryQuery(_Period):
    """Which hours of which limit."""

    window: Text | None = Field(None, description="Only this one: `5h`, `7d`, `input-tokens`.")


class SecretsQuery(_Period):
    """Which secrets."""

    rule: Text | None = Field(None, description="Only of this kind, such as `anthropic-key`.")
    source: Text | None = Field(None, description="Only those that came through the source with this label.")
    sent: bool = Field(False, description="Only those that were in a request.")


class SecretQuery(_Query):
    """How much of one secret."""

    limit: int = Field(100, ge=1, le=1000, description="Places at the most, the latest.")
