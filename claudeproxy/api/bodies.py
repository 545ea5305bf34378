"""What a request carries: a JSON document, read strictly.

Apart from `parameters`, which are texts in a URL and are read leniently (``limit=5`` is a number there). In JSON a
number is a number. Only ``application/json`` is read: a web page may send other types to anybody without asking.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from quart import request

from claudeproxy.api.errors import INVALID_PARAMETERS, INVALID_RATING, ApiError, invalid_parameters
from claudeproxy.api.parameters import Id  # noqa: TC001 - pydantic reads it
from claudeproxy.insight.feedback import MAX_TEXT, MAX_USER

_NOT_JSON = "The body is not JSON."
_NO_OBJECT = "The body is not a JSON object: send the fields by name, in braces."
_NO_TYPE = "Send the body as JSON, with the header `Content-Type: application/json`."


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text cannot hold the character NUL")
    return text


def _text(least: int, most: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "minLength": least, "maxLength": most, "pattern": r"^[^\u0000]*$"})


Rating = Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
FeedbackText = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_storable), _text(0, MAX_TEXT)]
UserId = Annotated[str, Field(min_length=1, max_length=MAX_USER), AfterValidator(_storable), _text(1, MAX_USER)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewFeedback(_Body):
    """What somebody thinks of the answer to a request."""

    request_id: Id = Field(description="The captured request; one rating each.")
    rating: Rating = Field(description="-1.0 (bad) to 1.0 (good).")
    feedback_text: FeedbackText | None = Field(None, description=f"At most {MAX_TEXT:,} characters.")
    user_id: UserId | None = Field(None, description="Who says so; `local-user` when left out.")


class ChangedFeedback(_Body):
    """What is to be changed; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    rating: Rating = Field(0.0, description="-1.0 (bad) to 1.0 (good).", json_schema_extra={"default": None})
    feedback_text: FeedbackText | None = Field(None, description="Null removes the text.")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give rating, feedback_text or both")
        return self


Body = TypeVar("Body", bound=_Body)


async def read_body(model: type[Body]) -> Body:
    """The body of the request being answered. Raises ApiError 400 that names what is wrong, 413 when it is too long."""
    if request.mimetype != "application/json":
        raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, _NO_TYPE)
    data = await request.get_data(cache=False)
    try:
        # NaN and its kin are read here, and refused where they stand: the answer can name the field.
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, _NO_OBJECT)
        return model.model_validate(document)
    except ValidationError as error:
        raise _named(error) from None
    except (ValueError, RecursionError):
        raise ApiError(HTTPStatus.BAD_REQUEST, INVALID_PARAMETERS, _NOT_JSON) from None


def _named(error: ValidationError) -> ApiError:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    refusal = invalid_parameters(error)
    if all(one["loc"][:1] == ("rating",) and one["type"] != "missing" for one in found):
        return ApiError(refusal.status, INVALID_RATING, refusal.details)
    return refusal
