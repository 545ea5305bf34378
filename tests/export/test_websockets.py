"""Upgraded connections in both formats: messages in order, as Chrome reads them and as a line tells them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from claudeproxy.export.exchanges import read_exchange
from claudeproxy.export.har import entry
from claudeproxy.export.jsonl import line
from claudeproxy.model import BodyKept, Opcode, WebSocketStream
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import START
from tests.store.websockets import message, upgraded, websocket

if TYPE_CHECKING:
    from pathlib import Path

CONFUSED = WebSocketStream(
    kept=BodyKept.WHOLE, length=9, recorded=9, problem="odd", undecodable_from=3, raw=b"\xffnonsense"
)
TALK = websocket(
    message(0, b"hello"),
    message(1, b"\xff\x00", opcode=Opcode.BINARY),
    message(2, b"\x03\xe8", opcode=Opcode.CLOSE),
    message(3, b"\xff not UTF-8"),
    received=CONFUSED,
)


def exported(path: Path, write: object) -> dict:
    with CaptureStorage(path) as storage:
        exchange = read_exchange(storage, storage.capture_request(upgraded(1, TALK)))
        made = json.loads(write(exchange))  # type: ignore[operator]
        assert isinstance(made, dict)
        return made


def test_an_archive_has_messages_as_chrome_writes_them(tmp_path: Path) -> None:
    made = exported(tmp_path / "captures.db", entry)
    assert made["_resourceType"] == "websocket"
    assert made["response"]["status"] == 101
    first = made["_webSocketMessages"][0]
    assert first == {"type": "send", "time": round(START / 1e9, 6), "opcode": 1, "data": "hello"}
    assert [(one["type"], one["opcode"], one["data"]) for one in made["_webSocketMessages"][1:]] == [
        ("receive", 2, "/wA="),
        ("send", 8, "A+g="),
        ("receive", 1, base64.b64encode(b"\xff not UTF-8").decode()),
    ]


def test_a_line_has_both_directions_and_every_message(tmp_path: Path) -> None:
    made = exported(tmp_path / "captures.db", line)["websocket"]
    assert [one["text"] for one in made["messages"]] == ["hello", None, None, None]
    assert [one["base64"] for one in made["messages"]][:2] == [None, "/wA="]
    assert (made["messages"][2]["close_code"], made["messages"][2]["close_reason"]) == (1000, None)
    sent, received = made["streams"]
    assert (sent["direction"], sent["messages"], sent["undecodable"]) == ("sent", 2, None)
    assert base64.b64decode(received["undecodable"]) == b"\xffnonsense"
    assert (received["undecodable_from"], received["problem"]) == (3, "odd")


def test_damage_leaves_the_rest_of_the_exchange(tmp_path: Path) -> None:
    with CaptureStorage(tmp_path / "captures.db") as storage:
        request_id = storage.capture_request(upgraded(1, TALK))
        with storage.writing() as connection:
            connection.execute("DELETE FROM websocket_lots")
        exchange = read_exchange(storage, request_id)
        assert exchange is not None
        assert exchange.response is not None
        assert (exchange.streams, exchange.messages) == ((), ())
