"""What a web page can make a browser send to the proxy's own port, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.testing import always, text
from tests.support.service import ask, captured, mocking, prompt, raw, send, serving

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {
    "a script's request": {"origin": "https://evil.example", "sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"},
    "a form, old browser": {"origin": "https://evil.example", "content-type": "text/plain"},
    "a form of a sandboxed page": {"origin": "null", "content-type": "application/x-www-form-urlencoded"},
    "a multipart form": {"origin": "http://evil.example", "content-type": "multipart/form-data; boundary=x"},
    "an image or a link": {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    "a name that was pointed at this machine": {"host": "evil.example:8443", "sec-fetch-site": "same-origin"},
    "a file on the disk": {"origin": "file://", "sec-fetch-site": "cross-site"},
}


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_page_gets_403_and_nothing_reaches_the_api_or_the_record(home: Path, page: str, method: str) -> None:
    async with (
        mocking(always(text("no"))) as mock,
        serving(home, mock.url) as running,
        running.client() as client,
    ):
        body = prompt("steal") if method == "POST" else b""
        answer = await send(client, method, "/v1/messages", body, **PAGES[page])
        assert answer.status_code == 403
        assert b"claudeproxy:" in raw(answer)
        assert "access-control-allow-origin" not in answer.headers
        assert mock.received == []
    assert captured(home) == []


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-mode": "cors"}, {"sec-fetch-site": "none"}, {"origin": "http://localhost:5173"}]
)
async def test_clients_and_pages_of_this_machine_are_served(home: Path, headers: dict[str, str]) -> None:
    """Node's fetch says `sec-fetch-mode: cors` by itself."""
    async with (
        mocking(always(text("hi"))) as mock,
        serving(home, mock.url) as running,
        running.client() as client,
    ):
        assert (await ask(client, prompt("hello"), **headers)).status_code == 200
