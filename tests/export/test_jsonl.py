from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.export.exchanges import matching_ids, read_exchange
from claudeproxy.export.jsonl import FORMAT, VERSION, line
from claudeproxy.store.values import RequestFilters
from tests.api.captures import correlation, prompt
from tests.export.support import BINARY, SURROGATE
from tests.export.test_websockets import exported

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/export-format.md"


def written(storage: CaptureStorage, number: int) -> dict[str, object]:
    for request_id in matching_ids(storage, RequestFilters()):
        exchange = read_exchange(storage, request_id)
        assert exchange is not None
        if exchange.request.correlation_id == correlation(number):
            data = line(exchange)
            assert data.endswith(b"\n")
            assert data.count(b"\n") == 1
            assert data.isascii()
            made = json.loads(data)
            assert isinstance(made, dict)
            return made
    raise AssertionError(number)


def test_a_line_says_what_it_is_and_what_became_of_the_exchange(stored: CaptureStorage) -> None:
    made = written(stored, 1)
    assert (made["format"], made["version"]) == (FORMAT, VERSION) == ("claudeproxy.exchange", 1)
    assert (made["state"], made["error"], made["session_id"]) == ("complete", None, "session-1")
    assert made["instants"] == {
        "request_initiated": "2026-01-01T00:00:01.000000Z",
        "proxy_received": "2026-01-01T00:00:01.001000Z",
        "forwarded": "2026-01-01T00:00:01.002000Z",
        "response_received": "2026-01-01T00:00:01.052000Z",
        "delivered": "2026-01-01T00:00:01.060000Z",
    }


def test_bodies_and_headers_are_there_as_stored(stored: CaptureStorage) -> None:
    request, response = written(stored, 1)["request"], written(stored, 1)["response"]
    assert isinstance(request, dict)
    assert isinstance(response, dict)
    assert request["body"]["text"] == prompt("main").decode()
    assert request["body"]["base64"] is None
    assert ["x-api-key", "[REDACTED]"] in request["headers"]
    assert [pair[0] for pair in request["headers"]][2:4] == ["anthropic-beta", "Anthropic-Beta"]
    assert response["status_code"] == 200
    assert response["usage"]["cache_read_input_tokens"] == 30


def test_a_stream_is_text(stored: CaptureStorage) -> None:
    response = written(stored, 2)["response"]
    assert isinstance(response, dict)
    assert response["streamed"] is True
    assert response["body"]["text"].startswith("event: message_start\n")


def test_what_is_not_utf8_is_base64(stored: CaptureStorage) -> None:
    import base64

    made = written(stored, 20)
    for side in (made["request"], made["response"]):
        assert isinstance(side, dict)
        assert side["body"]["text"] is None
        assert base64.b64decode(side["body"]["base64"]) == BINARY


def test_half_a_character_survives(stored: CaptureStorage) -> None:
    request = written(stored, 21)["request"]
    assert isinstance(request, dict)
    assert request["body"]["text"] == SURROGATE.decode()


def test_a_body_whose_coding_was_taken_off_says_which(stored: CaptureStorage) -> None:
    request = written(stored, 6)["request"]
    assert isinstance(request, dict)
    assert (request["body"]["encoding"], request["body"]["text"]) == ("gzip", prompt("packed").decode())


def test_a_body_that_was_not_kept_says_why(stored: CaptureStorage) -> None:
    request = written(stored, 7)["request"]
    assert isinstance(request, dict)
    assert request["body"] == {
        "kept": "too_large",
        "length": 123,
        "sha256": request["body"]["sha256"],
        "encoding": None,
        "text": None,
        "base64": None,
    }


def test_sources_and_attributions_are_there(stored: CaptureStorage) -> None:
    made = written(stored, 1)
    assert isinstance(made["sources"], list)
    assert isinstance(made["attributions"], list)
    assert {one["label"] for one in made["sources"]} >= {"MCP: docs", "Tool: Bash", "User", "Overhead"}
    assert sum(one["token_count"] for one in made["attributions"]) == made["total_tokens"]


def test_what_failed_is_there_with_its_error(stored: CaptureStorage) -> None:
    made = written(stored, 4)
    assert (made["state"], made["error_kind"]) == ("upstream_error", "refused")
    assert written(stored, 10)["response"] is None


def test_every_field_stands_in_the_documentation(stored: CaptureStorage, tmp_path: Path) -> None:
    """And nothing stands there that is not written."""
    documented = set(re.findall(r"^\| `([a-z_0-9.\[\]]+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    found: set[str] = set()

    def walk(value: object, place: str) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk(inner, f"{place}.{name}" if place else name)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for one in value:
                walk(one, f"{place}[]")
        else:
            found.add(place)

    walk(written(stored, 1) | {"websocket": exported(tmp_path / "other.db", line)["websocket"]}, "")
    assert found == documented
