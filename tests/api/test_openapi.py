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
    return {path: methods["get"] for path, methods in document["paths"].items()}


async def test_it_is_openapi_3_1_and_names_every_route(document: dict) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"
    assert document["paths"].keys() == {
        "/api/claude/requests",
        "/api/claude/requests/{id}",
        "/api/claude/requests/{id}/body",
        "/api/claude/responses/{id}",
        "/api/claude/responses/{id}/body",
        "/api/claude/contexts",
        "/api/claude/health",
    }
    assert all(methods.keys() == {"get"} for methods in document["paths"].values())
    assert all(operation["summary"] for operation in operations(document).values())


async def test_every_operation_names_its_errors(document: dict) -> None:
    for path, operation in operations(document).items():
        expected = {"200", "401", "403", "413", "500"}
        expected |= {"404"} if "{id}" in path else set()
        expected |= {"400"} if path in ("/api/claude/requests", "/api/claude/contexts") else set()
        assert operation["responses"].keys() == expected
        assert all(operation["responses"][status]["content"] == ERROR for status in expected - {"200"})
    assert document["components"]["schemas"]["Error"]["required"] == ["error", "details"]


async def test_downloads_are_bytes(document: dict) -> None:
    for path, operation in operations(document).items():
        (content_type,) = operation["responses"]["200"]["content"]
        assert content_type == ("application/octet-stream" if path.endswith("/body") else "application/json")


async def test_parameters_are_optional_bounded_and_never_null(document: dict) -> None:
    parameters = {one["name"]: one for one in operations(document)["/api/claude/requests"]["parameters"]}
    assert parameters.keys() == {
        *("start_time", "end_time", "context_source", "source_type", "request_class", "method", "path", "model"),
        *("status", "state", "session_id", "agent_id", "project", "limit", "offset", "as_of"),
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
        app = create_app(captures.reader, token=None, accepted_hosts=(), health=dict, version=version)
        async with served(app) as api:
            assert (await api.get("/openapi.json")).json()["info"]["version"] == version


async def test_the_reference_names_every_route_parameter_and_field(document: dict) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")

    def named(*names: str) -> list[str]:
        """Those of the names that do not stand in the reference."""
        return [name for name in names if not re.search(rf"(?<![a-z_]){re.escape(name)}(?![a-z_])", text)]

    schemas = document["components"]["schemas"]
    assert named(*document["paths"]) == []
    for operation in operations(document).values():
        assert named(*(parameter["name"] for parameter in operation["parameters"])) == []
        answer = operation["responses"]["200"]["content"].get("application/json", {"schema": {}})
        assert named(*answer["schema"].get("properties", {})) == []
    assert named(*schemas["Attribution"]["properties"], *schemas["SourceTotal"]["properties"]) == []
    assert named(*schemas["SourceType"]["enum"], *schemas["State"]["enum"], *schemas["BodyKept"]["enum"]) == []
