"""Feedback over HTTP: every row of the contract, and every way to get it wrong."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.insight_schemas import FeedbackDetail, FeedbackList
from claudeproxy.api.schemas import Feedback
from claudeproxy.store.storage import CaptureStorage
from tests.api.captures import prompt
from tests.api.conftest import AGENT, MAIN, Captures, app_on, of_every_kind, served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

PATH = "/api/claude/feedback"
UNKNOWN = "00000000-0000-4000-8000-0000000000ff"
SOURCES = ["Bash", "Overhead", "User", "docs", "system prompt"]


@pytest.fixture
def rated(tmp_path: Path) -> Captures:
    """Captures of its own for each test: they are written to."""
    made = Captures(tmp_path / "captures.db")
    made.record(of_every_kind())
    made.explain(1, prompt("main"), MAIN)
    made.explain(2, prompt("agent"), AGENT)
    made.close()
    return made


@pytest.fixture
async def rest(rated: Captures) -> AsyncIterator[httpx.AsyncClient]:
    async with served(app_on(rated)) as client:
        yield client


async def give(rest: httpx.AsyncClient, request_id: str, rating: float = 0.5, **more: object) -> dict[str, object]:
    answer = await rest.post(PATH, json={"request_id": request_id, "rating": rating, **more})
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


def error(answer: httpx.Response) -> tuple[int, str]:
    document = answer.json()
    assert document.keys() == {"error", "details"}
    return answer.status_code, document["error"]


async def test_a_rating_is_made_and_found_everywhere(rest: httpx.AsyncClient, rated: Captures) -> None:
    answer = await rest.post(PATH, json={"request_id": rated.ids[1], "rating": 0.5, "feedback_text": "gut 🌿"})
    assert answer.status_code == 201
    made = answer.json()
    Feedback.model_validate(made)
    assert answer.headers["location"] == f"{PATH}/{made['id']}"
    assert made["request_id"] == rated.ids[1]
    assert (made["rating"], made["feedback_text"], made["user_id"]) == (0.5, "gut 🌿", "local-user")
    assert sorted(made["affected_sources"]) == SOURCES
    detail = (await rest.get(f"/api/claude/requests/{rated.ids[1]}")).json()
    assert detail["has_feedback"] is True
    assert detail["feedback"] == made
    assert detail["response"]["id"] == made["response_id"]
    listed = (await rest.get("/api/claude/requests", params={"limit": 100})).json()["requests"]
    assert [one["id"] for one in listed if one["has_feedback"]] == [rated.ids[1]]
    for path in (f"{PATH}/{made['id']}", f"{PATH}/by-request/{rated.ids[1]}"):
        shown = (await rest.get(path)).json()
        FeedbackDetail.model_validate(shown)
        assert {name: shown[name] for name in made} == made
        assert shown["request"]["id"] == rated.ids[1]
        assert shown["request"]["has_feedback"] is True
        assert shown["response"]["id"] == made["response_id"]


@pytest.mark.parametrize("rating", [-1, -1.0, 0, 1, 1.0, 0.123456])
async def test_the_ends_of_the_scale_belong_to_it(rest: httpx.AsyncClient, rated: Captures, rating: float) -> None:
    assert (await give(rest, rated.ids[1], rating))["rating"] == rating


async def test_null_stands_for_what_is_left_out(rest: httpx.AsyncClient, rated: Captures) -> None:
    made = await give(rest, rated.ids[1], feedback_text=None, user_id=None)
    assert (made["feedback_text"], made["user_id"]) == (None, "local-user")


async def test_a_second_rating_is_409_and_says_to_use_put(rest: httpx.AsyncClient, rated: Captures) -> None:
    made = await give(rest, rated.ids[1])
    answer = await rest.post(PATH, json={"request_id": rated.ids[1], "rating": 0})
    assert error(answer) == (409, "Feedback already exists")
    assert "use PUT" in answer.json()["details"]
    assert made["id"] in answer.json()["details"]


async def test_an_unknown_request_is_404(rest: httpx.AsyncClient) -> None:
    answer = await rest.post(PATH, json={"request_id": UNKNOWN, "rating": 0})
    assert error(answer) == (404, "Request not found")


async def test_a_request_without_a_response_is_404_and_says_so(rest: httpx.AsyncClient, rated: Captures) -> None:
    answer = await rest.post(PATH, json={"request_id": rated.ids[10], "rating": 0})
    assert error(answer) == (404, "Response not found")
    assert "without a captured response" in answer.json()["details"]


@pytest.mark.parametrize(
    ("body", "text", "named"),
    [
        ({"rating": 0}, "Missing required field", "request_id"),
        ({"request_id": UNKNOWN}, "Missing required field", "rating"),
        ({}, "Missing required field", "request_id"),
        ({"request_id": UNKNOWN, "rating": 1.01}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": -2}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": math.nan}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": math.inf}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": -math.inf}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": 10**400}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": "0.5"}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": True}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": None}, "Invalid rating", "rating"),
        ({"request_id": UNKNOWN, "rating": [1]}, "Invalid rating", "rating"),
        ({"request_id": "abc", "rating": 0}, "Invalid request parameters", "request_id"),
        ({"request_id": 7, "rating": 0}, "Invalid request parameters", "request_id"),
        (
            {"request_id": UNKNOWN, "rating": 0, "feedback_text": "x" * 2001},
            "Invalid request parameters",
            "feedback_te",
        ),
        ({"request_id": UNKNOWN, "rating": 0, "feedback_text": 1}, "Invalid request parameters", "feedback_text"),
        ({"request_id": UNKNOWN, "rating": 0, "feedback_text": "\0"}, "Invalid request parameters", "feedback_text"),
        ({"request_id": UNKNOWN, "rating": 0, "feedback_text": "\ud800"}, "Invalid request parameters", "feedback_te"),
        ({"request_id": UNKNOWN, "rating": 0, "user_id": ""}, "Invalid request parameters", "user_id"),
        ({"request_id": UNKNOWN, "rating": 0, "user_id": "x" * 201}, "Invalid request parameters", "user_id"),
        ({"request_id": UNKNOWN, "rating": 0, "stars": 5}, "Invalid request parameters", "stars"),
        ({"request_id": UNKNOWN, "rating": 9, "user_id": ""}, "Invalid request parameters", "rating"),
        ([], "Invalid request parameters", "The body is not a JSON object"),
        (None, "Invalid request parameters", "The body is not a JSON object"),
        ("text", "Invalid request parameters", "The body is not a JSON object"),
    ],
)
async def test_a_wrong_body_is_400_and_names_the_field(
    rest: httpx.AsyncClient, body: object, text: str, named: str
) -> None:
    answer = await rest.post(PATH, content=json.dumps(body), headers={"content-type": "application/json"})
    assert error(answer) == (400, text)
    assert answer.json()["details"].startswith(named)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"rating=1", b"\xff\xfe\x00", b"[" * 30_000, b'{"rating": 1' + b"0" * 9000]
)
async def test_what_is_no_json_is_400(rest: httpx.AsyncClient, body: bytes) -> None:
    answer = await rest.post(PATH, content=body, headers={"content-type": "application/json"})
    assert error(answer) == (400, "Invalid request parameters")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_only_json_is_read_so_that_no_page_can_post_a_form(
    rest: httpx.AsyncClient, rated: Captures, kind: str | None
) -> None:
    headers = {} if kind is None else {"content-type": kind}
    body = json.dumps({"request_id": rated.ids[1], "rating": 1})
    answer = await rest.post(PATH, content=body, headers=headers)
    assert error(answer) == (400, "Invalid request parameters")
    assert "Content-Type: application/json" in answer.json()["details"]
    assert (await rest.get(PATH)).json()["total"] == 0


async def test_a_text_of_two_thousand_characters_is_kept_whole(rest: httpx.AsyncClient, rated: Captures) -> None:
    text = "🌿" * 2000
    assert (await give(rest, rated.ids[1], feedback_text=text))["feedback_text"] == text


async def test_put_changes_what_it_names_and_null_removes_the_text(rest: httpx.AsyncClient, rated: Captures) -> None:
    made = await give(rest, rated.ids[1], 0.5, feedback_text="first", user_id="ann")
    url = f"{PATH}/{made['id']}"
    rerated = await rest.put(url, json={"rating": -1})
    assert rerated.status_code == 200
    FeedbackDetail.model_validate(rerated.json())
    assert (rerated.json()["rating"], rerated.json()["feedback_text"]) == (-1, "first")
    assert sorted(rerated.json()["affected_sources"]) == SOURCES
    assert (await rest.put(url, json={"feedback_text": "second"})).json()["feedback_text"] == "second"
    cleared = (await rest.put(url, json={"feedback_text": None})).json()
    assert (cleared["rating"], cleared["feedback_text"], cleared["user_id"]) == (-1, None, "ann")
    assert cleared["submitted_at"] == made["submitted_at"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Invalid request parameters"),
        ({"rating": None}, "Invalid rating"),
        ({"rating": 2}, "Invalid rating"),
        ({"user_id": "bob"}, "Invalid request parameters"),
        ({"feedback_text": 5}, "Invalid request parameters"),
    ],
)
async def test_a_wrong_change_is_400_and_changes_nothing(
    rest: httpx.AsyncClient, rated: Captures, body: object, text: str
) -> None:
    made = await give(rest, rated.ids[1])
    assert error(await rest.put(f"{PATH}/{made['id']}", json=body)) == (400, text)
    assert (await rest.get(f"{PATH}/{made['id']}")).json()["rating"] == 0.5


async def test_delete_takes_it_back_and_the_request_may_be_rated_again(
    rest: httpx.AsyncClient, rated: Captures
) -> None:
    before = (await rest.get("/api/claude/metrics/sources")).json()
    made = await give(rest, rated.ids[1])
    gone = await rest.delete(f"{PATH}/{made['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-type" not in gone.headers
    assert (await rest.get("/api/claude/metrics/sources")).json() == before
    assert error(await rest.get(f"{PATH}/by-request/{rated.ids[1]}")) == (404, "Feedback not found")
    await give(rest, rated.ids[1])


async def test_unknown_ids_are_404(rest: httpx.AsyncClient) -> None:
    for unknown in (UNKNOWN, "abc", UNKNOWN[:8]):
        for answer in (
            await rest.get(f"{PATH}/{unknown}"),
            await rest.put(f"{PATH}/{unknown}", json={"rating": 0}),
            await rest.delete(f"{PATH}/{unknown}"),
        ):
            assert error(answer) == (404, "Feedback not found")
        assert error(await rest.get(f"{PATH}/by-request/{unknown}")) == (404, "Request not found")


async def test_the_list_filters_by_rating_user_and_time_and_pages(rest: httpx.AsyncClient, rated: Captures) -> None:
    for number, rating, user in ((1, -1, "ann"), (2, 0.0, "bob"), (3, 0.5, "ann"), (4, 1, "ann")):
        await give(rest, rated.ids[number], rating, user_id=user)

    async def found(**parameters: object) -> tuple[list[float], int]:
        answer = await rest.get(PATH, params=parameters)
        assert answer.status_code == 200, answer.text
        FeedbackList.model_validate(answer.json())
        return [one["rating"] for one in answer.json()["feedback"]], answer.json()["total"]

    assert await found() == ([1, 0.5, 0, -1], 4)
    assert await found(min_rating=0.5) == ([1, 0.5], 2)
    assert await found(max_rating=0) == ([0, -1], 2)
    assert await found(min_rating=0, max_rating=0.5, user_id="ann") == ([0.5], 1)
    assert await found(user_id="nobody") == ([], 0)
    assert await found(limit=1, offset=1) == ([0.5], 4)
    assert await found(end_time="2026-01-01") == ([], 0)
    assert await found(start_time="2026-01-01") == ([1, 0.5, 0, -1], 4)
    page = (await rest.get(PATH, params={"limit": 3})).json()
    assert (page["limit"], page["offset"]) == (3, 0)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("min_rating=2", "min_rating"),
        ("max_rating=nan", "max_rating"),
        ("min_rating=inf", "min_rating"),
        ("min_rating=0.5&max_rating=0", "min_rating must not be above max_rating"),
        ("limit=0", "limit"),
        ("offset=-1", "offset"),
        ("user_id=", "user_id"),
        ("rating=1", "rating"),
        ("start_time=2026-01-02&end_time=2026-01-01", "start_time must be before end_time"),
    ],
)
async def test_a_wrong_filter_is_400_and_named(rest: httpx.AsyncClient, query: str, named: str) -> None:
    answer = await rest.get(f"{PATH}?{query}")
    assert error(answer) == (400, "Invalid request parameters")
    assert answer.json()["details"].startswith(named)


async def test_a_locked_database_is_500_without_a_trace_and_nothing_is_written(
    rest: httpx.AsyncClient, rated: Captures
) -> None:
    with CaptureStorage(rated.path) as other, other.writing():
        answer = await rest.post(PATH, json={"request_id": rated.ids[1], "rating": 1})
        assert (await rest.get(PATH)).json()["total"] == 0  # readers do not wait
    assert error(answer) == (500, "Internal server error")
    assert str(rated.path) not in answer.text
    await give(rest, rated.ids[1])


async def test_a_rating_shows_in_the_metrics_at_once(rest: httpx.AsyncClient, rated: Captures) -> None:
    await give(rest, rated.ids[1], 1)
    metrics = (await rest.get("/api/claude/metrics/sources", params={"source_name": "docs"})).json()["metrics"]
    assert [(one["feedback_count"], one["average_rating"]) for one in metrics] == [(1, 1.0)]
    assert metrics[0]["estimate"]["rating"] < 0.5  # one rating says little
