"""The document that the API serves of itself is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from claudeproxy.api.app import create_app
from tests.api.conftest import app_on, served

if TYPE_CHECKING:
    import httpx

    from tests.api.conftest import Captures

ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


@pytest.fixture
async def document(api: httpx.AsyncClient) -> dict[str, object]:
    answer = await api.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, object] = answer.json()
    return found


def operations(document: dict) -> dict[str, dict]:
    """The operations that read, by path."""
    return {path: methods["get"] for path, methods in document["paths"].items()}


def every_operation(document: dict) -> dict[tuple[str, str], dict]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


async def test_it_is_openapi_3_1_and_names_every_route(document: dict) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert {
        *(("get", f"/api/claude/requests{rest}") for rest in ("", "/{id}", "/{id}/body")),
        *(("delete", f"/api/claude/requests{rest}") for rest in ("", "/{id}")),
        *(("get", f"/api/claude/responses/{{id}}{rest}") for rest in ("", "/body")),
        *(("get", f"/api/claude/metrics/{rest}") for rest in ("summary", "sources", "history")),
        *(("get", f"/api/claude/sessions{rest}") for rest in ("", "/{session_id}")),
        *(("get", f"/api/claude/feedback{rest}") for rest in ("", "/{id}", "/by-request/{request_id}")),
        *((method, "/api/claude/feedback/{id}") for method in ("put", "delete")),
        ("post", "/api/claude/feedback"),
        ("get", "/api/claude/contexts"),
        ("get", "/api/claude/health"),
        ("get", "/metrics"),
    } <= every_operation(document).keys()
    assert all(operation["summary"] for operation in every_operation(document).values())
    names = [operation["operationId"] for operation in every_operation(document).values()]
    assert len(names) == len(set(names))


async def test_every_operation_names_its_errors(document: dict) -> None:
    more = {("post", "/api/claude/feedback"): {"404", "409"}, ("delete", "/api/claude/requests/{id}"): {"409"}}
    more["get", "/api/claude/live"] = {"503"}
    for (method, path), operation in every_operation(document).items():
        expected = {"401", "403", "413", "500", *more.get((method, path), set())}
        expected |= {"404"} if "{" in path else set()
        asks = "requestBody" in operation or any(one["in"] == "query" for one in operation["parameters"])
        expected |= {"400"} if asks else set()
        errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert errors.keys() == expected, (method, path)
        assert all(answer["content"] == ERROR for answer in errors.values())
        assert len(operation["responses"]) == len(errors) + 1
    assert document["components"]["schemas"]["Error"]["required"] == ["error", "details"]


async def test_a_body_is_required_and_says_what_it_may_hold(document: dict) -> None:
    made = every_operation(document)["post", "/api/claude/feedback"]["requestBody"]
    changed = every_operation(document)["put", "/api/claude/feedback/{id}"]["requestBody"]
    assert made["required"]
    assert changed["required"]
    new, change = (body["content"]["application/json"]["schema"] for body in (made, changed))
    assert new["required"] == ["request_id", "rating"]
    assert (new["additionalProperties"], change["additionalProperties"]) == (False, False)
    assert change["minProperties"] == 1
    for schema in (new, change):
        assert schema["properties"]["rating"].items() >= {("type", "number"), ("minimum", -1), ("maximum", 1)}
        assert "default" not in schema["properties"]["rating"]


async def test_links_lead_to_operations_and_their_parameters(document: dict) -> None:
    known = {
        operation["operationId"]: {one["name"] for one in operation["parameters"]}
        for operation in every_operation(document).values()
    }
    linked = [
        link
        for operation in every_operation(document).values()
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(linked) > 10
    for link in linked:
        assert link["parameters"].keys() <= known[link["operationId"]]


async def test_downloads_are_bytes_and_metrics_are_text(document: dict) -> None:
    kinds = {"/metrics": "text/plain", "/api/claude/live": "text/event-stream"}
    for path, operation in operations(document).items():
        if path == "/api/claude/export":
            continue  # of the format that was asked for
        (content_type,) = operation["responses"]["200"]["content"]
        expected = "application/octet-stream" if path.endswith("/body") else kinds.get(path, "application/json")
        assert content_type == expected


async def test_parameters_are_optional_bounded_and_never_null(document: dict) -> None:
    parameters = {one["name"]: one for one in operations(document)["/api/claude/requests"]["parameters"]}
    assert parameters.keys() == {
        *("start_time", "end_time", "context_source", "source_type", "request_class", "method", "path", "model"),
        *(
            "status",
            "state",
            "session_id",
            "agent_id",
            "project",
            "over",
            "q",
            "everywhere",
            "limit",
            "offset",
            "as_of",
        ),
    }
    assert not any(one.get("required") for one in parameters.values())
    assert all(one["description"] for one in parameters.values())
    assert "null" not in str(parameters)
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert parameters["start_time"]["schema"] == {"type": "string", "format": "date-time"}


async def test_ids_in_paths_are_uuids(document: dict) -> None:
    (parameter,) = operations(document)["/api/claude/requests/{id}"]["parameters"]
    assert parameter == {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


async def test_every_reference_leads_somewhere(document: dict) -> None:
    def references(node: object) -> set[str]:
        if isinstance(node, dict):
            found = {value for name, value in node.items() if name == "$ref"}
            return found.union(*map(references, node.values()))
        return set().union(*map(references, node)) if isinstance(node, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known


async def test_answers_leave_no_field_out(document: dict) -> None:
    schemas = document["components"]["schemas"]
    detail = operations(document)["/api/claude/requests/{id}"]["responses"]["200"]["content"]["application/json"]
    assert set(detail["schema"]["required"]) == set(detail["schema"]["properties"])
    for name in ("Attribution", "SourceTotal", "ResponseSummary"):
        assert set(schemas[name]["required"]) == set(schemas[name]["properties"])


async def test_the_token_is_optional_or_required_as_it_is(captures: Captures, document: dict) -> None:
    assert document["security"] == [{}, {"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    async with served(app_on(captures, token="a-dummy-token", token_required=True)) as api:
        served_document = (await api.get("/openapi.json", headers={"authorization": "Bearer a-dummy-token"})).json()
    assert served_document["security"] == [{"bearer": []}]


async def test_two_applications_do_not_share_their_routes(captures: Captures) -> None:
    for version in ("1", "2"):
        app = create_app(
            captures.reader, open_writer=captures.writer, token=None, accepted_hosts=(), health=dict, version=version
        )
        async with served(app) as api:
            assert (await api.get("/openapi.json")).json()["info"]["version"] == version


async def test_the_reference_names_every_route_parameter_and_field(document: dict) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")

    def named(*names: str) -> list[str]:
        """Those of the names that do not stand in the reference."""
        return [name for name in names if not re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", text)]

    schemas = document["components"]["schemas"]
    assert named(*document["paths"]) == []
    for operation in every_operation(document).values():
        assert named(*(parameter["name"] for parameter in operation["parameters"])) == []
        for answer in operation["responses"].values():
            content = answer.get("content", {}).get("application/json", {"schema": {}})
            assert named(*content["schema"].get("properties", {})) == []
    for name in ("SourceMetrics", "HistoryPoint", "SessionTotals", "SessionAgent", "SessionTurn", "SessionRequest"):
        assert named(*schemas[name]["properties"]) == []
    assert named(*schemas["Attribution"]["properties"], *schemas["SourceTotal"]["properties"]) == []
    assert named(*schemas["SourceType"]["enum"], *schemas["State"]["enum"], *schemas["BodyKept"]["enum"]) == []
