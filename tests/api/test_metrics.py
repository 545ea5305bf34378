"""Metrics over HTTP: the fields of the contract, with the library's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.insight_schemas import History, MetricsSummary, SourceMetricsList
from claudeproxy.store.storage import CaptureStorage
from tests.api.conftest import Captures, app_on, served

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

PATH = "/api/claude/metrics"


async def test_the_summary_adds_up_all_requests(api: httpx.AsyncClient) -> None:
    document = (await api.get(f"{PATH}/summary")).json()
    MetricsSummary.model_validate(document)
    assert document["total_requests"] == 12
    assert document["total_tokens_sent"] == 2 * (10 + 11 + 12 + 13 + 14)
    assert document["total_tokens_received"] > 0
    assert document["average_latency_ms"] == 50.0
    assert document["average_proxy_latency_ms"] > 0
    assert (document["feedback_count"], document["average_rating"], document["drops"]) == (0, 0.0, 0)
    assert document["cache_share"] == pytest.approx(30 / 60)
    assert document["oldest_capture"] == "2026-01-01T00:00:01.000000Z"
    assert document["newest_capture"] == "2026-01-01T00:00:12.000000Z"


async def test_a_time_bounds_the_summary_and_averages_of_nothing_are_zero(api: httpx.AsyncClient) -> None:
    bounds = {"start_time": "2026-01-01T00:00:02Z", "end_time": "2026-01-01T00:00:04Z"}
    assert (await api.get(f"{PATH}/summary", params=bounds)).json()["total_requests"] == 2
    nothing = (await api.get(f"{PATH}/summary", params={"end_time": "2025-01-01"})).json()
    assert {nothing[name] for name in ("average_latency_ms", "average_rating", "cache_share", "total_requests")} == {0}
    assert (nothing["oldest_capture"], nothing["newest_capture"]) == (None, None)


async def test_an_empty_database_has_a_summary_of_nothing(tmp_path: Path) -> None:
    empty = Captures(tmp_path / "captures.db")
    empty.close()
    async with served(app_on(empty)) as api:
        document = (await api.get(f"{PATH}/summary")).json()
        assert (await api.get(f"{PATH}/sources")).json() == {"metrics": []}
        assert (await api.get(f"{PATH}/history")).json() == {"bucket": "day", "history": []}
    assert (document["total_requests"], document["oldest_capture"], document["total_cost"]) == (0, None, None)


async def test_sources_have_their_numbers(api: httpx.AsyncClient) -> None:
    document = (await api.get(f"{PATH}/sources", params={"source_name": "docs"})).json()
    SourceMetricsList.model_validate(document)
    (docs,) = document["metrics"]
    assert (docs["source_type"], docs["source_name"]) == ("McpServer", "docs")
    assert (docs["usage_count"], docs["total_tokens"], docs["average_tokens"]) == (2, 22, 11.0)
    assert (docs["feedback_count"], docs["average_rating"]) == (0, 0.0)
    assert docs["estimate"].keys() == {"rating", "low", "high", "count"}
    assert (docs["created_at"], docs["last_used"]) == ("2026-01-01T00:00:01.000000Z", "2026-01-01T00:00:02.000000Z")


async def test_a_source_without_a_name_goes_by_its_type(api: httpx.AsyncClient) -> None:
    (user,) = (await api.get(f"{PATH}/sources", params={"source_type": "User"})).json()["metrics"]
    assert user["source_name"] == "User"


@pytest.mark.parametrize(
    "sort", ["usage_count", "average_rating", "total_tokens", "total_cost", "rating_low", "last_used"]
)
async def test_sources_are_sorted_by_what_is_asked_for_either_way(api: httpx.AsyncClient, sort: str) -> None:
    def value(one: dict) -> object:
        found = one["estimate"]["low"] if sort == "rating_low" else one[sort]
        return float(found or -1) if sort == "total_cost" else found

    for order in ("desc", "asc"):
        found = (await api.get(f"{PATH}/sources", params={"sort_by": sort, "order": order})).json()["metrics"]
        values = [value(one) for one in found]
        assert values == sorted(values, reverse=order == "desc")
        assert len(found) == 5
    default = (await api.get(f"{PATH}/sources")).json()
    assert default == (await api.get(f"{PATH}/sources?sort_by=usage_count&order=desc")).json()


async def test_a_time_bounds_the_sources(api: httpx.AsyncClient) -> None:
    found = (await api.get(f"{PATH}/sources", params={"start_time": "2026-01-01T00:00:02Z"})).json()["metrics"]
    assert {one["usage_count"] for one in found} == {1}


async def test_weighted_ratings_count_by_the_share_of_the_context(tmp_path: Path) -> None:
    from claudeproxy.insight.feedback import FeedbackManager
    from tests.api.captures import answered, exchange, prompt, whole
    from tests.api.conftest import MAIN

    made = Captures(tmp_path / "captures.db")
    made.record([(1, exchange(1, body=whole(prompt("main")), response=answered()))])
    made.explain(1, prompt("main"), MAIN)
    made.close()
    with CaptureStorage(made.path) as storage:
        FeedbackManager(storage).submit_feedback(made.ids[1], 1.0)
    async with served(app_on(made)) as api:
        path = f"{PATH}/sources?source_name=docs"
        plain, weighted = [
            (await api.get(f"{path}&weighted={option}")).json()["metrics"][0]["estimate"]
            for option in ("false", "true")
        ]
    assert plain["count"] == 1
    assert weighted["count"] == pytest.approx(11 / 60, abs=1e-5)
    assert 0 < weighted["rating"] < plain["rating"]


@pytest.mark.parametrize(
    ("bucket", "start"),
    [
        ("hour", "2026-01-01T00:00:00.000000Z"),
        ("day", "2026-01-01T00:00:00.000000Z"),
        ("week", "2025-12-29T00:00:00.000000Z"),  # a Monday
    ],
)
async def test_history_has_a_point_for_each_bucket_and_source(api: httpx.AsyncClient, bucket: str, start: str) -> None:
    document = (await api.get(f"{PATH}/history", params={"bucket": bucket, "source_name": "docs"})).json()
    History.model_validate(document)
    assert document["bucket"] == bucket
    (point,) = document["history"]
    assert (point["start"], point["source_type"], point["source_name"]) == (start, "McpServer", "docs")
    assert (point["usage_count"], point["total_tokens"], point["feedback_count"]) == (2, 22, 0)


@pytest.mark.parametrize(
    "query",
    [
        "summary?bucket=day",
        "sources?sort_by=name",
        "sources?order=up",
        "history?bucket=month",
        "history?source_type=mcp",
    ],
)
async def test_a_wrong_parameter_is_400(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"{PATH}/{query}")
    assert answer.status_code == 400
    assert answer.json()["details"].startswith(query.partition("?")[2].partition("=")[0])
