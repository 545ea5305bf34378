"""Limits over HTTP, and the other bills: carrying costs, two periods, kinds of text, with the library's numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.app import create_app
from claudeproxy.api.money_schemas import CarryingCost, MetricsComparison, MetricsKinds, Quota, QuotaHistory
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.conversations import demo_conversation
from tests.api.conftest import served
from tests.api.test_prometheus import read
from tests.insight.billed import MINUTE, Biller
from tests.store.exchanges import START

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

ROOT = "/api/claude"


def told(share: str) -> tuple[tuple[bytes, bytes], ...]:
    """What an answer says of a subscription's five hours."""
    start = b"anthropic-ratelimit-unified-"
    return (
        (start + b"status", b"allowed"),
        (start + b"5h-utilization", share.encode()),
        (start + b"5h-reset", str((START + 240 * MINUTE) // 10**9).encode()),
        (start + b"5h-status", b"allowed"),
    )


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration, billed; then two requests whose answers tell of a limit."""
    path = tmp_path_factory.mktemp("billed") / "captures.db"
    with CaptureStorage(path) as storage:
        biller = Biller(storage)
        turns = demo_conversation()
        biller.talk(turns)
        for share in ("0.10", "0.25"):
            last = turns[-1]
            biller.send(last.body, last.headers, [{"type": "text", "text": "Done."}], fields=told(share))
    return path


@pytest.fixture
async def billed(database: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(
        lambda: CaptureStorage(database, read_only=True),
        open_writer=lambda: CaptureStorage(database),
        token=None,
        accepted_hosts=(),
        health=dict,
        version="1",
    )
    async with served(app) as client:
        yield client


async def test_a_limit_is_told_with_what_ate_it(billed: httpx.AsyncClient) -> None:
    period = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2027-12-31T00:00:00Z"}
    for by in ("source", "session", "hour"):
        document = (await billed.get(f"{ROOT}/quota", params={"by": by, "window": "5h", **period})).json()
        Quota.model_validate(document)
        (window,) = document["windows"]
        assert (window["window"], window["used"], document["by"]) == ("5h", 0.25, by)
        (use,) = document["eaten"]
        assert use["used"] == pytest.approx(0.15)
        assert sum(one["used"] for one in use["shares"]) == pytest.approx(0.15)
        assert sum(one["share"] for one in use["shares"]) == pytest.approx(1, abs=1e-4)
        if by == "hour":
            assert all(one["key"].endswith("00:00.000000Z") for one in use["shares"])
    history = (await billed.get(f"{ROOT}/quota/history", params={"window": "5h"})).json()
    QuotaHistory.model_validate(history)
    assert sum(hour["samples"] for hour in history["hours"]) == 2
    assert (history["hours"][0]["least"], history["hours"][-1]["most"]) == (0.1, 0.25)


async def test_without_a_time_it_is_the_last_five_hours(billed: httpx.AsyncClient) -> None:
    """Of a time that lies ahead there is nothing to tell, and that is no error."""
    assert (await billed.get(f"{ROOT}/quota", params={"end_time": "2020-01-01"})).json()["eaten"] == []
    assert (await billed.get(f"{ROOT}/quota", params={"start_time": "2250-01-01"})).json()["eaten"] == []
    answer = await billed.get(f"{ROOT}/quota", params={"by": "moon"})
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")


async def test_a_sessions_bill_adds_up(billed: httpx.AsyncClient) -> None:
    (session,) = (await billed.get(f"{ROOT}/sessions")).json()["sessions"]
    path = f"{ROOT}/sessions/{session['session_id']}/carrying"
    document = (await billed.get(path, params={"limit": 3})).json()
    CarryingCost.model_validate(document)
    parts = [Decimal(one[key]) for one in document["sources"] for key in ("fetched_cost", "carried_cost")]
    parts += [Decimal(one["cost"]) for one in document["output"]]
    assert sum(parts) == Decimal(document["cost"]) == Decimal(session["totals"]["cost"])
    assert (document["requests"], document["unbilled"], document["api_equivalent"]) == (12, 0, True)
    assert len(document["pieces"]) == 3 < document["total"]
    assert (await billed.get(f"{ROOT}/sessions/{session['session_id'][:8]}/carrying")).status_code == 404
    assert (await billed.get(path, params={"limit": 0})).status_code == 400


async def test_two_periods_stand_side_by_side(billed: httpx.AsyncClient) -> None:
    summary = (await billed.get(f"{ROOT}/metrics/summary")).json()
    day = summary["oldest_capture"][:10]
    bounds = {"start_time": f"{day}T00:00:00Z", "end_time": f"{day}T23:59:00Z", "source_name": "atlas"}
    document = (await billed.get(f"{ROOT}/metrics/compare", params=bounds)).json()
    MetricsComparison.model_validate(document)
    (atlas,) = document["sources"]
    assert (atlas["source_type"], atlas["usage_before"], atlas["tokens_change"]) == ("McpServer", 0, None)
    assert atlas["average_tokens"] == pytest.approx(atlas["total_tokens"] / atlas["usage_count"])
    assert Decimal(atlas["total_cost"]) > 0
    assert document["before"] < document["start_time"] < document["end_time"]
    assert (await billed.get(f"{ROOT}/metrics/compare", params={"end_time": "1970-01-02"})).json()["sources"] == []


async def test_sources_consist_of_kinds(billed: httpx.AsyncClient) -> None:
    document = (await billed.get(f"{ROOT}/metrics/kinds", params={"source_type": "McpServer"})).json()
    MetricsKinds.model_validate(document)
    assert (document["requests"], document["complete"]) == (12, True)
    assert {one["source_type"] for one in document["sources"]} == {"McpServer"}
    for one in document["sources"]:
        assert sum(one["kinds"].values()) == one["total_tokens"] > 0
    (atlas,) = (await billed.get(f"{ROOT}/metrics/kinds", params={"source_name": "atlas"})).json()["sources"]
    assert atlas["kinds"]["result"] > 0


async def test_a_requests_parts_add_up_to_its_cost(billed: httpx.AsyncClient) -> None:
    listed = (await billed.get(f"{ROOT}/requests")).json()["requests"]
    assert {(one["accuracy"], one["cost_note"], one["expected_error"]) for one in listed} == {("exact", None, None)}
    for one in listed[:3]:
        detail = (await billed.get(f"{ROOT}/requests/{one['id']}")).json()
        assert sum(Decimal(part["cost"]) for part in detail["sources"] + detail["output"]) == Decimal(one["cost"])
        assert sum(Decimal(piece["cost"]) for piece in detail["attributions"]) == Decimal(one["cost"])
        classes = {piece["price_class"] for piece in detail["attributions"]}
        assert classes <= {"read", "write_5m", "write_1h", "uncached", "output"}
        assert sum(part["token_count"] for part in detail["sources"]) == one["total_tokens"]
        assert sum(part["token_count"] for part in detail["output"]) == one["response_tokens"]


async def test_prometheus_has_tokens_and_cost_by_model_and_type(billed: httpx.AsyncClient) -> None:
    samples = read((await billed.get("/metrics")).text)
    listed = (await billed.get(f"{ROOT}/requests")).json()["requests"]
    cost = float(sum(Decimal(one["cost"]) for one in listed))
    models = {key: value for key, value in samples.items() if key.startswith("claudeproxy_model_cost_dollars{")}
    types = {key: value for key, value in samples.items() if key.startswith("claudeproxy_source_cost_dollars_total{")}
    assert sum(models.values()) == pytest.approx(cost)
    assert sum(types.values()) == pytest.approx(cost)
    tokens = sum(value for key, value in samples.items() if key.startswith("claudeproxy_model_tokens{"))
    assert tokens == sum(one["total_tokens"] for one in listed)
    assert samples['claudeproxy_source_tokens_total{source_type="McpServer"}'] > 0
