"""The REST API of the served port, on what really went through the proxy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from claudeproxy.testing import Reply, Text, always
from tests.support.service import PATIENCE, ask, captured, command_serving, mocking, prompt, raw, stop, wait_captured

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


async def _get(rest: httpx.AsyncClient, path: str) -> Any:
    answer = await rest.get(f"/api/claude/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_captures_are_listed_shown_and_given_out_byte_for_byte(home: Path) -> None:
    reply = Reply(content=(Text(text="Grüße, 世界. " * 9),), output_tokens=31)
    bodies = [prompt("first 🌿", stream=True), prompt("second", tools=[{"name": "mcp__herbs__find"}])]
    async with mocking(always(reply)) as mock, command_serving(home, mock.url) as running:
        async with running.client("connect") as client:
            answers = [await ask(client, body) for body in bodies]
        await wait_captured(home, 2)
        async with running.rest() as rest:
            listed = await _get(rest, "requests?limit=1")
            assert (listed["total"], listed["limit"]) == (2, 1)
            (newest,) = listed["requests"]
            older = await _get(rest, f"requests?limit=1&offset=1&as_of={listed['as_of']}")
            ids = [older["requests"][0]["id"], newest["id"]]
            assert (await _get(rest, "requests?context_source=MCP: herbs"))["total"] == 1
            for request_id, body, answer in zip(ids, bodies, answers, strict=True):
                detail = await _get(rest, f"requests/{request_id}")
                assert detail["body_json"] == json.loads(body)
                assert detail["total_tokens"] == sum(s["token_count"] for s in detail["sources"])
                assert len(detail["attributions"]) > 3
                assert detail["headers"]["x-api-key"] == "[REDACTED]"
                assert (await rest.get(f"/api/claude/requests/{request_id}/body")).content == body
                response = await _get(rest, f"responses/{detail['response']['id']}")
                assert response["correlation_id"] == detail["correlation_id"]
                assert response["response_tokens"] == 31
                assert response["body_json"]["content"][0]["text"] == "Grüße, 世界. " * 9
                got = await rest.get(f"/api/claude/responses/{response['id']}/body")
                assert got.content == raw(answer)
            with trio.fail_after(PATIENCE):  # the recorder tells of itself after it has stored and explained
                while (health := await _get(rest, "health"))["recorder"]["stored"] != 2:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            assert health["status"] == "ok"
            assert health["proxy"]["exchanges_total"] == 2
            description = (await rest.get("/openapi.json")).json()
            assert description["openapi"].startswith("3.1")
            assert "/api/claude/requests/{id}" in description["paths"]
            missing = await rest.get("/api/claude/requests/00000000-0000-4000-8000-000000000000")
            assert (missing.status_code, missing.json()["error"]) == (404, "Request not found")
        await stop(running)
    assert [pair.request.id for pair in captured(home)] == ids


async def test_captures_are_rated_weighed_and_deleted_while_the_proxy_runs(home: Path) -> None:
    """Feedback and deletion write beside the recorder, which is a process of its own."""
    bodies = [prompt("weigh this herb"), prompt("and that one", tools=[{"name": "mcp__herbs__find"}])]
    async with mocking(always(Reply(output_tokens=31))) as mock, command_serving(home, mock.url) as running:
        async with running.client("connect") as client:
            for body in bodies:
                await ask(client, body)
        await wait_captured(home, 2)
        async with running.rest() as rest:
            newest, oldest = (await _get(rest, "requests"))["requests"]
            rating = {"request_id": newest["id"], "rating": 0.5, "feedback_text": "well weighed"}
            made = await rest.post("/api/claude/feedback", json=rating)
            assert made.status_code == 201, made.text
            assert "herbs" in made.json()["affected_sources"]
            again = await rest.post("/api/claude/feedback", json=rating)
            assert (again.status_code, again.json()["error"]) == (409, "Feedback already exists")
            assert (await _get(rest, f"requests/{newest['id']}"))["feedback"] == made.json()
            (herbs,) = (await _get(rest, "metrics/sources?source_name=herbs"))["metrics"]
            assert (herbs["usage_count"], herbs["feedback_count"], herbs["average_rating"]) == (1, 1, 0.5)
            summary = await _get(rest, "metrics/summary")
            assert (summary["total_requests"], summary["total_tokens_received"], summary["drops"]) == (2, 62, 0)
            assert summary["average_latency_ms"] >= 0
            contexts = await _get(rest, "contexts?source_name=herbs")
            assert contexts["total"] == len(contexts["attributions"]) > 0
            history = await _get(rest, "metrics/history?bucket=hour&source_name=herbs")
            assert sum(point["usage_count"] for point in history["history"]) == 1
            deleted = await rest.delete(f"/api/claude/requests/{newest['id']}")
            assert (deleted.json()["requests"], deleted.json()["feedback"]) == (1, 1)
            assert (await _get(rest, "requests"))["requests"][0]["id"] == oldest["id"]
            assert (await _get(rest, "metrics/summary"))["feedback_count"] == 1  # what it added stays
            numbers = (await rest.get("/metrics")).text
            assert 'claudeproxy_captures{state="complete"} 1\n' in numbers
            assert "claudeproxy_exchanges_total 2\n" in numbers
            assert "claudeproxy_recorder_working 1\n" in numbers
            async with running.client("connect") as client:  # and the recorder goes on
                await ask(client, prompt("after the deletion"))
            await wait_captured(home, 2)
        await stop(running)


async def test_a_web_page_can_read_nothing_on_either_port(home: Path) -> None:
    """A foreign Host (DNS rebinding) or Origin is refused on the API's port and on the proxy's."""
    async with mocking(always(Reply())) as mock, command_serving(home, mock.url) as running:
        async with running.rest() as rest, running.client() as client:
            for foreign in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
                answer = await rest.get("/api/claude/requests", headers=foreign)
                assert answer.status_code == 403
                assert "access-control-allow-origin" not in answer.headers
                refused = await ask(client, prompt("from a page"), **foreign)
                assert refused.status_code == 403
        assert mock.received == []
        await stop(running)


async def test_what_is_deleted_is_gone_from_the_journal_too(home: Path) -> None:
    """The relay goes on writing to the same file, and what comes next is captured as before."""
    async with (
        mocking(always(Reply(content=(Text(text="noted"),)))) as mock,
        command_serving(home, mock.url) as running,
    ):
        async with running.client("reverse") as client, running.rest() as rest:
            await ask(client, prompt("the word heliotrope"))
            await wait_captured(home, 1)
            (first,) = (await _get(rest, "requests"))["requests"]
            assert _in_journals(home, b"heliotrope")
            planned = await rest.delete("/api/claude/requests", params={"method": "POST", "dry_run": "true"})
            assert planned.json()["requests"] == 1
            assert _in_journals(home, b"heliotrope")
            assert (await rest.delete(f"/api/claude/requests/{first['id']}")).json()["requests"] == 1
            assert not _in_journals(home, b"heliotrope")
            for word in ("celadon", "amaranth"):
                await ask(client, prompt(f"the word {word}"))
            await wait_captured(home, 2)
            assert _in_journals(home, b"celadon")
            deleted = await rest.delete("/api/claude/requests", params={"method": "POST"})
            assert deleted.json()["requests"] == 2
            assert not _in_journals(home, b"celadon")
        await stop(running)
    assert captured(home) == []


def _in_journals(home: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in (home / "journal").rglob("*.journal"))
