"""Messages of a WebSocket over the API: in pages with short payloads, and one by one as bytes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from claudeproxy.api.messages import INLINE_BYTES
from claudeproxy.model import BodyKept, Opcode, WebSocketStream
from tests.api.captures import answered, exchange, prompt, whole
from tests.api.conftest import Captures
from tests.store.websockets import message, upgraded, websocket

if TYPE_CHECKING:
    import httpx

NUMBER = 77
LARGE = "ä".encode() * INLINE_BYTES
TALK = websocket(
    message(0, b"hello"),
    message(1, b"\xff\x00", opcode=Opcode.BINARY),
    message(2, LARGE),
    message(3, "cut in ä".encode()[:-1], size=9, complete=False),
    message(4, b"\x03\xe9bye", opcode=Opcode.CLOSE),
    message(5, b"", opcode=Opcode.PONG),
    received=WebSocketStream(
        kept=BodyKept.WHOLE, length=9, recorded=9, problem="odd", undecodable_from=3, raw=b"nonsense"
    ),
)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """An ordinary exchange and a connection: the captures that all tests of this package read have none."""
    made = Captures(tmp_path_factory.mktemp("messages") / "captures.db")
    made.record([(1, exchange(1, body=whole(prompt()), response=answered()))])
    made.close()
    return made


@pytest.fixture(scope="module")
def connection(captures: Captures) -> str:
    with captures.writer() as storage:
        return storage.capture_request(upgraded(NUMBER, TALK))


async def test_a_page_has_messages_in_order_and_both_directions(api: httpx.AsyncClient, connection: str) -> None:
    answer = await api.get(f"/api/claude/requests/{connection}/messages")
    assert answer.status_code == 200
    page = answer.json()
    assert [one["index"] for one in page["messages"]] == [0, 1, 2, 3, 4, 5]
    assert (page["total"], page["limit"], page["offset"]) == (6, 20, 0)
    first, binary, large, cut, close, pong = page["messages"]
    assert (first["direction"], first["opcode"], first["text"], first["base64"]) == ("sent", "text", "hello", None)
    assert first["timestamp"].endswith("Z")
    assert (binary["text"], base64.b64decode(binary["base64"]), binary["kept"]) == (None, b"\xff\x00", "whole")
    assert (large["text"], large["truncated"], large["size"]) == ("ä" * (INLINE_BYTES // 2), True, len(LARGE))
    assert (cut["text"], cut["complete"], cut["kept"], cut["truncated"]) == ("cut in ", False, "partial", False)
    assert (close["close_code"], close["close_reason"], close["text"]) == (1001, "bye", None)
    assert (pong["opcode"], pong["text"], pong["kept"]) == ("pong", "", "empty")
    assert page["streams"][0]["problem"] is None
    assert page["streams"][1] == {
        "direction": "received",
        "messages": 3,
        "kept": "whole",
        "length": 9,
        "recorded": 9,
        "problem": "odd",
        "undecodable_from": 3,
    }


async def test_pages_and_directions_select(api: httpx.AsyncClient, connection: str) -> None:
    answer = await api.get(
        f"/api/claude/requests/{connection}/messages", params={"direction": "received", "limit": 1, "offset": 1}
    )
    assert [one["index"] for one in answer.json()["messages"]] == [3]
    assert answer.json()["total"] == 3


@pytest.mark.parametrize("parameters", [{"limit": 0}, {"offset": -1}, {"direction": "up"}, {"page": 2}])
async def test_wrong_parameters_are_named(api: httpx.AsyncClient, connection: str, parameters: dict[str, str]) -> None:
    answer = await api.get(f"/api/claude/requests/{connection}/messages", params=parameters)
    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["details"]


async def test_a_payload_is_downloaded_byte_for_byte(api: httpx.AsyncClient, connection: str) -> None:
    whole = await api.get(f"/api/claude/requests/{connection}/messages/2/body")
    assert whole.content == LARGE
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["X-Claudeproxy-Body-Kept"] == "whole"
    part = await api.get(f"/api/claude/requests/{connection}/messages/3/body")
    assert part.headers["X-Claudeproxy-Body-Kept"] == "partial"


@pytest.mark.parametrize("index", ["6", "-1", "x", "9" * 30, "1.0"])
async def test_a_message_that_is_not_there_is_404(api: httpx.AsyncClient, connection: str, index: str) -> None:
    answer = await api.get(f"/api/claude/requests/{connection}/messages/{index}/body")
    assert answer.status_code == 404
    assert answer.json()["error"] == "Message not found"


async def test_an_unknown_request_is_404_and_an_ordinary_one_has_no_messages(
    api: httpx.AsyncClient, captures: Captures
) -> None:
    answer = await api.get(f"/api/claude/requests/{UUID(int=0)}/messages")
    assert (answer.status_code, answer.json()["error"]) == (404, "Request not found")
    some = next(iter(captures.ids.values()))
    page = (await api.get(f"/api/claude/requests/{some}/messages")).json()
    assert (page["messages"], page["total"], page["streams"]) == ([], 0, [])


async def test_the_list_shows_a_websocket_with_its_class_and_status(api: httpx.AsyncClient, connection: str) -> None:
    found = (await api.get("/api/claude/requests", params={"request_class": "websocket"})).json()["requests"]
    assert [one["id"] for one in found] == [connection]
    assert [(one["status_code"], one["request_class"], one["state"]) for one in found] == [
        (101, "websocket", "complete")
    ]
