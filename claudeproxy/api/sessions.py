"""/api/claude/sessions: captures put together as the client's conversations, with agents and turns."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring
from werkzeug.routing import BaseConverter

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.errors import SESSION_NOT_FOUND, ApiError
from claudeproxy.api.ids import or_404
from claudeproxy.api.insight_presenting import session_detail, session_summary
from claudeproxy.api.insight_schemas import SessionDetail, SessionList
from claudeproxy.api.money_presenting import carrying_cost
from claudeproxy.api.money_schemas import CarryingCost
from claudeproxy.api.parameters import CarryingQuery, SessionDetailQuery, SessionQuery
from claudeproxy.insight.carrying import Carrying
from claudeproxy.insight.session_values import SessionFilters
from claudeproxy.insight.sessions import Sessions

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage


class SessionIdConverter(BaseConverter):
    """The id of a session in a path: whatever a client made of it, slashes too (as they are, or as %2F)."""

    regex = ".+?"
    part_isolating = False
    weight = 200  # as Werkzeug's own path: what is more particular comes first


def session_routes(storage: StoragePool) -> Blueprint:
    """The routes of sessions."""
    routes = Blueprint("sessions", __name__)

    @routes.get("/sessions")
    @validate_querystring(SessionQuery)
    @document_response(SessionList)
    async def list_sessions(query_args: SessionQuery) -> Response:
        """List sessions, the last active first."""
        return json_response(await storage.run(lambda reader: _page(reader, query_args)))

    @routes.get("/sessions/<session:session_id>")
    @validate_querystring(SessionDetailQuery)
    @document_response(SessionDetail)
    async def get_session(session_id: str, query_args: SessionDetailQuery) -> Response:
        """Show one session: its agents as a tree, its turns by the page, its totals."""
        with or_404(SESSION_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _detail(reader, session_id, query_args)))

    @routes.get("/sessions/<session:session_id>/carrying")
    @validate_querystring(CarryingQuery)
    @document_response(CarryingCost)
    async def get_session_carrying(session_id: str, query_args: CarryingQuery) -> Response:
        """Say what a session's context cost: fetched once, carried along with every turn."""
        with or_404(SESSION_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _carrying(reader, session_id, query_args)))

    return routes


def _page(reader: CaptureStorage, query: SessionQuery) -> str:
    page = Sessions(reader).list(
        SessionFilters(
            since=query.since, until=query.until, project=query.project, limit=query.limit, offset=query.offset
        )
    )
    return document(
        SessionList(
            sessions=[session_summary(one) for one in page.rows],
            total=page.total,
            limit=query.limit,
            offset=query.offset,
        )
    )


def _carrying(reader: CaptureStorage, wanted: str, query: CarryingQuery) -> str:
    found = Carrying(reader).session(wanted)
    if found.session_id != wanted:
        raise ApiError(HTTPStatus.NOT_FOUND, SESSION_NOT_FOUND, "An id is a whole id.")
    return document(carrying_cost(found, limit=query.limit))


def _detail(reader: CaptureStorage, wanted: str, query: SessionDetailQuery) -> str:
    found = Sessions(reader).get(wanted, limit=query.limit, offset=query.offset)
    if found.summary.session_id != wanted:  # abbreviated: see `ids`
        raise ApiError(HTTPStatus.NOT_FOUND, SESSION_NOT_FOUND, "An id is a whole id.")
    return document(session_detail(found, limit=query.limit, offset=query.offset))
