"""/api/claude/feedback: what people thought of the answers, given, changed, taken back and listed."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_request, document_response, validate_querystring

from claudeproxy.api.answers import document, json_response, nothing
from claudeproxy.api.bodies import ChangedFeedback, NewFeedback, read_body
from claudeproxy.api.errors import (
    FEEDBACK_EXISTS,
    FEEDBACK_NOT_FOUND,
    INVALID_PARAMETERS,
    INVALID_RATING,
    REQUEST_NOT_FOUND,
    RESPONSE_NOT_FOUND,
    ApiError,
)
from claudeproxy.api.ids import or_404, whole_id
from claudeproxy.api.insight_presenting import feedback_detail
from claudeproxy.api.insight_schemas import FeedbackDetail, FeedbackList
from claudeproxy.api.parameters import FeedbackQuery
from claudeproxy.api.presenting import feedback_of
from claudeproxy.api.schemas import Feedback
from claudeproxy.errors import ConflictError, NoResponseError, NotFoundError, ValidationError
from claudeproxy.insight.feedback import LOCAL_USER, FeedbackManager
from claudeproxy.insight.values import UNCHANGED, FeedbackFilters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.api.storage import StoragePool
    from claudeproxy.insight.values import QualityFeedback
    from claudeproxy.store.storage import CaptureStorage

_NO_RESPONSE = "The request is without a captured response: there is nothing to rate."


def feedback_routes(storage: StoragePool, writer: StoragePool) -> Blueprint:
    """The routes of feedback; changes go through `writer`."""
    routes = Blueprint("feedback", __name__)

    @routes.post("/feedback")
    @document_request(NewFeedback)
    @document_response(Feedback, 201)
    async def create_feedback() -> Response:
        """Rate the answer to a request. A request has one rating: change it with PUT."""
        asked = await read_body(NewFeedback)
        with _refused():
            made = await writer.run(lambda storage: _submit(storage, asked))
        response = json_response(document(feedback_of(made)))
        response.status_code = HTTPStatus.CREATED
        response.headers["Location"] = f"/api/claude/feedback/{made.id}"
        return response

    @routes.get("/feedback")
    @validate_querystring(FeedbackQuery)
    @document_response(FeedbackList)
    async def list_feedback(query_args: FeedbackQuery) -> Response:
        """List feedback, the latest submitted first."""
        return json_response(await storage.run(lambda reader: _page(reader, query_args)))

    @routes.get("/feedback/<id>")
    @document_response(FeedbackDetail)
    async def get_feedback(id: str) -> Response:  # noqa: A002 - the name that the path shows
        """Show one rating, with the request and response that it is of."""
        wanted = whole_id(id, FEEDBACK_NOT_FOUND)
        with or_404(FEEDBACK_NOT_FOUND):
            return json_response(await storage.run(lambda reader: _detail(reader, wanted)))

    @routes.put("/feedback/<id>")
    @document_request(ChangedFeedback)
    @document_response(FeedbackDetail)
    async def update_feedback(id: str) -> Response:  # noqa: A002
        """Change a rating, its text, or both."""
        wanted = whole_id(id, FEEDBACK_NOT_FOUND)
        asked = await read_body(ChangedFeedback)
        with _refused(FEEDBACK_NOT_FOUND):
            return json_response(await writer.run(lambda storage: _update(storage, wanted, asked)))

    @routes.delete("/feedback/<id>")
    async def delete_feedback(id: str) -> Response:  # noqa: A002
        """Take a rating back, as if it had never been given."""
        wanted = whole_id(id, FEEDBACK_NOT_FOUND)
        with or_404(FEEDBACK_NOT_FOUND):
            await writer.run(lambda storage: FeedbackManager(storage).delete_feedback(wanted))
        return nothing()

    @routes.get("/feedback/by-request/<request_id>")
    @document_response(FeedbackDetail)
    async def get_feedback_by_request(request_id: str) -> Response:
        """Show the rating of a request."""
        wanted = whole_id(request_id, REQUEST_NOT_FOUND)
        return json_response(await storage.run(lambda reader: _by_request(reader, wanted)))

    return routes


@contextmanager
def _refused(not_found: str = REQUEST_NOT_FOUND) -> Iterator[None]:
    """Within it, what the library refuses becomes the answer that the API promises."""
    try:
        yield
    except NoResponseError:
        raise ApiError(HTTPStatus.NOT_FOUND, RESPONSE_NOT_FOUND, _NO_RESPONSE) from None
    except NotFoundError:
        raise ApiError(HTTPStatus.NOT_FOUND, not_found) from None
    except ConflictError as error:
        details = f"The request has feedback {error.existing}: use PUT to change it."
        raise ApiError(HTTPStatus.CONFLICT, FEEDBACK_EXISTS, details) from None
    except ValidationError as error:
        text = INVALID_RATING if error.field == "rating" else INVALID_PARAMETERS
        raise ApiError(HTTPStatus.BAD_REQUEST, text, str(error)) from None


def _submit(storage: CaptureStorage, asked: NewFeedback) -> QualityFeedback:
    return FeedbackManager(storage).submit_feedback(
        asked.request_id, asked.rating, asked.feedback_text, LOCAL_USER if asked.user_id is None else asked.user_id
    )


def _update(storage: CaptureStorage, wanted: str, asked: ChangedFeedback) -> str:
    given = asked.model_fields_set
    changed = FeedbackManager(storage).update_feedback(
        wanted,
        rating=asked.rating if "rating" in given else UNCHANGED,
        feedback_text=asked.feedback_text if "feedback_text" in given else UNCHANGED,
    )
    return document(_with_exchange(storage, changed))


def _page(reader: CaptureStorage, query: FeedbackQuery) -> str:
    page = FeedbackManager(reader).list_feedback(
        FeedbackFilters(
            min_rating=query.min_rating,
            max_rating=query.max_rating,
            user_id=query.user_id,
            since=query.since,
            until=query.until,
            limit=query.limit,
            offset=query.offset,
        )
    )
    shown = []
    for one in page.rows:
        try:
            shown.append(_with_exchange(reader, one))
        except NotFoundError:
            continue  # deleted since the page was read
    return document(FeedbackList(feedback=shown, total=page.total, limit=query.limit, offset=query.offset))


def _detail(reader: CaptureStorage, wanted: str) -> str:
    return document(_with_exchange(reader, FeedbackManager(reader).get_feedback(wanted)))


def _by_request(reader: CaptureStorage, wanted: str) -> str:
    with or_404(REQUEST_NOT_FOUND):
        request = reader.get_request(wanted)
    with or_404(FEEDBACK_NOT_FOUND):
        return document(_with_exchange(reader, FeedbackManager(reader).get_feedback_by_request(request.id)))


def _with_exchange(reader: CaptureStorage, feedback: QualityFeedback) -> FeedbackDetail:
    return feedback_detail(feedback, reader.get_request(feedback.request_id), reader.get_response(feedback.response_id))
