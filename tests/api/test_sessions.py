"""Sessions over HTTP: the list, the tree of agents, the turns, the totals."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.insight_schemas import SessionDetail, SessionList
from claudeproxy.insight.sessions import Sessions
from tests.api.captures import answered, exchange, prompt, whole
from tests.api.conftest import MAIN, Captures, app_on, served

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

PATH = "/api/claude/sessions"


async def test_the_list_has_a_row_for_each_session(api: httpx.AsyncClient) -> None:
    document = (await api.get(PATH)).json()
    SessionList.model_validate(document)
    assert (document["total"], document["limit"], document["offset"]) == (1, 20, 0)
    (session,) = document["sessions"]
    assert (session["session_id"], session["project"]) == ("session-1", "/home/someone/project")
    assert (session["client"], session["client_version"]) == ("claude-cli", "2.1.330")
    assert session["agent_count"] == 1
    totals = session["totals"]
    assert (totals["requests"], totals["failed"]) == (2, 0)
    assert totals["tokens"] == 2 * 60
    assert totals["started"] == "2026-01-01T00:00:01.000000Z"
    assert totals["models"] == ["claude-haiku-4-5", "claude-sonnet-4-5"] or len(totals["models"]) == 2


@pytest.mark.parametrize(
    ("parameters", "total"),
    [
        ({"project": "project"}, 1),
        ({"project": "elsewhere"}, 0),
        ({"start_time": "2026-01-01T00:00:02Z"}, 1),
        ({"start_time": "2026-01-01T00:00:03Z"}, 0),
        ({"end_time": "2026-01-01T00:00:01Z"}, 0),
    ],
)
async def test_each_filter_works(api: httpx.AsyncClient, parameters: dict[str, str], total: int) -> None:
    assert (await api.get(PATH, params=parameters)).json()["total"] == total


async def test_pages_may_lie_beyond_the_end(api: httpx.AsyncClient) -> None:
    document = (await api.get(PATH, params={"offset": 1})).json()
    assert (document["sessions"], document["total"]) == ([], 1)


async def test_a_session_shows_its_agents_as_a_tree_and_its_turns(api: httpx.AsyncClient, captures: Captures) -> None:
    detail = (await api.get(f"{PATH}/session-1")).json()
    SessionDetail.model_validate(detail)
    (listed,) = (await api.get(PATH)).json()["sessions"]
    assert {name: detail[name] for name in listed} == listed
    assert detail["states"] == {"complete": 2}
    assert detail["request_classes"] == {"main": 1, "subagent": 1}
    found = Sessions(captures.reader()).get("session-1")
    assert [agent["agent_id"] for agent in detail["agents"]] == [agent.agent_id for agent in found.agents]
    names = {agent["agent_id"] for agent in _flat(detail["agents"])}
    assert names == {None, "a1b2"}
    requests = [one["id"] for turn in detail["turns"] for one in turn["requests"]]
    requests += [one["id"] for one in detail["others"]]
    assert sorted(requests) == sorted([captures.ids[1], captures.ids[2]])


async def test_a_session_s_turns_come_by_the_page_and_its_totals_are_of_all(api: httpx.AsyncClient) -> None:
    whole = (await api.get(f"{PATH}/session-1")).json()
    assert (whole["limit"], whole["offset"]) == (100, 0)
    found = []
    for offset in range(3):
        page = (await api.get(f"{PATH}/session-1", params={"limit": 1, "offset": offset})).json()
        paged = {"turns": page["turns"], "others": page["others"], "limit": 1, "offset": offset}
        assert page == {**whole, **paged}
        assert len(page["turns"]) <= 1
        found += page["turns"]
    assert found == whole["turns"]
    assert whole["turns_total"] == len(found)


@pytest.mark.parametrize("unknown", ["nobody", "session", "session-1%2F", "%00", "%F0%9F%8C%BF", "session-1 "])
async def test_an_unknown_or_abbreviated_session_is_404(api: httpx.AsyncClient, unknown: str) -> None:
    answer = await api.get(f"{PATH}/{unknown}")
    assert answer.status_code == 404
    assert answer.json()["error"] in ("Session not found", "Not found")


async def test_a_wrong_parameter_is_400(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{PATH}?limit=1000")
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")


def _flat(agents: list[dict]) -> list[dict]:
    return [one for agent in agents for one in (agent, *_flat(agent["children"]))]


@pytest.mark.parametrize("path", ["team/one", "team%2Fone"])
async def test_a_session_whose_id_has_slashes_has_its_routes(tmp_path: Path, path: str) -> None:
    """An id is what a client made of it."""
    captures = Captures(tmp_path / "captures.db")
    captures.record([(1, exchange(1, body=whole(prompt()), response=answered()))])
    captures.explain(1, prompt(), replace(MAIN, session_id="team/one"))
    async with served(app_on(captures)) as client:
        (listed,) = (await client.get(PATH)).json()["sessions"]
        assert listed["session_id"] == "team/one"
        found = await client.get(f"{PATH}/{path}")
        carrying = await client.get(f"{PATH}/{path}/carrying")
        unknown = await client.get(f"{PATH}/{path}/two")
    assert (found.status_code, found.json()["session_id"]) == (200, "team/one")
    assert (carrying.status_code, carrying.json()["session_id"]) == (200, "team/one")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "Session not found")
