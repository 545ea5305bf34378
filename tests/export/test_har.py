from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.export.formats import ExportFormat, export
from claudeproxy.store.values import RequestFilters
from tests.api.captures import prompt
from tests.export.support import BINARY, HAR, SURROGATE, check

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

    Entries = dict[int, dict[str, dict[str, object]]]


@pytest.fixture(scope="module")
def entries(stored: CaptureStorage) -> Entries:
    """The entries by the number of the exchange, which is the second it began in."""
    archive = json.loads(b"".join(export(stored, RequestFilters(), ExportFormat.HAR)))
    return {int(one["startedDateTime"][17:19]): one for one in archive["log"]["entries"]}


def test_an_archive_is_har_1_2(stored: CaptureStorage) -> None:
    data = b"".join(export(stored, RequestFilters(), ExportFormat.HAR))
    assert data.isascii()
    archive = json.loads(data)
    check(archive, HAR)
    assert archive["log"]["version"] == "1.2"
    assert len(archive["log"]["entries"]) == 14


def test_an_archive_of_nothing_is_one_too(stored: CaptureStorage) -> None:
    archive = json.loads(b"".join(export(stored, RequestFilters(model="none"), ExportFormat.HAR)))
    check(archive, HAR)
    assert archive["log"]["entries"] == []


def test_the_schema_finds_what_is_wrong() -> None:
    with pytest.raises(AssertionError, match="lacks version"):
        check({"log": {}}, HAR)
    with pytest.raises(AssertionError, match="nonsense"):
        check({"log": {"version": "1.2", "creator": {"name": "", "version": ""}, "entries": [], "nonsense": 1}}, HAR)


def test_an_exchange_is_there_with_its_bodies(entries: Entries) -> None:
    request, response = entries[1]["request"], entries[1]["response"]
    assert request["url"] == "https://api.anthropic.com/v1/messages?beta=true"
    assert request["queryString"] == [{"name": "beta", "value": "true"}]
    assert request["postData"] == {"mimeType": "application/json", "params": [], "text": prompt("main").decode()}
    assert {"name": "x-api-key", "value": "[REDACTED]"} in request["headers"]  # type: ignore[operator]
    assert (response["status"], response["statusText"], response["httpVersion"]) == (200, "OK", "HTTP/1.1")
    assert entries[1]["_claudeproxy"]["session_id"] == "session-1"
    assert entries[1]["_claudeproxy"]["sources"]


def test_timings_are_the_differences_of_the_instants(entries: Entries) -> None:
    """Begun, forwarded after 2 ms (of which connecting would have taken 9), answered after 52, delivered after 60."""
    assert entries[1]["timings"] == {
        "blocked": -1,
        "dns": -1,
        "connect": 9.0,
        "ssl": -1,
        "send": 0.0,
        "wait": 50.0,
        "receive": 8.0,
    }
    assert entries[1]["time"] == 67.0


def test_what_got_no_response_has_status_0(entries: Entries) -> None:
    for number in (10, 11):  # in flight, interrupted
        assert entries[number]["response"]["status"] == 0
        assert entries[number]["timings"]["wait"] == 0
    assert entries[11]["request"]["postData"]["text"] != ""  # type: ignore[index]


def test_what_was_cut_has_what_came_and_why(entries: Entries) -> None:
    cut = entries[5]
    assert cut["_error"] == "the client left"
    assert cut["_claudeproxy"]["state"] == "aborted_by_client"
    assert cut["response"]["status"] == 200
    assert cut["response"]["content"]["text"] != ""  # type: ignore[index]


def test_a_stream_is_text(entries: Entries) -> None:
    content = entries[2]["response"]["content"]
    assert isinstance(content, dict)
    assert content["mimeType"] == "text/event-stream"
    assert content["text"].startswith("event: message_start\n")
    assert "encoding" not in content


def test_what_is_not_utf8_is_base64_and_in_a_request_left_out(entries: Entries) -> None:
    content = entries[20]["response"]["content"]
    assert isinstance(content, dict)
    assert content["encoding"] == "base64"
    assert base64.b64decode(content["text"]) == BINARY
    assert entries[20]["request"]["comment"] == "the body is not UTF-8"
    text = entries[21]["response"]["content"]
    assert isinstance(text, dict)
    assert text["text"] == SURROGATE.decode()


def test_a_body_that_was_not_kept_says_why(entries: Entries) -> None:
    assert entries[7]["request"]["comment"] == "the body was not kept: too_large"
    content = entries[7]["response"]["content"]
    assert isinstance(content, dict)
    assert content["comment"] == "the body was not kept: too_large"
    assert "text" not in content


def test_a_request_without_a_body_has_no_post_data(entries: Entries) -> None:
    assert "postData" not in entries[9]["request"]
    assert entries[9]["request"]["bodySize"] == 0
