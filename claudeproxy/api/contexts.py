"""GET /api/claude/contexts: the pieces of context and their sources, of one request or of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.parameters import MAX_ATTRIBUTIONS, ContextQuery
from claudeproxy.api.presenting import attribution
from claudeproxy.api.schemas import AttributionList
from claudeproxy.store.contexts import ContextFilters, query_attributions

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage


def context_routes(storage: StoragePool) -> Blueprint:
    """The route of attributions."""
    routes = Blueprint("contexts", __name__)

    @routes.get("/contexts")
    @validate_querystring(ContextQuery)
    @document_response(AttributionList)
    async def list_contexts(query_args: ContextQuery) -> Response:
        """List pieces of context with their sources: newest request first, in prompt order within each."""
        return json_response(await storage.run(lambda reader: _page(reader, query_args)))

    return routes


def _page(reader: CaptureStorage, query: ContextQuery) -> str:
    limit = query.limit
    if limit is None and query.request_id is None:
        limit = MAX_ATTRIBUTIONS
    page = query_attributions(
        reader,
        ContextFilters(
            request_id=query.request_id,
            source_name=query.source_name,
            source_type=query.source_type,
            since=query.since,
            until=query.until,
            limit=limit,
            offset=query.offset,
        ),
    )
    return document(AttributionList(attributions=[attribution(one) for one in page.rows], total=page.total))
