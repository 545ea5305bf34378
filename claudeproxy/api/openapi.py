"""The OpenAPI 3.1 document, made from the routes, their models and what holds for all of them.

quart-schema builds it from the models; added here is what it cannot know: the answers that errors give on every route,
downloads that are bytes and not JSON, and the token. Its pages that show the document are turned off, because they
load their scripts from servers elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from quart_schema import Info, QuartSchema
from quart_schema.openapi import HttpSecurityScheme, OpenAPIProvider

from claudeproxy.api.answers import DECODED_FROM, KEPT
from claudeproxy.api.errors import ErrorBody

if TYPE_CHECKING:
    from quart import Quart

DESCRIPTION = """\
What went through the proxy, and where each piece of it came from.

Times are ISO 8601 in UTC, ids are UUIDs, latencies whole milliseconds. Every error is
`{"error": "...", "details": "..." or null}`.
"""

_ERRORS = {
    "400": "A parameter is invalid, missing or unknown; `details` names it.",
    "401": "The bearer token is missing or wrong.",
    "403": "The Host or Origin is not one of this API's.",
    "404": "There is no such record.",
    "413": "The request is too large.",
    "500": "A fault of the server; its log says more.",
}
_EVERYWHERE = ("401", "403", "413", "500")

Schema = dict[str, object]


class Provider(OpenAPIProvider):
    """quart-schema's provider, completed."""

    def schema(self) -> Schema:
        """The whole document."""
        document: Schema = super().schema()
        for path, operations in cast("dict[str, dict[str, Schema]]", document["paths"]).items():
            for operation in operations.values():
                _complete(path, operation)
        components = cast("dict[str, Schema]", document["components"])
        components["schemas"]["Error"] = ErrorBody.model_json_schema(mode="serialization")
        return document


def _complete(path: str, operation: Schema) -> None:
    parameters = [_exact(parameter) for parameter in cast("list[Schema]", operation["parameters"])]
    places = {parameter["in"] for parameter in parameters}
    statuses = (*_EVERYWHERE, *(["400"] if "query" in places else []), *(["404"] if "path" in places else []))
    answers = {str(status): answer for status, answer in cast("Schema", operation["responses"]).items()}
    if path.endswith("/body"):
        answers["200"] = _DOWNLOAD
    answers.update((status, _error(status)) for status in statuses)
    operation["parameters"] = parameters
    operation["responses"] = dict(sorted(answers.items()))


def _exact(parameter: Schema) -> Schema:
    """A parameter as it really is: ids in a path are UUIDs, and what is optional may be absent but not null."""
    if parameter["in"] == "path":
        return {**parameter, "schema": {"type": "string", "format": "uuid"}}
    schema = dict(cast("Schema", parameter["schema"]))
    choices = [choice for choice in cast("list[Schema]", schema.pop("anyOf", [])) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {**choices[0], **schema}
    schema = {name: value for name, value in schema.items() if name != "title" and (name, value) != ("default", None)}
    return {**parameter, "schema": schema}


_DOWNLOAD: Schema = {
    "description": "The captured bytes, exactly.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        KEPT: {
            "description": "`whole`, `partial` or `empty`.",
            "schema": {"type": "string", "enum": ["whole", "partial", "empty"]},
        },
        DECODED_FROM: {
            "description": "The content coding that was taken off when the body was stored; absent when none was.",
            "schema": {"type": "string"},
        },
    },
}


def _error(status: str) -> Schema:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": _ERRORS[status], "content": {"application/json": {"schema": schema}}}


def install_openapi(app: Quart, *, version: str, token_required: bool) -> None:
    """Serve the document at ``/openapi.json``. Call it before the routes are added."""
    bearer: dict[str, list[str]] = {"bearer": []}
    QuartSchema(
        app,
        openapi_path="/openapi.json",
        redoc_ui_path=None,
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(title="claudeproxy", version=version, description=DESCRIPTION),
        security_schemes={"bearer": HttpSecurityScheme(scheme="bearer")},
        security=[bearer] if token_required else [{}, bearer],
        conversion_preference="pydantic",
        openapi_provider_class=Provider,
    )
