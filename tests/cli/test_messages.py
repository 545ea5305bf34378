"""``claudeproxy show`` of a WebSocket: its messages for people, for programs, and one as bytes."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import BodyKept, Opcode, WebSocketStream
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from claudeproxy_cli.messages import FIRST
from tests.cli.support import cli, on_terminal
from tests.store.websockets import STREAM, message, upgraded, websocket

if TYPE_CHECKING:
    from pathlib import Path

CONFUSED = WebSocketStream(
    kept=BodyKept.WHOLE, length=1900, recorded=1900, problem="a control frame in fragments", undecodable_from=1234
)
TALK = (
    message(0, b'{"type":"hello"}'),
    message(1, b"\x01\x02", opcode=Opcode.BINARY),
    message(2, b"evil \x1b[31m text", complete=False),
    message(3, b"\x03\xe9going away", opcode=Opcode.CLOSE),
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def stored(home: Path, *, sent: WebSocketStream = STREAM, many: int = 0) -> str:
    messages = TALK + tuple(message(number, b"m%d" % number) for number in range(4, 4 + many))
    with CaptureStorage(home / "captures.db") as storage:
        return storage.capture_request(upgraded(1, websocket(*messages, sent=sent, received=CONFUSED)))


def test_a_person_sees_both_directions_and_a_line_a_message(home: Path) -> None:
    code, text = on_terminal("show", stored(home)[:8], "--home", home, env={"NO_COLOR": "1"})
    assert code == 0
    for expected in (
        "class        websocket",
        "answer       101",
        "sent         2 messages in 100 bytes",
        "received     2 messages in 1,900 bytes",
        "             undecodable from byte 1,234: a control frame in fragments",
        '{"type":"hello"}',
        "01 02",
        "text, cut",
        "evil [31m text",
        "1001 going away",
    ):
        assert expected in text, text
    assert "\x1b[31m" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_what_was_not_recorded_is_said(home: Path) -> None:
    large = WebSocketStream(
        kept=BodyKept.TOO_LARGE, length=5000, recorded=4000, problem="there were more than are kept"
    )
    text = cli("show", stored(home, sent=large), "--home", home).stdout
    assert "2 messages in 5,000 bytes, 4,000 of them recorded (too_large)" in text
    assert "there were more than are kept" in text
    assert "sent\ttext\t16" in text or "\tsent\ttext\t" in text


def test_a_table_shows_the_first_messages_and_how_many_more(home: Path) -> None:
    request = stored(home, many=FIRST)
    _, text = on_terminal("show", request, "--home", home, env={"NO_COLOR": "1"})
    assert "and 4 more: --all" in text
    assert "m53" not in text
    _, text = on_terminal("show", request, "--home", home, "--all", env={"NO_COLOR": "1"})
    assert "m53" in text


def test_programs_get_everything(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = stored(home)
    assert main(["show", request, "--home", str(home), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status_code"], shown["request_class"]) == (101, "websocket")
    assert [one["opcode"] for one in shown["websocket"]["messages"]] == ["text", "binary", "text", "close"]
    assert shown["websocket"]["streams"][1]["undecodable_from"] == 1234
    assert main(["show", request, "--home", str(home), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["size"] for row in rows] == ["16", "2", "15", "12"]


def test_one_message_is_written_byte_for_byte(home: Path) -> None:
    request = stored(home)
    assert cli("show", request, "--home", home, "--message", 1).stdout == "\x01\x02"
    missing = cli("show", request, "--home", home, "--message", 9)
    assert missing.returncode == 1
    assert "no message 9" in missing.stderr
    assert cli("show", request, "--home", home, "--message", 1, "--body").returncode == 2


def test_the_list_shows_it_with_its_status_and_class(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored(home)
    assert main(["query", "--home", str(home), "--class", "websocket", "--jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["status_code"], row["request_class"], row["method"]) == (101, "websocket", "GET")
