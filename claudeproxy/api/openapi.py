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
from claudeproxy.api.links import LINKS

if TYPE_CHECKING:
    from collections.abc import Callable

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
    "409": "It is not in a state for this; `details` says why.",
    "413": "The request is too large.",
    "500": "A fault of the server; its log says more.",
    "503": "There are as many live subscribers as there may be.",
}
_EVERYWHERE = ("401", "403", "413", "500")

# What an operation's parameters do not tell.
_MORE = {
    ("post", "/api/claude/feedback"): ("404", "409"),
    ("delete", "/api/claude/requests/{id}"): ("409",),
    ("get", "/api/claude/live"): ("503",),
}

Schema = dict[str, object]


class Provider(OpenAPIProvider):
    """quart-schema's provider, completed."""

    def schema(self) -> Schema:
        """The whole document."""
        document: Schema = super().schema()
        for path, operations in cast("dict[str, dict[str, Schema]]", document["paths"]).items():
            for method, operation in operations.items():
                _complete(method, path, operation)
        components = cast("dict[str, Schema]", document["components"])
        components["schemas"]["Error"] = ErrorBody.model_json_schema(mode="serialization")
        return document

    def operation_id(self, method: str, path: str, func: Callable[..., object]) -> str:
        """The name of the function: it begins with a verb and is there once."""
        return func.__name__


def _complete(method: str, path: str, operation: Schema) -> None:
    parameters = [_exact(parameter) for parameter in cast("list[Schema]", operation["parameters"])]
    places = {parameter["in"] for parameter in parameters}
    statuses = {
        *_EVERYWHERE,
        *_MORE.get((method, path), ()),
        *(["400"] if "query" in places or "requestBody" in operation else []),
        *(["404"] if "path" in places else []),
    }
    answers = {str(status): answer for status, answer in cast("Schema", operation["responses"]).items()}
    if path.endswith("/body"):
        answers["200"] = _DOWNLOAD
    answers.update(_OTHER.get((method, path), {}))
    answers.update((status, _error(status)) for status in statuses)
    for status, links in LINKS.get((method, path), {}).items():
        answers[status] = {**cast("Schema", answers[status]), "links": links}
    operation["parameters"] = parameters
    operation["responses"] = dict(sorted(answers.items()))
    if "requestBody" in operation:
        body = cast("Schema", operation["requestBody"])
        operation["requestBody"] = {**cast("Schema", _without_null_defaults(body)), "required": True}


def _without_null_defaults(node: object) -> object:
    """A schema as it is sent: what may be left out has no default then, or one that is said in words."""
    if isinstance(node, dict):
        return {
            name: _without_null_defaults(value) for name, value in node.items() if (name, value) != ("default", None)
        }
    return [_without_null_defaults(one) for one in node] if isinstance(node, list) else node


def _exact(parameter: Schema) -> Schema:
    """A parameter as it really is: most ids in a path are UUIDs, and what is optional may be absent but not null."""
    if parameter["in"] == "path":
        return {**parameter, "schema": _IN_PATHS.get(cast("str", parameter["name"]), _UUID)}
    schema = dict(cast("Schema", parameter["schema"]))
    choices = [choice for choice in cast("list[Schema]", schema.pop("anyOf", [])) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = {**choices[0], **schema}
    schema = {name: value for name, value in schema.items() if name != "title" and (name, value) != ("default", None)}
    return {**parameter, "schema": schema}


_UUID: Schema = {"type": "string", "format": "uuid"}
_IN_PATHS: dict[str, Schema] = {
    "session_id": {"type": "string", "minLength": 1, "description": "The client's own id, whatever it is."},
    "index": {"type": "integer", "minimum": 0, "description": "Place among the messages of the connection."},
}

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


# Answers that are no JSON, or nothing at all.
_OTHER: dict[tuple[str, str], Schema] = {
    ("delete", "/api/claude/feedback/{id}"): {"204": {"description": "It is gone."}},
    ("get", "/metrics"): {
        "200": {
            "description": "Prometheus' text format, version 0.0.4.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    },
    ("get", "/api/claude/live"): {
        "200": {
            "description": "Server-sent events without end; the data of each is a JSON document.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
    ("get", "/api/claude/export"): {
        "200": {
            "description": "All that match, the oldest first.",
            "content": {
                "application/x-ndjson": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object", "required": ["log"]}},
            },
        }
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
