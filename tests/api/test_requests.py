"""The audit trail: the list with its filters, the detail field by field, bodies to the byte."""

from __future__ import annotations

import hashlib
import json
from itertools import combinations
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from claudeproxy.api.schemas import RequestDetail, RequestList
from tests.api.captures import correlation, exchange, prompt
from tests.api.conftest import PARTIAL, Captures, app_on, served

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


async def listed(api: httpx.AsyncClient, **parameters: object) -> list[int]:
    """The numbers of the exchanges that the list shows, in its order."""
    answer = await api.get("/api/claude/requests", params={"limit": 100, **parameters})
    assert answer.status_code == 200, answer.text
    document = answer.json()
    RequestList.model_validate(document)
    assert document["total"] == len(document["requests"])
    return [
        number for one in document["requests"] for number in range(20) if one["correlation_id"] == correlation(number)
    ]


async def test_the_list_is_newest_first_with_the_fields_of_the_contract(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    answer = await api.get("/api/claude/requests")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document.keys() == {"requests", "total", "limit", "offset", "as_of"}
    assert (document["total"], document["limit"], document["offset"]) == (12, 20, 0)
    assert isinstance(document["as_of"], int)
    assert [one["id"] for one in document["requests"]] == [captures.ids[number] for number in range(12, 0, -1)]
    assert document["requests"][-1] == {
        "id": captures.ids[1],
        "correlation_id": correlation(1),
        "timestamp": "2026-01-01T00:00:01.000000Z",
        "method": "POST",
        "url": "https://api.anthropic.com/v1/messages?beta=true",
        "total_tokens": 10 + 11 + 12 + 13 + 14,
        "accuracy": "estimated",
        "expected_error": None,
        "cost": None,
        "cost_note": None,
        "subscription": False,
        "has_feedback": False,
        "state": "complete",
        "error": None,
        "error_kind": None,
        "status_code": 200,
        "latency_ms": 50,
        "proxy_latency_ms": 1,
        "response_tokens": 7,
        "model": "claude-sonnet-4-5",
        "session_id": "session-1",
        "agent_id": None,
        "parent_agent_id": None,
        "agent_type": None,
        "request_class": "main",
        "client_version": "2.1.330",
        "project": "/home/someone/project",
        "retry_of": None,
        "parent_request_id": None,
        "prompt_index": 1,
        "turn_index": 1,
        "effective": False,
        "context_complete": True,
        "entry_mode": "connect",
        "upstream_url": "https://gateway.example/v1/messages?beta=true",
    }


async def test_failed_aborted_and_cut_exchanges_appear_with_their_error(api: httpx.AsyncClient) -> None:
    document = (await api.get("/api/claude/requests")).json()
    by_state = {one["state"]: one for one in document["requests"]}
    assert (by_state["upstream_error"]["error"], by_state["upstream_error"]["status_code"]) == (
        "the upstream refused",
        502,
    )
    assert by_state["aborted_by_client"]["error_kind"] == "gone"
    assert by_state["in_flight"]["status_code"] is None
    assert by_state["interrupted"]["latency_ms"] is None


FOUND: list[tuple[dict[str, object], list[int]]] = [
    ({"start_time": "2026-01-01T00:00:11Z"}, [12, 11]),
    ({"end_time": "2026-01-01T00:00:02Z"}, [1]),
    ({"start_time": "2026-01-01T00:00:04Z", "end_time": "2026-01-01T00:00:06Z"}, [5, 4]),
    ({"start_time": "2026-01-01T01:00:11+01:00"}, [12, 11]),
    ({"context_source": "docs"}, [2, 1]),
    ({"context_source": "MCP: docs"}, [2, 1]),
    ({"context_source": "nobody"}, []),
    ({"source_type": "McpServer"}, [2, 1]),
    ({"source_type": "Skill"}, []),
    ({"request_class": "subagent"}, [2]),
    ({"method": "HEAD"}, [9]),
    ({"path": "/v1/messages", "status": 429}, [3]),
    ({"path": "/api/*"}, [8]),
    ({"model": "claude-haiku-4-5"}, [2]),
    ({"status": 502}, [4]),
    ({"state": "in_flight"}, [10]),
    ({"state": "upstream_error"}, [4]),
    ({"session_id": "session-1"}, [2, 1]),
    ({"agent_id": "a1b2"}, [2]),
    ({"project": "/home/someone/project"}, [2, 1]),
    ({"session_id": "session-1", "request_class": "main", "status": 200, "context_source": "docs"}, [1]),
    ({"over": "0.000001"}, []),
    ({"q": "agent"}, [2]),
    ({"q": "hello number"}, [5, 4, 3]),
    ({"q": "You are a test", "everywhere": "true"}, [10, 6, 5, 4, 3, 2, 1]),
]
"""Filters, and the numbers of the exchanges that they find."""


@pytest.mark.parametrize(("parameters", "numbers"), FOUND)
async def test_each_filter_works_alone_and_with_others(
    api: httpx.AsyncClient, parameters: dict[str, object], numbers: list[int]
) -> None:
    assert await listed(api, **parameters) == numbers


async def test_any_two_filters_together_find_what_both_find(api: httpx.AsyncClient) -> None:
    for one, two in combinations(FOUND, 2):
        names = {*one[0], *two[0]}
        apart = len(names) == len(one[0]) + len(two[0])
        if apart and "everywhere" not in names and not {"start_time", "end_time"} <= names:
            both = [number for number in one[1] if number in two[1]]
            assert await listed(api, **one[0], **two[0]) == both


async def test_all_filters_together(api: httpx.AsyncClient) -> None:
    every = {
        "start_time": "2026-01-01T00:00:01Z",
        "end_time": "2026-01-01T00:00:03Z",
        "context_source": "docs",
        "source_type": "McpServer",
        "request_class": "subagent",
        "method": "POST",
        "path": "/v1/messages",
        "model": "claude-haiku-4-5",
        "status": 200,
        "state": "complete",
        "session_id": "session-1",
        "agent_id": "a1b2",
        "project": "project",
        "q": "agent",
        "everywhere": "true",
    }
    assert await listed(api, **every) == [2]
    others = {"method": "HEAD", "status": 429, "state": "in_flight", "agent_id": "x", "q": "nowhere", "project": "p"}
    for name, value in others.items():
        assert await listed(api, **{**every, name: value}) == []


@pytest.mark.parametrize(
    "words", ['"', "a AND", "NEAR(", "*", "col:x", "(", "\0", "-", "🌿", "'; DROP TABLE requests", " "]
)
async def test_any_text_is_a_query(api: httpx.AsyncClient, words: str) -> None:
    answer = await api.get("/api/claude/requests", params={"q": words})
    assert answer.status_code == 200


async def test_pages_follow_one_another_and_total_counts_all(api: httpx.AsyncClient) -> None:
    seen = []
    for offset in (0, 5, 10, 15):
        page = (await api.get("/api/claude/requests", params={"limit": 5, "offset": offset})).json()
        assert (page["total"], page["limit"], page["offset"]) == (12, 5, offset)
        seen += [one["correlation_id"] for one in page["requests"]]
    assert seen == [correlation(number) for number in range(12, 0, -1)]


async def test_paging_is_stable_while_captures_arrive(tmp_path: Path) -> None:
    growing = Captures(tmp_path / "captures.db")
    growing.record([(number, exchange(number)) for number in range(1, 5)])
    async with served(app_on(growing)) as api:
        first = (await api.get("/api/claude/requests", params={"limit": 2})).json()
        growing.record([(number, exchange(number)) for number in range(5, 9)])
        second = (
            await api.get("/api/claude/requests", params={"limit": 2, "offset": 2, "as_of": first["as_of"]})
        ).json()
    growing.close()
    assert [one["correlation_id"] for one in first["requests"] + second["requests"]] == [
        correlation(number) for number in (4, 3, 2, 1)
    ]
    assert second["total"] == 4
    assert second["as_of"] == first["as_of"]


async def test_a_wrong_parameter_is_400_and_named(api: httpx.AsyncClient) -> None:
    for query, name in (
        ("limit=101", "limit"),
        ("offset=-1", "offset"),
        ("sort=asc", "sort"),
        ("everywhere=maybe", "everywhere"),
    ):
        answer = await api.get(f"/api/claude/requests?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"] == "Invalid request parameters"
        assert answer.json()["details"].startswith(f"{name}: ")


async def test_the_detail_has_the_summary_and_everything_else(api: httpx.AsyncClient, captures: Captures) -> None:
    summary = (await api.get("/api/claude/requests")).json()["requests"][-1]
    detail = (await api.get(f"/api/claude/requests/{captures.ids[1]}")).json()
    RequestDetail.model_validate(detail)
    assert {name: detail[name] for name in summary} == summary
    assert detail["headers"] == {
        "Host": "api.anthropic.com",
        "x-api-key": "[REDACTED]",
        "anthropic-beta": "one, two",
        "Content-Type": "application/json",
    }
    assert detail["header_list"] == [
        ["Host", "api.anthropic.com"],
        ["x-api-key", "[REDACTED]"],
        ["anthropic-beta", "one"],
        ["Anthropic-Beta", "two"],
        ["Content-Type", "application/json"],
    ]
    assert detail["body_json"] == json.loads(prompt("main"))
    assert detail["body"] == {
        "kept": "whole",
        "length": len(prompt("main")),
        "sha256": hashlib.sha256(prompt("main")).hexdigest(),
        "encoding": None,
    }
    assert {name: detail[name] for name in INSTANTS} == INSTANTS
    assert detail["feedback"] is None


INSTANTS = {
    "request_initiated": "2026-01-01T00:00:01.000000Z",
    "proxy_received": "2026-01-01T00:00:01.001000Z",
    "forwarded": "2026-01-01T00:00:01.002000Z",
    "response_received": "2026-01-01T00:00:01.052000Z",
    "delivered": "2026-01-01T00:00:01.060000Z",
}


async def test_the_detail_tells_which_source_filled_how_much(api: httpx.AsyncClient, captures: Captures) -> None:
    detail = (await api.get(f"/api/claude/requests/{captures.ids[1]}")).json()
    assert [(one["source_type"], one["source_name"], one["token_count"]) for one in detail["attributions"]] == [
        ("Tool", "Bash", 10),
        ("McpServer", "docs", 11),
        ("Framework", "system prompt", 12),
        ("User", None, 13),
        ("Overhead", None, 14),
    ]
    docs = detail["attributions"][1]
    assert docs.pop("id").count("-") == 4
    schema = json.dumps(json.loads(prompt("main"))["tools"][1])
    assert docs == {
        "request_id": captures.ids[1],
        "source_type": "McpServer",
        "source_name": "docs",
        "token_count": 11,
        "content_hash": hashlib.sha256(schema.encode()).hexdigest(),
        "message_index": -1,
        "message_role": "system",
        "json_path": "$.tools[1]",
        "start": None,
        "end": None,
        "kind": "schema",
        "rule": "test.schema",
        "confidence": 1.0,
        "accuracy": "estimated",
        "price_class": None,
        "cost": None,
        "effective": False,
        "plugin": "handbook",
        "evidence": "name",
    }
    user = detail["attributions"][3]
    assert (user["json_path"], user["start"], user["end"]) == ("$.messages[0].content[0].text", 0, len("main"))
    assert (user["message_index"], user["message_role"], user["confidence"]) == (0, "user", 0.5)
    assert {one["label"]: one["token_count"] for one in detail["sources"]} == {
        "Tool: Bash": 10,
        "MCP: docs": 11,
        "Framework: system prompt": 12,
        "User": 13,
        "Overhead": 14,
    }
    assert sum(one["token_count"] for one in detail["sources"]) == detail["total_tokens"]
    docs_total = next(one for one in detail["sources"] if one["label"] == "MCP: docs")
    assert docs_total == {
        "label": "MCP: docs",
        "source_type": "McpServer",
        "source_name": "docs",
        "token_count": 11,
        "accuracy": "estimated",
        "cost": None,
    }


async def test_the_detail_sums_up_the_response(api: httpx.AsyncClient, captures: Captures) -> None:
    response = (await api.get(f"/api/claude/requests/{captures.ids[1]}")).json()["response"]
    assert response.pop("id") != captures.ids[1]
    assert response == {
        "correlation_id": correlation(1),
        "timestamp": "2026-01-01T00:00:01.052000Z",
        "status_code": 200,
        "latency_ms": 50,
        "proxy_latency_ms": 1,
        "response_tokens": 7,
        "stop_reason": "end_turn",
        "model": "claude-sonnet-4-5-20250929",
        "request_id_header": "req_dummy",
        "origin": "upstream",
        "error_type": None,
        "streamed": False,
    }


async def test_what_never_came_is_null(api: httpx.AsyncClient, captures: Captures) -> None:
    detail = (await api.get(f"/api/claude/requests/{captures.ids[10]}")).json()
    assert detail["response"] is None
    assert detail["total_tokens"] is None
    assert detail["attributions"] == detail["sources"] == []
    assert [detail[name] for name in ("forwarded", "response_received", "delivered")] == [None, None, None]


async def test_a_body_that_is_no_json_is_null_in_the_detail_and_exact_as_a_download(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    for number, data in ((11, PARTIAL), (12, b'{"model": NaN, "messages": []}')):
        assert (await api.get(f"/api/claude/requests/{captures.ids[number]}")).json()["body_json"] is None
        assert (await api.get(f"/api/claude/requests/{captures.ids[number]}/body")).content == data


async def test_a_request_is_also_found_by_its_correlation_id(api: httpx.AsyncClient, captures: Captures) -> None:
    for spelling in (correlation(1), correlation(1).upper()):
        assert (await api.get(f"/api/claude/requests/{spelling}")).json()["id"] == captures.ids[1]


async def test_a_body_is_downloaded_byte_for_byte(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get(f"/api/claude/requests/{captures.ids[1]}/body")
    assert answer.content == prompt("main")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="request-{captures.ids[1]}.bin"'
    assert answer.headers["x-claudeproxy-body-kept"] == "whole"
    assert "x-claudeproxy-decoded-from" not in answer.headers


async def test_a_gzip_body_is_downloaded_decoded_and_says_so(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get(f"/api/claude/requests/{captures.ids[6]}/body")
    assert answer.content == prompt("packed")
    assert answer.headers["x-claudeproxy-decoded-from"] == "gzip"
    assert "content-encoding" not in answer.headers
    assert (await api.get(f"/api/claude/requests/{captures.ids[6]}")).json()["body"]["encoding"] == "gzip"


async def test_an_empty_and_a_partial_body_say_so(api: httpx.AsyncClient, captures: Captures) -> None:
    for number, kept, data in ((9, "empty", b""), (11, "partial", PARTIAL)):
        answer = await api.get(f"/api/claude/requests/{captures.ids[number]}/body")
        assert (answer.status_code, answer.headers["x-claudeproxy-body-kept"], answer.content) == (200, kept, data)


@pytest.mark.parametrize(("number", "word"), [(7, "max_body_bytes"), (8, "capture_other_bodies")])
async def test_a_body_that_was_not_kept_is_404_and_says_why(
    api: httpx.AsyncClient, captures: Captures, number: int, word: str
) -> None:
    answer = await api.get(f"/api/claude/requests/{captures.ids[number]}/body")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Body not kept"
    assert word in answer.json()["details"]


@pytest.mark.parametrize("suffix", ["", "/body"])
@pytest.mark.parametrize("id_", ["00000000-0000-4000-8000-0000000000ff", "abc", "0" * 32, "%00", "ä", "{0}"])
async def test_an_unknown_or_malformed_id_is_404(api: httpx.AsyncClient, id_: str, suffix: str) -> None:
    answer = await api.get(f"/api/claude/requests/{quote(id_, safe='%')}{suffix}")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Request not found"


async def test_an_abbreviated_id_is_404_even_if_it_is_unique(api: httpx.AsyncClient, captures: Captures) -> None:
    assert (await api.get(f"/api/claude/requests/{captures.ids[1][:8]}")).status_code == 404
