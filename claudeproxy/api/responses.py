"""GET /api/claude/responses/{id} and its body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response

from claudeproxy.api.answers import body_response, document, json_response
from claudeproxy.api.errors import RESPONSE_NOT_FOUND
from claudeproxy.api.ids import or_404, whole_id
from claudeproxy.api.presenting import response_detail
from claudeproxy.api.schemas import ResponseDetail

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedResponse


def response_routes(storage: StoragePool) -> Blueprint:
    """The routes of captured responses."""
    routes = Blueprint("responses", __name__)

    @routes.get("/responses/<id>")
    @document_response(ResponseDetail)
    async def get_response(id: str) -> Response:  # noqa: A002 - the name that the path shows
        """Show one captured response: status, timing, usage, headers, body."""
        wanted = whole_id(id, RESPONSE_NOT_FOUND)
        with or_404(RESPONSE_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _detail(reader, wanted)))

    @routes.get("/responses/<id>/body")
    async def get_response_body(id: str) -> Response:  # noqa: A002
        """Download a response's body as it was received: content-encoded if it came so, a stream as its events."""
        wanted = whole_id(id, RESPONSE_NOT_FOUND)
        with or_404(RESPONSE_NOT_FOUND):
            response, data = await storage.run(lambda reader: _body(reader, wanted))
        return body_response(data, kept=response.body_kept, encoding=None, filename=f"response-{response.id}.bin")

    return routes


def _detail(reader: CaptureStorage, wanted: str) -> str:
    response = reader.get_response(wanted)
    return document(response_detail(response), body_json=response.body_json)


def _body(reader: CaptureStorage, wanted: str) -> tuple[CapturedResponse, bytes]:
    response = reader.get_response(wanted)
    return response, response.body
