"""GET /api/claude/contexts: the pieces of context and their sources, of one request or of many."""

from __future__ import annotations

from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.errors import INVALID_PARAMETERS, ApiError
from claudeproxy.api.parameters import MAX_ATTRIBUTIONS, MAX_LIMIT, ContextQuery
from claudeproxy.api.presenting import attribution
from claudeproxy.api.schemas import AttributionList
from claudeproxy.errors import NotFoundError
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, ContextAttribution


MAX_REQUESTS = 200
"""Requests expanded for one answer. A request has some hundreds of pieces at 50 microseconds each, and whoever computes
in this process delays the streams that it relays: that is a second or two at the most, not minutes."""

_TOO_MANY = (
    f"request_id: more than {MAX_REQUESTS} requests may hold a match; give one of them, or narrow the search by "
    "start_time and end_time"
)


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
    matches = _matches(reader, query)
    skipped = sum(1 for _ in islice(matches, query.offset))
    page = list(islice(matches, limit))
    total = skipped + len(page) + sum(1 for _ in matches)
    return document(AttributionList(attributions=[attribution(one) for one in page], total=total))


def _matches(reader: CaptureStorage, query: ContextQuery) -> Iterator[ContextAttribution]:
    for request in _requests(reader, query):
        for one in reader.attributions(request.id):
            if query.source_name is not None and one.source.name != query.source_name:
                continue
            if query.source_type is None or one.source.type == query.source_type:
                yield one


def _requests(reader: CaptureStorage, query: ContextQuery) -> Iterator[CapturedRequest]:
    """The requests that may hold a match, newest first, page by page and without what arrives meanwhile."""
    if query.request_id is not None:
        try:
            request = reader.get_request(query.request_id)
        except NotFoundError:
            return
        if query.start_time is not None and request.timestamp < query.start_time:
            return
        if query.end_time is None or request.timestamp < query.end_time:
            yield request
        return
    offset, as_of = 0, None
    while True:
        page = reader.query_requests(
            RequestFilters(
                since=query.start_time,
                until=query.end_time,
                source=query.source_name,
                source_type=query.source_type,
                limit=MAX_LIMIT,
                offset=offset,
                as_of=as_of,
            )
        )
        if page.total > MAX_REQUESTS:
            raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, _TOO_MANY)
        yield from page.rows
        offset, as_of = offset + MAX_LIMIT, page.as_of
        if offset >= page.total:
            return
