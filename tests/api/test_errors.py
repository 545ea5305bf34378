"""Every failure has the one shape, whoever is to blame for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from claudeproxy.api.app import create_app
from claudeproxy.api.errors import error_text
from claudeproxy.errors import StorageError
from tests.api.conftest import served

if TYPE_CHECKING:
    from tests.api.conftest import Captures


def error(answer: httpx.Response) -> tuple[int, str]:
    """Status and text of an answer, whose shape is checked."""
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document.keys() == {"error", "details"}
    assert isinstance(document["error"], str)
    assert document["details"] is None or isinstance(document["details"], str)
    assert b"Traceback" not in answer.content
    return answer.status_code, document["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/api/claude",
        "/api/claude/",
        "/api/claude/requests/",
        "/api//claude/requests",
        "/docs",
        "/redocs",
        "/scalar",
        "/static/x",
        "/api/claude/requests/a/b/c",
        "/API/claude/requests",
        "/%2e%2e/etc/passwd",
    ],
)
async def test_a_path_that_is_none_is_404(api: httpx.AsyncClient, path: str) -> None:
    assert error(await api.get(httpx.URL(str(api.base_url)).copy_with(raw_path=path.encode()))) == (404, "Not found")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "TRACE", "BREW"])
async def test_a_method_that_a_path_does_not_have_is_405_and_names_those_it_has(
    api: httpx.AsyncClient, method: str
) -> None:
    answer = await api.request(method, "/api/claude/requests")
    assert error(answer) == (405, "Method not allowed")
    assert {"GET", "DELETE"} <= set(answer.headers["allow"].split(", "))


async def test_a_wrong_parameter_is_400(api: httpx.AsyncClient) -> None:
    assert error(await api.get("/api/claude/requests?limit=x")) == (400, "Invalid request parameters")
    assert error(await api.get("/api/claude/requests?%FF=%FF")) == (400, "Invalid request parameters")


async def test_a_body_that_is_too_large_is_413_and_ends_the_connection(api: httpx.AsyncClient) -> None:
    answer = await api.request("POST", "/api/claude/requests", content=b"x" * 70_000)
    assert error(answer) == (413, "Request too large")
    assert answer.headers["connection"] == "close"


async def test_head_and_options_work_and_give_no_body(api: httpx.AsyncClient) -> None:
    head = await api.head("/api/claude/requests")
    assert (head.status_code, head.content) == (200, b"")
    options = await api.options("/api/claude/requests")
    assert options.status_code == 200
    assert not [name for name in options.headers if name.startswith("access-control")]
    missing = await api.head("/nothing")
    assert (missing.status_code, missing.content) == (404, b"")


class SecretiveError(Exception):
    """Its text is captured content, which must go nowhere."""


async def test_our_own_fault_is_500_without_a_word_of_it(
    captures: Captures, capsys: pytest.CaptureFixture[str]
) -> None:
    def health() -> dict[str, object]:
        raise SecretiveError("what somebody said in confidence")

    app = create_app(
        captures.reader, open_writer=captures.writer, token=None, accepted_hosts=(), health=health, version="1"
    )
    async with served(app) as api:
        answer = await api.get("/api/claude/health")
    assert error(answer) == (500, "Internal server error")
    assert answer.json()["details"] is None
    logged = "".join(capsys.readouterr())
    assert "SecretiveError" in logged
    assert " health" in logged
    assert "confidence" not in logged


async def test_a_database_that_cannot_be_read_is_500(captures: Captures) -> None:
    tries = 0

    def broken() -> object:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StorageError("the database is not one")
        return captures.reader()

    app = create_app(broken, open_writer=broken, token=None, accepted_hosts=(), health=dict, version="1")  # type: ignore[arg-type]
    async with served(app) as api:
        assert error(await api.get("/api/claude/requests")) == (500, "Internal server error")
        assert (await api.get("/api/claude/requests")).status_code == 200  # and it is tried again


async def test_a_websocket_where_there_is_none_is_refused_in_json(api: httpx.AsyncClient) -> None:
    answer = await api.get(
        "/api/claude/requests",
        headers={
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-version": "13",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    )
    status, _ = error(answer)
    assert 400 <= status < 500


def test_every_status_has_a_text() -> None:
    assert error_text(404) == "Not found"
    assert error_text(409) == "Conflict"
    assert error_text(499) == "Invalid request parameters"
    assert error_text(599) == "Internal server error"
    assert json.dumps(error_text(418)) == '"I\'m a Teapot"'
