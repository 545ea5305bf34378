"""Answers as bytes: JSON documents and captured bodies.

Apart because both have their traps. Captured JSON may hold lone surrogates and nesting that pydantic's serialiser
refuses, so documents are written by the standard library, in plain ASCII. Captured bytes go out as a download and
never as what they claim to be, so that no browser ever renders them.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from quart import Response

from claudeproxy.api.errors import ApiError
from claudeproxy.model import BodyKept

if TYPE_CHECKING:
    from pydantic import BaseModel

BODY_NOT_KEPT = "Body not kept"

DECODED_FROM = "X-Claudeproxy-Decoded-From"
"""On a `/body` answer: the content coding that was taken off for the record; absent when the bytes are the wire's."""

KEPT = "X-Claudeproxy-Body-Kept"
"""On a `/body` answer: `whole`, `partial` (the exchange ended before the body did) or `empty`."""

_WHY_NOT = {
    BodyKept.TOO_LARGE: "It was over max_body_bytes; its length and SHA-256 are in the record.",
    BodyKept.POLICY: "Bodies of this path are not recorded (see capture_other_bodies); those of authentication never.",
    BodyKept.DROPPED: "There was no room for it when it was captured.",
}


def document(model: BaseModel, **captured: object) -> str:
    """A model as JSON in ASCII, with `captured` values in place of its own members of the same name.

    A captured value that JSON cannot say (Python reads NaN, and nests more deeply than it writes) becomes null.
    """
    content = model.model_dump()
    try:
        return json.dumps({**content, **captured}, allow_nan=False)
    except (ValueError, RecursionError):
        return json.dumps({**content, **dict.fromkeys(captured)})


def json_response(text: str) -> Response:
    """A JSON document as an answer."""
    return Response(text, content_type="application/json")


def nothing() -> Response:
    """204: it is done, and there is nothing to say."""
    response = Response("", HTTPStatus.NO_CONTENT)
    del response.headers["content-type"]
    return response


def body_response(data: bytes, *, kept: BodyKept, encoding: str | None, filename: str) -> Response:
    """Captured bytes, exactly. Raises ApiError 404 when the record has none, and says why."""
    if kept in _WHY_NOT:
        raise ApiError(HTTPStatus.NOT_FOUND, BODY_NOT_KEPT, _WHY_NOT[kept])
    response = Response(data, content_type="application/octet-stream")
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    response.headers[KEPT] = str(kept)
    if encoding is not None:
        response.headers[DECODED_FROM] = encoding
    response.timeout = None  # Quart would cut a slow reader off after a minute; a pager may take longer
    return response
