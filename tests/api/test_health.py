"""The health of the service, as its builder reports it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.api.app import create_app
from tests.api.conftest import served

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures


async def test_health_gives_status_version_and_what_the_service_reports(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/claude/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": "1.2.3", "drops": 0, "journal": {"bytes": 10}}


async def test_the_service_may_say_that_it_is_not_well(captures: Captures) -> None:
    app = create_app(captures.reader, token=None, accepted_hosts=(), health=lambda: {"status": "degraded"}, version="1")
    async with served(app) as api:
        assert (await api.get("/api/claude/health")).json() == {"status": "degraded", "version": "1"}
