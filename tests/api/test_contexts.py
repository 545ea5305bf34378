"""Pieces of context across requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
    """201 requests of five pieces each: more than an answer shows without a limit."""
    made = Captures(tmp_path_factory.mktemp("contexts") / "captures.db")
    body = prompt("again")
    numbers = range(1, 202)
    made.record([(number, exchange(number, body=whole(body))) for number in numbers])
    for number in numbers:
        made.explain(number, body, MAIN)
    made.close()
    return made


async def test_pages_go_through_all_requests_and_total_counts_every_piece(many: Captures) -> None:
    async with served(app_on(many)) as api:
        attributions, total = await found(api)
        docs, docs_total = await found(api, source_name="docs", limit=1, offset=200)
        across, _ = await found(api, limit=3, offset=1003)
        since, since_total = await found(api, start_time="2026-01-01T00:00:02Z")
    assert (len(attributions), total) == (1000, 1005)
    assert (docs, docs_total) == ([(many.ids[1], 11)], 201)
    assert across == [(many.ids[1], 13), (many.ids[1], 14)]
    assert (len(since), since_total) == (1000, 1000)


async def test_pages_end_to_end_are_all_pieces_once_and_in_order(many: Captures) -> None:
    async with served(app_on(many)) as api:
        pages = [await found(api, source_type="Tool", limit=70, offset=offset) for offset in (0, 70, 140)]
    assert [one for page, _ in pages for one in page] == [(many.ids[number], 10) for number in range(201, 0, -1)]
    assert {total for _, total in pages} == {201}
