"""What a person wants gone is gone: one capture, or all that match."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.api.insight_schemas import Deletion
from claudeproxy.store.storage import CaptureStorage
from tests.api.captures import answered, exchange, prompt, whole
from tests.api.conftest import AGENT, MAIN, Captures, app_on, of_every_kind, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

PATH = "/api/claude/requests"
UNKNOWN = "00000000-0000-4000-8000-0000000000ff"


@pytest.fixture
def doomed(tmp_path: Path) -> Captures:
    made = Captures(tmp_path / "captures.db")
    made.record(of_every_kind())
    made.explain(1, prompt("main"), MAIN)
    made.explain(2, prompt("agent"), AGENT)
    made.close()
    return made


@pytest.fixture
async def rest(doomed: Captures) -> AsyncIterator[httpx.AsyncClient]:
    async with served(app_on(doomed)) as client:
        yield client


async def test_one_capture_goes_with_its_response_and_feedback(rest: httpx.AsyncClient, doomed: Captures) -> None:
    wanted = doomed.ids[1]
    detail = (await rest.get(f"{PATH}/{wanted}")).json()
    await rest.post("/api/claude/feedback", json={"request_id": wanted, "rating": 1})
    answer = await rest.delete(f"{PATH}/{wanted}")
    assert answer.status_code == 200
    counts = answer.json()
    Deletion.model_validate(counts)
    assert (counts["requests"], counts["responses"], counts["feedback"], counts["dry_run"]) == (1, 1, 1, False)
    for path in (f"{PATH}/{wanted}", f"/api/claude/responses/{detail['response']['id']}"):
        assert (await rest.get(path)).status_code == 404
    assert (await rest.get("/api/claude/feedback")).json()["total"] == 0
    assert (await rest.get("/api/claude/contexts", params={"request_id": wanted})).json()["total"] == 0
    assert (await rest.get(PATH)).json()["total"] == 11
    assert (await rest.delete(f"{PATH}/{wanted}")).status_code == 404
    summary = (await rest.get("/api/claude/metrics/summary")).json()
    assert (summary["total_requests"], summary["feedback_count"]) == (12, 1)  # aggregates stay


@pytest.mark.parametrize("unknown", [UNKNOWN, "abc"])
async def test_an_unknown_capture_is_404(rest: httpx.AsyncClient, unknown: str) -> None:
    answer = await rest.delete(f"{PATH}/{unknown}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Request not found")


async def test_an_exchange_in_flight_is_409(rest: httpx.AsyncClient, doomed: Captures) -> None:
    answer = await rest.delete(f"{PATH}/{doomed.ids[10]}")
    assert (answer.status_code, answer.json()["error"]) == (409, "Request in flight")
    assert (await rest.get(f"{PATH}/{doomed.ids[10]}")).status_code == 200


async def test_all_that_match_go_and_nothing_else(rest: httpx.AsyncClient) -> None:
    planned = (await rest.delete(PATH, params={"session_id": "session-1", "dry_run": "true"})).json()
    assert (planned["requests"], planned["dry_run"]) == (2, True)
    assert (await rest.get(PATH)).json()["total"] == 12
    assert (await rest.delete(PATH, params={"session_id": "session-1"})).json()["requests"] == 2
    assert (await rest.get(PATH)).json()["total"] == 10
    assert (await rest.get(PATH, params={"session_id": "session-1"})).json()["total"] == 0
    assert (await rest.delete(PATH, params={"end_time": "2026-01-01T00:00:05Z"})).json()["requests"] == 2
    assert (await rest.delete(PATH, params={"state": "in_flight"})).json()["requests"] == 0


@pytest.mark.parametrize("query", ["", "?dry_run=true", "?everywhere=true", "?q=", "?q=%20"])
async def test_without_a_filter_it_is_400_and_nothing_goes(rest: httpx.AsyncClient, query: str) -> None:
    answer = await rest.delete(f"{PATH}{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")
    assert "filter is required" in answer.json()["details"]
    assert (await rest.get(PATH)).json()["total"] == 12


@pytest.mark.parametrize("query", ["limit=5", "offset=1", "as_of=3", "sesion_id=x", "state=gone"])
async def test_a_wrong_filter_is_400_and_nothing_goes(rest: httpx.AsyncClient, query: str) -> None:
    answer = await rest.delete(f"{PATH}?{query}&method=POST")
    assert answer.status_code == 400
    assert answer.json()["details"].startswith(query.partition("=")[0])
    assert (await rest.get(PATH)).json()["total"] == 12


async def test_reads_and_feedback_go_on_while_much_is_deleted(tmp_path: Path) -> None:
    many = Captures(tmp_path / "captures.db")
    many.record([(n, exchange(n, body=whole(prompt(f"text {n}")), response=answered())) for n in range(1, 200)])
    many.close()
    deleted = None

    async def delete(api: httpx.AsyncClient) -> None:
        nonlocal deleted
        answer = await api.delete(PATH, params={"start_time": "2026-01-01T00:00:11Z"}, timeout=60)
        deleted = answer.json()["requests"]

    async with served(app_on(many)) as api:
        rated, read = 0, 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete, api)
            while deleted is None:
                assert (await api.get(PATH)).status_code == 200
                read += 1
                if rated < 5:
                    rated += 1
                    rating = {"request_id": many.ids[rated], "rating": 1}
                    assert (await api.post("/api/claude/feedback", json=rating)).status_code == 201
        assert deleted == 189
        assert read >= rated >= 1  # each while the deletion was under way; how many depends on the machine
        assert (await api.get(PATH)).json()["total"] == 10


async def test_when_the_client_goes_away_a_deletion_stops_between_two_steps(tmp_path: Path) -> None:
    """Nobody waits for minutes at a shutdown; what is left is whole, and the next deletion takes it."""
    many = Captures(tmp_path / "captures.db")
    many.record([(n, exchange(n, body=whole(prompt(f"text {n}")), response=answered())) for n in range(1, 700)])
    many.close()
    with CaptureStorage(many.path) as other:
        async with served(app_on(many)) as api:
            with trio.move_on_after(60) as patience:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(partial(api.delete, PATH, params={"method": "POST"}, timeout=60))
                    while other.summary().requests == 699:  # noqa: ASYNC110 - commits of others set no event
                        await trio.sleep(0.001)
                    nursery.cancel_scope.cancel()
            assert not patience.cancelled_caught
        left = other.summary().requests
        assert 0 < left < 699
        assert other.verify().ok
    async with served(app_on(many)) as api:
        assert (await api.delete(PATH, params={"method": "POST"}, timeout=60)).json()["requests"] == left
