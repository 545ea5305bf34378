"""Sessions over HTTP: the list, the tree of agents, the turns, the totals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.insight_schemas import SessionDetail, SessionList
from claudeproxy.insight.sessions import Sessions

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures

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
