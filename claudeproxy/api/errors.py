"""One shape for every failure: ``{"error": "...", "details": "..." or null}`` in JSON, never HTML.

Apart so that a route says *what* is wrong (raise `ApiError`) and nothing else decides how that looks on the wire. It
covers routing, parsing and our own mistakes too. It will not let a stack trace, a path on this machine or a captured
value out: an unforeseen exception is logged here and answered with the bare words ``Internal server error``.
"""

from __future__ import annotations

import json
import traceback
from http import HTTPStatus
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from quart import Response
from quart_schema import RequestSchemaValidationError
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException

from claudeproxy.errors import ClaudeProxyError, StorageError
from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

log = get_logger(__name__)

INVALID_PARAMETERS = "Invalid request parameters"
MISSING_FIELD = "Missing required field"
INVALID_RATING = "Invalid rating"
REQUEST_NOT_FOUND = "Request not found"
RESPONSE_NOT_FOUND = "Response not found"
MESSAGE_NOT_FOUND = "Message not found"
FEEDBACK_NOT_FOUND = "Feedback not found"
SESSION_NOT_FOUND = "Session not found"
SECRET_NOT_FOUND = "Secret not found"  # noqa: S105 - a sentence
FEEDBACK_EXISTS = "Feedback already exists"
IN_FLIGHT = "Request in flight"
INTERNAL = "Internal server error"

# What a status says when nobody had anything more exact to say.
_TEXTS = {
    HTTPStatus.BAD_REQUEST: INVALID_PARAMETERS,
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "Not found",
    HTTPStatus.METHOD_NOT_ALLOWED: "Method not allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Request too large",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: "Request headers too large",
    HTTPStatus.INTERNAL_SERVER_ERROR: INTERNAL,
}


_NO_DATABASE = "The database cannot be used at the moment; the log says why. The same may be tried again."


class ErrorBody(BaseModel):
    """What every 4xx and 5xx answer carries."""

    model_config = ConfigDict(title="Error")

    error: str = Field(description="What is wrong, in a fixed wording that a program may compare.")
    details: str | None = Field(description="More for a person to read, or null.")


class ApiError(Exception):
    """A refusal that a route decided on: status, fixed text, and details for a person."""

    def __init__(self, status: int, error: str, details: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.details = details


def error_text(status: int) -> str:
    """The fixed `error` wording of a status code; its HTTP phrase where the API has none of its own."""
    if status in _TEXTS:
        return _TEXTS[HTTPStatus(status)]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return INTERNAL if status >= HTTPStatus.INTERNAL_SERVER_ERROR else INVALID_PARAMETERS


def error_json(error: str, details: str | None = None) -> bytes:
    """The body of an error answer, ready to send."""
    return json.dumps({"error": error, "details": details}).encode()


def error_response(
    status: int, error: str, details: str | None = None, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """An error as Quart sends it."""
    return Response(error_json(error, details), status, Headers(list(headers)), content_type="application/json")


def invalid_parameters(error: ValidationError) -> ApiError:
    """Turn pydantic's findings into one 400 that names each field.

    The offending value is left out on purpose: it may be anything, and an error is copied into tickets. Raised as
    ``Missing required field`` when a field is absent and nothing else is wrong.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    details = "; ".join(_finding(one["loc"], one["type"], one["msg"]) for one in found)
    missing = all(one["type"] == "missing" for one in found)
    return ApiError(HTTPStatus.BAD_REQUEST, MISSING_FIELD if missing else INVALID_PARAMETERS, details)


def _finding(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        message = "there is no such parameter"
    return ": ".join(filter(None, (".".join(map(str, loc)), message.removeprefix("Value error, "))))


def describe(error: BaseException) -> dict[str, object]:
    """An exception for the log: what and where, but its text only if it is ours; others may quote captures."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    reason = {"reason": str(error)} if isinstance(error, ClaudeProxyError) else {}
    return {"error": type(error).__name__, **reason, "where": where}


def install_error_handlers(app: Quart) -> None:
    """Give `app` the handlers that keep every failure in the one shape."""

    @app.errorhandler(ApiError)
    async def refused(error: ApiError) -> Response:
        return error_response(error.status, error.error, error.details)

    @app.errorhandler(RequestSchemaValidationError)
    async def invalid(error: RequestSchemaValidationError) -> Response:
        cause = error.validation_error
        if isinstance(cause, ValidationError):
            return await refused(invalid_parameters(cause))
        return error_response(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS)

    @app.errorhandler(HTTPException)
    async def http(error: HTTPException) -> Response:
        status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
        # `Allow` on 405 and its like stay; the body's type does not, because the body is ours.
        headers = [(name, value) for name, value in error.get_headers() if not name.lower().startswith("content-")]
        return error_response(status, error_text(status), _hint(status), headers)

    @app.errorhandler(StorageError)
    async def storage(error: StorageError) -> Response:
        log.error("api request failed", **describe(error))
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL, _NO_DATABASE)

    @app.errorhandler(Exception)
    async def unforeseen(error: Exception) -> Response:
        log.error("api request failed", **describe(error))
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, INTERNAL)


def _hint(status: int) -> str | None:
    if status == HTTPStatus.NOT_FOUND:
        return "There is no such route; /openapi.json lists them."
    return None
