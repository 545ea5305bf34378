"""GET /api/claude/health: is it alive, what does it run, what has it lost, what can its rules not explain.

Most numbers come from whoever built the service; what they mean together is said here.
"""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.insight_schemas import Health, UnclassifiedShare
from claudeproxy.errors import StorageError
from claudeproxy.store.shares import framework_shares

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.api.storage import StoragePool


def health_routes(
    storage: StoragePool,
    health: Callable[[], Mapping[str, object]],
    version: str,
    live: Callable[[], Mapping[str, int]],
) -> Blueprint:
    """The health route. `health` is called for each request, must not block, and may set `status`; so is `live`."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    @document_response(Health)
    async def get_health() -> Response:
        """Tell how the service is: versions, queue, journal, drops, what no rule explains."""
        said = health()
        found = {
            "status": "ok",
            "queue": {
                "open": number(said, "capture", "open"),
                "bytes": number(said, "capture", "journal", "bytes_held"),
            },
            "drops": drops(said),
            "journal": part(said, "capture", "journal") or None,
            "live": live(),
            **said,
            "version": version,
            "versions": versions(version),
            "unclassified": await _unclassified(storage),
        }
        return json_response(document(Health.model_validate(found)))

    return routes


def drops(health: Mapping[str, object]) -> int:
    """Exchanges that were recorded not at all or without bodies."""
    return number(health, "capture", "dropped") + number(health, "capture", "lost")


def versions(own: str) -> dict[str, str]:
    """What runs here."""
    return {"claudeproxy": own, "python": platform.python_version(), "sqlite": sqlite3.sqlite_version}


def part(health: Mapping[str, object], *path: str) -> Mapping[str, object]:
    """What a part of the service says of itself; empty when it says nothing."""
    for name in path:
        inner = health.get(name)
        if not isinstance(inner, Mapping):
            return {}
        health = inner
    return health


def number(health: Mapping[str, object], *path: str) -> int:
    """One of its numbers, 0 when there is none."""
    value = part(health, *path[:-1]).get(path[-1])
    return value if isinstance(value, int) else 0


async def _unclassified(storage: StoragePool) -> list[UnclassifiedShare] | None:
    try:
        shares = await storage.run(lambda reader: framework_shares(reader))
    except StorageError:
        return None  # health is asked when something is wrong: it answers without a database too
    return [UnclassifiedShare(**asdict(one), share=one.share) for one in shares]
