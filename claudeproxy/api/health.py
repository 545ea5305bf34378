"""GET /api/claude/health: is it alive, what does it run, what has it lost.

The numbers come from whoever built the service; this route only wraps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.schemas import Health

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def health_routes(health: Callable[[], Mapping[str, object]], version: str) -> Blueprint:
    """The health route. `health` is called for each request, must not block, and may set `status`."""
    routes = Blueprint("health", __name__)

    @routes.get("/health")
    @document_response(Health)
    async def get_health() -> Response:
        """Tell how the service is: versions, queue, journal, drops."""
        return json_response(document(Health.model_validate({"status": "ok", **health(), "version": version})))

    return routes
