"""What a request to the API may ask: one model a route, from which both the checks and the documentation follow.

A parameter that is not listed is an error and not ignored: a misspelt filter that silently matches everything is worse
than a refusal. Ids in filters must be whole UUIDs; abbreviations are for people at a prompt (the CLI takes them).
"""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from claudeproxy.api.times import parse_time
from claudeproxy.model import SourceType, State  # noqa: TC001 - pydantic reads them

MAX_LIMIT = 100
DEFAULT_LIMIT = 20
MAX_ATTRIBUTIONS = 1000

# As far as JSON numbers go exactly; SQLite's integers go further.
_MAX_OFFSET = (1 << 53) - 1


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
    Field(ge=0),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Id = Annotated[str, BeforeValidator(_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
Status = Annotated[int, Field(ge=100, le=999)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Offset = Annotated[int, Field(ge=0, le=_MAX_OFFSET)]


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


class RequestQuery(_Period):
    """The filters of the list; those given must all hold."""

    context_source: Text | None = Field(None, description="The name of a source in the context, such as `context7`.")
    source_type: SourceType | None = Field(None, description="The type of a source in the context.")
    request_class: Text | None = Field(None, description="`main`, `subagent`, `compaction`, `auxiliary`, ...")
    method: Text | None = Field(None, description="HTTP method.")
    path: Text | None = Field(None, description="Part of the URL's path, such as `/v1/messages`.")
    model: Text | None = Field(None, description="Model name.")
    status: Status | None = Field(None, description="HTTP status of the response.")
    state: State | None = Field(None, description="What became of the exchange.")
    session_id: Text | None = Field(None, description="The client's session.")
    agent_id: Text | None = Field(None, description="The subagent's id.")
    project: Text | None = Field(None, description="The client's working directory.")
    limit: Limit = Field(DEFAULT_LIMIT, description="Requests on a page.")
    offset: Offset = Field(0, description="Requests to skip, newest first.")
    as_of: Offset | None = Field(
        None,
        description="From the first page's answer: leaves out what was captured since, so that pages fit together.",
    )


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
