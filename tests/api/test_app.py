"""The whole of it: who gets in through the real server, and what every answer wears."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.api.security import SECURITY_HEADERS
from claudeproxy.errors import ConfigError
from tests.api.conftest import app_on, served

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures

TOKEN = "a-dummy-token"
READ = (
    "requests",
    "health",
    "contexts",
    "sessions",
    "feedback",
    "metrics/summary",
    "metrics/sources",
    "metrics/history",
)
ROUTES = [*(f"/api/claude/{name}" for name in READ), "/metrics", "/openapi.json", "/nothing"]
ID = "00000000-0000-4000-8000-0000000000ff"
CHANGES = [
    ("POST", "/api/claude/feedback"),
    ("PUT", f"/api/claude/feedback/{ID}"),
    ("DELETE", f"/api/claude/feedback/{ID}"),
    ("DELETE", f"/api/claude/requests/{ID}"),
    ("DELETE", "/api/claude/requests?method=POST"),
]


async def status(api: httpx.AsyncClient, path: str = "/api/claude/requests", **headers: str) -> int:
    answer = await api.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    if answer.status_code >= 400:
        assert answer.json().keys() == {"error", "details"}
    return answer.status_code


@pytest.mark.parametrize("path", ROUTES)
async def test_a_rebound_host_reaches_no_route(api: httpx.AsyncClient, path: str) -> None:
    """DNS rebinding: evil.example resolves to 127.0.0.1, the browser thinks it talks to evil.example."""
    assert await status(api, path, host="evil.example:3001") == 403


@pytest.mark.parametrize("path", ROUTES)
async def test_a_foreign_page_reaches_no_route(api: httpx.AsyncClient, path: str) -> None:
    assert await status(api, path, origin="https://evil.example") == 403
    assert await status(api, path, sec_fetch_site="cross-site") == 403


async def test_a_cross_site_post_is_refused_before_anything_is_read(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/claude/requests", headers={"origin": "null"}, content=b"x=1")
    assert answer.status_code == 403
    assert answer.json()["error"] == "Forbidden"


@pytest.mark.parametrize(("method", "path"), CHANGES)
async def test_nobody_else_changes_anything(captures: Captures, method: str, path: str) -> None:
    """A rebound host, a foreign page, a missing and a wrong token, a body over the limit, on each route that writes."""
    body = {"request_id": captures.ids[1], "rating": 1.0}
    good = {"authorization": f"Bearer {TOKEN}"}
    foreign = [
        {"host": "evil.example:3001"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
    ]
    async with served(app_on(captures, token=TOKEN, token_required=True)) as api:
        for headers in foreign:
            answer = await api.request(method, path, json=body, headers={**good, **headers})
            assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
            answer = await api.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
        answer = await api.request(method, path, json={**body, "feedback_text": "x" * 70_000}, headers=good)
        assert (answer.status_code, answer.json()["error"]) == (413, "Request too large")
        assert answer.headers["connection"] == "close"
        listed = (await api.get("/api/claude/requests", headers=good)).json()
    assert listed["total"] == 12
    assert not any(one["has_feedback"] for one in listed["requests"])


async def test_a_body_that_does_not_say_its_length_is_refused_at_the_limit(api: httpx.AsyncClient) -> None:
    head = (
        f"POST /api/claude/feedback HTTP/1.1\r\nHost: 127.0.0.1:{api.base_url.port}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    connection = trio.socket.socket()
    await connection.connect(("127.0.0.1", api.base_url.port))
    async with trio.SocketStream(connection) as stream:
        await stream.send_all(head.encode() + (b"3e8\r\n" + b" " * 1000 + b"\r\n") * 70)
        answer = b""
        with trio.fail_after(10):
            while b"Request too large" not in answer:
                answer += await stream.receive_some()
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_form_that_a_page_may_post_without_asking_is_not_read(api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/claude/feedback", content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid request parameters")


async def test_a_preflight_of_a_foreign_page_is_refused_and_no_answer_has_cors_headers(api: httpx.AsyncClient) -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    assert (await api.options("/api/claude/requests", headers=preflight)).status_code == 403
    for origin in ("https://evil.example", "http://localhost:3001"):
        answer = await api.get("/api/claude/requests", headers={"origin": origin})
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_our_own_names_get_in(api: httpx.AsyncClient) -> None:
    for host in ("localhost:3001", "127.0.0.1", "[::1]:3001", "box.example:80"):
        assert await status(api, host=host, origin="http://localhost:3001", sec_fetch_site="same-origin") == 200


async def test_a_websocket_of_a_foreign_page_is_refused(api: httpx.AsyncClient) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "origin": "https://evil.example",
    }
    answer = await api.get("/api/claude/ws", headers=upgrade)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


@pytest.mark.parametrize("path", ROUTES)
async def test_a_required_token_is_required_on_every_route(captures: Captures, path: str) -> None:
    async with served(app_on(captures, token=TOKEN, token_required=True)) as api:
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert await status(api, path, authorization="Bearer wrong") == 401
        assert await status(api, path, authorization=f"Bearer {TOKEN}") in (200, 404)


async def test_a_token_that_is_not_required_is_accepted(captures: Captures) -> None:
    async with served(app_on(captures, token=TOKEN)) as api:
        assert await status(api) == 200
        assert await status(api, authorization=f"Bearer {TOKEN}") == 200
        assert await status(api, authorization="Bearer wrong") == 401


def test_a_required_token_that_is_not_there_is_a_configuration_error(captures: Captures) -> None:
    with pytest.raises(ConfigError, match="api_token"):
        app_on(captures, token_required=True)


async def test_every_answer_wears_the_security_headers(api: httpx.AsyncClient, captures: Captures) -> None:
    good = [*ROUTES, f"/api/claude/requests/{captures.ids[1]}/body"]
    answers = [await api.get(path) for path in good]
    answers += [
        await api.get("/api/claude/requests?limit=x"),
        await api.get("/api/claude/requests", headers={"host": "evil.example"}),
        await api.delete("/api/claude/requests"),
    ]
    for answer in answers:
        for name, value in SECURITY_HEADERS:
            assert answer.headers.get_list(name.decode()) == [value.decode()]
        assert "server" not in answer.headers


async def test_no_database_connection_is_left_open(captures: Captures) -> None:
    """An open one would raise ResourceWarning, which is an error here."""
    async with served(app_on(captures)) as api, trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(api.get, "/api/claude/requests")
    gc.collect()
