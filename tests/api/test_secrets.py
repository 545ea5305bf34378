"""Secrets over HTTP, with the library's numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.app import create_app
from claudeproxy.api.secrets import SecretDetail, SecretList
from claudeproxy.model import Direction, SecretFinding
from claudeproxy.store.storage import CaptureStorage
from tests.api.conftest import served
from tests.store.exchanges import exchange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

ROOT = "/api/claude/secrets"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    path = tmp_path / "captures.db"
    with CaptureStorage(path) as storage:
        for number, direction in ((1, Direction.SENT), (2, Direction.RECEIVED)):
            hash_ = f"{number:x}" * 32
            found = SecretFinding(direction=direction, rule="jwt", hash=hash_, start=3, length=40, redacted=False)
            storage.record([replace(exchange(number), secrets=(found,))], {})
    app = create_app(
        lambda: CaptureStorage(path, read_only=True),
        open_writer=lambda: CaptureStorage(path),
        token=None,
        accepted_hosts=(),
        health=lambda: {"secrets": "report"},
        version="9.9",
    )
    async with served(app) as found_client:
        yield found_client


async def test_secrets_are_listed_the_last_seen_first(client: httpx.AsyncClient) -> None:
    listed = SecretList.model_validate((await client.get(ROOT)).json())
    assert listed.mode == "report"
    assert [(one.hash[0], one.sent, one.received) for one in listed.secrets] == [("2", 0, 1), ("1", 1, 0)]
    sent = (await client.get(ROOT, params={"sent": "true"})).json()["secrets"]
    assert [one["hash"] for one in sent] == ["1" * 32]
    assert (await client.get(ROOT, params={"rule": "other"})).json()["secrets"] == []
    assert (await client.get(ROOT, params={"source": "Assistant"})).json()["secrets"][0]["hash"] == "2" * 32
    assert (await client.get(ROOT, params={"end_time": "2020-01-01"})).json()["secrets"] == []


async def test_one_secret_tells_its_places(client: httpx.AsyncClient) -> None:
    shown = SecretDetail.model_validate((await client.get(f"{ROOT}/{'1' * 32}")).json())
    (place,) = shown.sightings
    assert (place.direction, place.start, place.length, place.source) == ("sent", 3, 40, None)


@pytest.mark.parametrize("wanted", ["f" * 32, "1", "x"])
async def test_an_unknown_or_abbreviated_hash_is_404(client: httpx.AsyncClient, wanted: str) -> None:
    answer = await client.get(f"{ROOT}/{wanted}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Secret not found")


@pytest.mark.parametrize("query", [{"sent": "perhaps"}, {"start_time": "2026-01-02", "end_time": "2026-01-01"}])
async def test_parameters_that_cannot_be_used_are_400(client: httpx.AsyncClient, query: dict[str, str]) -> None:
    assert (await client.get(ROOT, params=query)).status_code == 400
