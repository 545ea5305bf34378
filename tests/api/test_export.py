"""The export over HTTP: whole, filtered, streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from tests.api.captures import answered, exchange, whole
from tests.api.conftest import Captures, app_on
from tests.api.following import deaf_client, serving
from tests.export.support import HAR, check

if TYPE_CHECKING:
    from pathlib import Path

    import httpx


async def test_json_lines_are_the_default(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get("/api/claude/export")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="claudeproxy.jsonl"'
    assert answer.headers["cache-control"] == "no-store"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["id"] for line in lines] == [captures.ids[number] for number in range(1, 13)]
    assert {(line["format"], line["version"]) for line in lines} == {("claudeproxy.exchange", 1)}


async def test_an_archive_is_har(api: httpx.AsyncClient, captures: Captures) -> None:
    answer = await api.get("/api/claude/export", params={"format": "har", "context_source": "docs"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"] == 'attachment; filename="claudeproxy.har"'
    archive = answer.json()
    check(archive, HAR)
    assert [one["_claudeproxy"]["id"] for one in archive["log"]["entries"]] == [captures.ids[1], captures.ids[2]]


async def test_nothing_that_matches_is_an_empty_export(api: httpx.AsyncClient) -> None:
    assert (await api.get("/api/claude/export?model=none")).content == b""
    assert (await api.get("/api/claude/export?model=none&format=har")).json()["log"]["entries"] == []


@pytest.mark.parametrize("query", ["format=xml", "limit=3", "state=gone", "start_time=x"])
async def test_a_bad_parameter_is_400(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(f"/api/claude/export?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"] == "Invalid request parameters"


async def test_a_head_request_reads_nothing(api: httpx.AsyncClient) -> None:
    answer = await api.head("/api/claude/export")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_client_that_goes_away_or_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    large = Captures(tmp_path / "captures.db")
    large.record([(n, exchange(n, body=whole(b""), response=answered(data=b"x" * 500_000))) for n in range(20)])
    async with serving(app_on(large), small_buffers=True) as server:
        for _ in range(6):  # more than there are database connections
            gone = await deaf_client(server.address, "/api/claude/export")
            assert (await gone.receive_some(10)).startswith(b"HTTP/1.1 2")
            await trio.aclose_forcefully(gone)
        async with await deaf_client(server.address, "/api/claude/export") as deaf:
            assert (await deaf.receive_some(10)).startswith(b"HTTP/1.1 2")
            for _ in range(5):
                with trio.fail_after(5):
                    assert (await server.client.get("/api/claude/requests")).status_code == 200
