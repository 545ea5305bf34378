"""What may be asked, and how a wrong question is named."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from claudeproxy.api.errors import ApiError, invalid_parameters
from claudeproxy.api.parameters import (
    ContextQuery,
    DeletionQuery,
    FeedbackQuery,
    HistoryQuery,
    RequestQuery,
    SessionQuery,
    SourceQuery,
    SummaryQuery,
)
from claudeproxy.model import SourceType, State
from claudeproxy.store.values import RequestFilters


def refused(query: type[RequestQuery | ContextQuery], /, **parameters: object) -> ApiError:
    with pytest.raises(ValidationError) as caught:
        query.model_validate(parameters)
    return invalid_parameters(caught.value)


def test_nothing_asked_means_the_first_twenty() -> None:
    query = RequestQuery.model_validate({})
    assert (query.limit, query.offset, query.as_of) == (20, 0, None)
    assert ContextQuery.model_validate({}).limit is None


def test_texts_become_values() -> None:
    query = RequestQuery.model_validate(
        {"start_time": "1970-01-01T00:00:01Z", "status": "429", "state": "complete", "source_type": "McpServer"}
    )
    assert query.start_time == 1_000_000_000
    assert query.status == 429
    assert query.state is State.COMPLETE
    assert query.source_type is SourceType.MCP_SERVER


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": ["1", "2"]}, "limit"),
        ({"limit": ""}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"offset": str(1 << 64)}, "offset"),
        ({"as_of": "-1"}, "as_of"),
        ({"start_time": "soon"}, "start_time"),
        ({"end_time": "1767225600"}, "end_time"),
        ({"end_time": ["2026-01-01", "2026-01-02"]}, "end_time"),
        ({"start_time": "2026-01-02", "end_time": "2026-01-01"}, "start_time must be before end_time"),
        ({"start_time": "2026-01-02", "end_time": "2026-01-02"}, "start_time must be before end_time"),
        ({"state": "done"}, "state"),
        ({"source_type": "mcpserver"}, "source_type"),
        ({"status": "42"}, "status"),
        ({"status": "2xx"}, "status"),
        ({"method": ""}, "method"),
        ({"model": "x" * 1001}, "model"),
        ({"over": "-1"}, "over"),
        ({"over": "nan"}, "over"),
        ({"over": "1000001"}, "over"),
        ({"q": "x" * 1001}, "q"),
        ({"everywhere": "maybe"}, "everywhere"),
        ({"modle": "claude"}, "modle: there is no such parameter"),
    ],
)
def test_a_wrong_parameter_is_400_and_is_named(parameters: dict[str, object], named: str) -> None:
    error = refused(RequestQuery, **parameters)
    assert error.status == 400
    assert error.error == "Invalid request parameters"
    assert named in (error.details or "")


def test_every_wrong_parameter_is_named() -> None:
    details = refused(RequestQuery, limit="0", offset="-1", nonsense="1").details or ""
    assert all(name in details for name in ("limit", "offset", "nonsense"))


def test_the_wrong_value_is_not_repeated() -> None:
    assert "hunter2" not in (
        refused(RequestQuery, limit="hunter2", state="hunter2", start_time="hunter2").details or ""
    )


def test_an_id_in_a_filter_is_a_uuid_in_any_spelling() -> None:
    query = ContextQuery.model_validate({"request_id": "00000000-0000-4000-8000-00000000ABCD"})
    assert query.request_id == "00000000-0000-4000-8000-00000000abcd"
    assert "request_id: give a UUID" in (refused(ContextQuery, request_id="abc").details or "")
    assert "request_id" in (refused(ContextQuery, request_id=["a", "b"]).details or "")


def test_filters_of_the_api_are_filters_of_the_store() -> None:
    query = RequestQuery.model_validate(
        {"context_source": "docs", "over": "1e-12", "q": "words", "everywhere": "true", "limit": "5", "as_of": "7"}
    )
    assert query.filters() == RequestFilters(source="docs", over=1, q="words", everywhere=True, limit=5, as_of=7)
    bounded = RequestQuery.model_validate({"start_time": "0001-01-01", "end_time": "9999-12-31"}).filters()
    assert (bounded.since, bounded.until) == (0, (1 << 63) - 1)


def test_a_deletion_has_the_filters_of_the_list_and_no_pages() -> None:
    names = RequestQuery.model_fields.keys() - {"limit", "offset", "as_of"}
    assert DeletionQuery.model_fields.keys() == names | {"dry_run"}
    assert DeletionQuery.model_validate({"state": "complete"}).filters() == RequestFilters(state="complete")


@pytest.mark.parametrize("query", [SummaryQuery, SourceQuery, HistoryQuery, FeedbackQuery, SessionQuery, ContextQuery])
def test_every_time_must_begin_before_it_ends(query: type[SummaryQuery]) -> None:
    with pytest.raises(ValidationError, match="start_time must be before end_time"):
        query.model_validate({"start_time": "2026-01-02", "end_time": "2026-01-01"})
