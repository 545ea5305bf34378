"""The health of the service, as its builder reports it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from claudeproxy.api.app import create_app
from claudeproxy.store.storage import CaptureStorage
from tests.api.conftest import served

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.api.conftest import Captures


async def test_health_gives_status_versions_and_what_the_service_reports(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/claude/health")
    assert answer.status_code == 200
    health = answer.json()
    assert health.keys() == {"status", "version", "versions", "queue", "drops", "journal", "live", "unclassified"}
    assert (health["status"], health["version"], health["drops"]) == ("ok", "1.2.3", 0)
    assert health["journal"] == {"bytes": 10}
    assert health["live"] == {"readers": 0, "limit": 32, "dropped": 0}
    assert health["versions"].keys() == {"claudeproxy", "python", "sqlite"}


async def test_the_service_may_say_that_it_is_not_well_and_what_it_has_lost(captures: Captures) -> None:
    def health() -> dict[str, object]:
        journal = {"bytes_held": 500}
        return {"status": "degraded", "capture": {"open": 2, "dropped": 3, "lost": 4, "journal": journal}}

    app = create_app(
        captures.reader, open_writer=captures.writer, token=None, accepted_hosts=(), health=health, version="1"
    )
    async with served(app) as api:
        found = (await api.get("/api/claude/health")).json()
    assert (found["status"], found["drops"]) == ("degraded", 7)
    assert found["queue"] == {"open": 2, "bytes": 500}
    assert found["journal"] == {"bytes_held": 500}


async def test_it_tells_what_no_rule_explains_by_client_version(captures: Captures, api: httpx.AsyncClient) -> None:
    shares = (await api.get("/api/claude/health")).json()["unclassified"]
    assert {(one["client"], one["client_version"], one["requests"]) for one in shares} == {
        ("claude-cli", "2.1.330", 1),
        (None, "2.1.330", 1),
    }
    assert {(one["tokens"], one["unclassified"], one["share"]) for one in shares} == {(12, 0, 0.0)}


async def test_it_answers_without_a_database(tmp_path: Path) -> None:
    missing = partial(CaptureStorage, tmp_path / "none.db", read_only=True)
    app = create_app(missing, open_writer=missing, token=None, accepted_hosts=(), health=dict, version="1")
    async with served(app) as api:
        found = (await api.get("/api/claude/health")).json()
    assert (found["status"], found["unclassified"]) == ("ok", None)
