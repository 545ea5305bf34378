"""Pieces of context across requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.contexts import MAX_REQUESTS
from claudeproxy.api.schemas import AttributionList
from tests.api.captures import exchange, prompt, whole
from tests.api.conftest import MAIN, Captures, app_on, served

if TYPE_CHECKING:
    import httpx

UNKNOWN = "00000000-0000-4000-8000-0000000000ff"


async def found(api: httpx.AsyncClient, **parameters: object) -> tuple[list[tuple[str, int]], int]:
    answer = await api.get("/api/claude/contexts", params=parameters)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    AttributionList.model_validate(document)
    assert document.keys() == {"attributions", "total"}
    return [(one["request_id"], one["token_count"]) for one in document["attributions"]], document["total"]


async def test_one_request_gives_all_its_attributions_in_prompt_order(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    main = captures.ids[1]
    assert await found(api, request_id=main) == ([(main, tokens) for tokens in range(10, 15)], 5)
    detail = (await api.get(f"/api/claude/requests/{main}")).json()
    listed = (await api.get("/api/claude/contexts", params={"request_id": main})).json()
    assert listed["attributions"] == detail["attributions"]


async def test_without_a_request_it_gives_the_newest_first(api: httpx.AsyncClient, captures: Captures) -> None:
    main, agent = captures.ids[1], captures.ids[2]
    assert await found(api) == ([(one, tokens) for one in (agent, main) for tokens in range(10, 15)], 10)


async def test_pages_follow_one_another_and_total_counts_all(api: httpx.AsyncClient, captures: Captures) -> None:
    main, agent = captures.ids[1], captures.ids[2]
    assert await found(api, limit=2, offset=4) == ([(agent, 14), (main, 10)], 10)
    assert await found(api, limit=2, offset=20) == ([], 10)
    assert await found(api, request_id=main, limit=1, offset=1) == ([(main, 11)], 5)


async def test_each_filter_works_alone_and_with_others(api: httpx.AsyncClient, captures: Captures) -> None:
    main, agent = captures.ids[1], captures.ids[2]
    assert await found(api, source_name="docs") == ([(agent, 11), (main, 11)], 2)
    assert await found(api, source_type="User") == ([(agent, 13), (main, 13)], 2)
    assert await found(api, source_type="Tool", source_name="docs") == ([], 0)
    assert await found(api, source_type="McpServer", request_id=main) == ([(main, 11)], 1)
    assert await found(api, source_name="Bash", start_time="2026-01-01T00:00:02Z") == ([(agent, 10)], 1)
    assert await found(api, source_name="Bash", end_time="2026-01-01T00:00:02Z") == ([(main, 10)], 1)
    assert await found(api, request_id=main, start_time="2026-01-01T00:00:02Z") == ([], 0)
    assert await found(api, request_id=main, end_time="2026-01-01T00:00:01Z") == ([], 0)


async def test_an_unknown_request_has_no_context(api: httpx.AsyncClient) -> None:
    assert await found(api, request_id=UNKNOWN) == ([], 0)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "offset=-1", "source_type=mcp", "request_id=abc", "as_of=1"])
async def test_a_wrong_parameter_is_400_and_named(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/api/claude/contexts?{query}")
    assert answer.status_code == 400
    assert answer.json()["details"].startswith(f"{query.partition('=')[0]}: ")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """201 requests: one more than are expanded for one answer."""
    made = Captures(tmp_path_factory.mktemp("contexts") / "captures.db")
    body = prompt("again")
    numbers = range(1, MAX_REQUESTS + 2)
    made.record([(number, exchange(number, body=whole(body))) for number in numbers])
    for number in numbers:
        made.explain(number, body, MAIN)
    made.close()
    return made


async def test_more_requests_than_fit_a_page_of_the_list_are_all_counted(many: Captures) -> None:
    after_the_first = {"start_time": "2026-01-01T00:00:02Z"}
    async with served(app_on(many)) as api:
        attributions, total = await found(api, **after_the_first)
        docs, docs_total = await found(api, source_name="docs", limit=1, offset=199, **after_the_first)
    assert (len(attributions), total) == (1000, 1000)
    assert (docs, docs_total) == ([(many.ids[2], 11)], 200)


async def test_a_search_through_too_many_requests_is_refused_with_advice(many: Captures) -> None:
    async with served(app_on(many)) as api:
        answer = await api.get("/api/claude/contexts?source_name=docs")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid request parameters"
    assert "narrow the search by start_time" in answer.json()["details"]
