"""GET /api/claude/requests and what lies below it: the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import body_response, document, json_response
from claudeproxy.api.errors import REQUEST_NOT_FOUND
from claudeproxy.api.ids import or_404, whole_id
from claudeproxy.api.parameters import RequestQuery
from claudeproxy.api.presenting import request_detail, request_summary
from claudeproxy.api.schemas import RequestDetail, RequestList
from claudeproxy.errors import NotFoundError
from claudeproxy.insight.feedback import FeedbackManager

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.insight.values import QualityFeedback
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, CapturedResponse


def request_routes(storage: StoragePool) -> Blueprint:
    """The routes of captured requests."""
    routes = Blueprint("requests", __name__)

    @routes.get("/requests")
    @validate_querystring(RequestQuery)
    @document_response(RequestList)
    async def list_requests(query_args: RequestQuery) -> Response:
        """List captured requests, newest first."""
        return json_response(await storage.run(lambda reader: _page(reader, query_args)))

    @routes.get("/requests/<id>")
    @document_response(RequestDetail)
    async def get_request(id: str) -> Response:  # noqa: A002 - the name that the path shows
        """Show one captured request: headers, body, sources, instants, response."""
        wanted = whole_id(id, REQUEST_NOT_FOUND)
        with or_404(REQUEST_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _detail(reader, wanted)))

    @routes.get("/requests/<id>/body")
    async def get_request_body(id: str) -> Response:  # noqa: A002
        """Download a request's body, byte for byte; content codings that were taken off are named in a header."""
        wanted = whole_id(id, REQUEST_NOT_FOUND)
        with or_404(REQUEST_NOT_FOUND):
            request, data = await storage.run(lambda reader: _body(reader, wanted))
        return body_response(
            data, kept=request.body_kept, encoding=request.body_encoding, filename=f"request-{request.id}.bin"
        )

    return routes


def _page(reader: CaptureStorage, query: RequestQuery) -> str:
    page = reader.query_requests(query.filters())
    return document(
        RequestList(
            requests=[request_summary(row) for row in page.rows],
            total=page.total,
            limit=query.limit,
            offset=query.offset,
            as_of=page.as_of,
        )
    )


def _detail(reader: CaptureStorage, wanted: str) -> str:
    request = reader.get_request(wanted)
    detail = request_detail(
        request,
        _response(reader, request),
        reader.attributions(request.id),
        reader.sources(request.id),
        reader.sources(request.id, output=True),
        _feedback(reader, request),
    )
    return document(detail, body_json=request.body_json)


def _feedback(reader: CaptureStorage, request: CapturedRequest) -> QualityFeedback | None:
    if not request.has_feedback:
        return None
    try:
        return FeedbackManager(reader).get_feedback_by_request(request.id)
    except NotFoundError:
        return None  # taken back since the request was read


def _response(reader: CaptureStorage, request: CapturedRequest) -> CapturedResponse | None:
    try:
        return reader.get_response(request.correlation_id)
    except NotFoundError:
        return None


def _body(reader: CaptureStorage, wanted: str) -> tuple[CapturedRequest, bytes]:
    request = reader.get_request(wanted)
    return request, request.body
