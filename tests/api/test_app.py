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
ROUTES = ["/api/claude/requests", "/api/claude/health", "/api/claude/contexts", "/openapi.json", "/nothing"]


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
