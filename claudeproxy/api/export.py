"""GET /api/claude/export: all that matches, as a file in one of the export formats.

Streamed: one exchange at a time is read, in a worker thread, when the client has taken the one before. So a slow client
holds a connection and nothing else, and an export of everything needs no more memory than its largest exchange.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from quart import Blueprint, Response, request
from quart.wrappers.response import ResponseBody
from quart_schema import validate_querystring

from claudeproxy.api.parameters import ExportQuery
from claudeproxy.export import EXPORTERS, ExportFormat, matching_ids

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from types import TracebackType

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.export import Exporter


def export_routes(storage: StoragePool) -> Blueprint:
    """The route of the export."""
    routes = Blueprint("export", __name__)

    @routes.get("/export")
    @validate_querystring(ExportQuery)
    async def get_export(query_args: ExportQuery) -> Response:
        """Download all exchanges that match, the oldest first, as JSON lines or as an HTTP archive."""
        exporter = EXPORTERS[ExportFormat(query_args.format)]
        filters = query_args.filters()
        ids = [] if request.method == "HEAD" else await storage.run(lambda reader: matching_ids(reader, filters))
        response = Response(_Export(storage, exporter, ids), content_type=exporter.media_type)
        response.headers["Content-Disposition"] = f'attachment; filename="claudeproxy.{query_args.format}"'
        response.timeout = None  # as long as the client takes
        return response

    return routes


class _Export(ResponseBody):
    """The pieces as a body; closed with it, so that no generator is left when the client goes away."""

    def __init__(self, storage: StoragePool, exporter: Exporter, ids: list[str]) -> None:
        self._pieces = _pieces(storage, exporter, ids)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._pieces.aclose()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


async def _pieces(storage: StoragePool, exporter: Exporter, ids: list[str]) -> AsyncGenerator[bytes, None]:
    yield exporter.head
    between = b""
    for request_id in ids:
        piece = await storage.run(lambda reader, wanted=request_id: exporter.piece(reader, wanted))  # type: ignore[misc]
        if piece:
            yield between + piece
            between = exporter.between
    yield exporter.tail
