"""Captured responses: field by field, and their bytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.schemas import ResponseDetail
from tests.api.captures import correlation
from tests.api.conftest import MESSAGE, STREAM

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures


async def response_id(api: httpx.AsyncClient, captures: Captures, number: int) -> str:
    detail = (await api.get(f"/api/claude/requests/{captures.ids[number]}")).json()
    found: str = detail["response"]["id"]
    return found


async def test_the_detail_has_the_fields_of_the_contract(api: httpx.AsyncClient, captures: Captures) -> None:
    wanted = await response_id(api, captures, 1)
    detail = (await api.get(f"/api/claude/responses/{wanted}")).json()
    ResponseDetail.model_validate(detail)
    data = b'{"type": "message", "id": "msg_dummy"}'
    assert detail == {
        "id": wanted,
        "correlation_id": correlation(1),
        "request_id": captures.ids[1],
        "timestamp": "2026-01-01T00:00:01.052000Z",
        "status_code": 200,
        "latency_ms": 50,
        "latency_us": 50_000,
        "proxy_latency_ms": 1,
        "proxy_latency_us": 1200,
        "response_tokens": 7,
        "stop_reason": "end_turn",
        "model": "claude-sonnet-4-5-20250929",
        "request_id_header": "req_dummy",
        "origin": "upstream",
        "error_type": None,
        "streamed": False,
        "headers": {"content-type": "application/json", "request-id": "req_dummy"},
        "header_list": [["content-type", "application/json"], ["request-id", "req_dummy"]],
        "body": {"kept": "whole", "length": len(data), "sha256": hashlib.sha256(data).hexdigest(), "encoding": None},
        "body_json": {"type": "message", "id": "msg_dummy"},
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 20,
            "cache_read_input_tokens": 30,
            "cache_creation_5m": 15,
            "cache_creation_1h": 5,
            "output_tokens": 7,
            "thinking_tokens": 2,
            "web_search_requests": 1,
            "web_fetch_requests": 0,
            "service_tier": "standard",
            "speed": "standard",
            "inference_geo": "us",
        },
    }


async def test_a_stream_is_shown_as_its_message_and_downloaded_as_its_events(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    wanted = await response_id(api, captures, 2)
    detail = (await api.get(f"/api/claude/responses/{wanted}")).json()
    assert detail["streamed"] is True
    assert detail["body_json"]["id"] == MESSAGE["id"]
    assert detail["response_tokens"] is None
    answer = await api.get(f"/api/claude/responses/{wanted}/body")
    assert answer.content == STREAM
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f'attachment; filename="response-{wanted}.bin"'


async def test_an_error_an_answer_of_ours_and_a_page_of_html_are_told_apart(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    limited, ours, html = [
        (await api.get(f"/api/claude/responses/{await response_id(api, captures, number)}")).json()
        for number in (3, 4, 12)
    ]
    assert (limited["status_code"], limited["error_type"], limited["origin"]) == (429, "rate_limit_error", "upstream")
    assert (ours["status_code"], ours["origin"]) == (502, "proxy")
    assert html["body_json"] is None


async def test_a_partial_body_says_so(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get(f"/api/claude/responses/{await response_id(api, captures, 5)}/body")
    assert answer.content == STREAM[:40]
    assert answer.headers["x-claudeproxy-body-kept"] == "partial"


async def test_a_body_that_was_not_kept_is_404_and_says_why(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get(f"/api/claude/responses/{await response_id(api, captures, 7)}/body")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Body not kept"


@pytest.mark.parametrize("suffix", ["", "/body"])
async def test_an_unknown_id_is_404(api: httpx.AsyncClient, captures: Captures, suffix: str) -> None:
    for unknown in ("00000000-0000-4000-8000-0000000000ff", "abc", captures.ids[10]):
        answer = await api.get(f"/api/claude/responses/{unknown}{suffix}")
        assert answer.status_code == 404
        assert answer.json()["error"] == "Response not found"
