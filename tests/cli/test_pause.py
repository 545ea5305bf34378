from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.pause import PauseFile
from claudeproxy.config.home import Home
from claudeproxy_cli.main import main
from claudeproxy_cli.pause import paused_note
from tests.cli.support import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


def test_a_pause_is_begun_and_ended(home: Path, capsys: Capsys) -> None:
    file = PauseFile(Home(path=home).pause_file)
    assert main(["pause", "--home", str(home), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["paused"], row["until"]) == (True, None)
    assert file.read() is not None
    assert main(["resume", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"paused": False, "since": None, "until": None}
    assert file.read() is None


def test_a_pause_may_be_for_a_time(home: Path) -> None:
    assert main(["pause", "--for", "1h30m", "--home", str(home)]) == 0
    pause = PauseFile(Home(path=home).pause_file).read()
    assert pause is not None
    assert pause.until == pause.since + 5400 * 10**9


@pytest.mark.parametrize("text", ["soon", "0s", "1"])
def test_what_is_no_length_of_time_is_a_usage_error(home: Path, capsys: Capsys, text: str) -> None:
    assert main(["pause", "--for", text, "--home", str(home)]) == 2
    assert "no length of time" in capsys.readouterr().err
    assert not home.exists()


def test_query_says_that_capture_is_paused(captured: Path, home: Path, capsys: Capsys) -> None:
    main(["pause", "--for", "1h", "--home", str(home)])
    capsys.readouterr()
    assert main(["query", "--home", str(home)]) == 0
    assert "capture is paused until" in capsys.readouterr().err
    main(["resume", "--home", str(home)])
    capsys.readouterr()
    main(["query", "--home", str(home)])
    assert "paused" not in capsys.readouterr().err
    assert paused_note(Home(path=home)) is None


def test_on_a_terminal_it_says_how_to_end_it(home: Path) -> None:
    code, text = on_terminal("pause", "--home", home, env={"NO_COLOR": "1"})
    assert code == 0
    assert text == "capture is paused; `claudeproxy resume` ends it\n"


def test_piped_they_answer_with_a_sentence_and_csv_is_a_table(home: Path, capsys: Capsys) -> None:
    said = []
    for words in (["pause", "--for", "1h"], ["resume"], ["resume"], ["resume", "--csv"]):
        assert main([*words, "--home", str(home)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0].startswith("capture is paused until ")
    assert said[1:] == ["capture goes on\n", "capture was not paused\n", "paused,since,until\nFalse,,\n"]
