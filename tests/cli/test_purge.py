from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from claudeproxy_cli.times import iso
from tests.capture.support import make_tap, tell
from tests.cli.support import COMMAND, MINUTE, START, drain, exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def home(home: Path) -> Path:
    """The demonstration, three turns of it."""
    fill(home, exchanges()[:3])
    return home


def left(home: Path) -> int:
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        return storage.summary().requests


def ids(home: Path, capsys: Capsys) -> list[str]:
    main(["query", "--home", str(home), "--json"])
    return [row["id"] for row in json.loads(capsys.readouterr().out)]


def purge(home: Path, *arguments: str) -> int:
    return main(["purge", "--home", str(home), *arguments])


def test_one_capture_goes_for_good(home: Path, capsys: Capsys) -> None:
    request = ids(home, capsys)[0]
    assert purge(home, request[:8], "--yes", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["responses"], report["dry_run"]) == (1, 1, False)
    assert request not in ids(home, capsys)
    assert left(home) == 2


def test_a_purge_overwrites_what_the_journal_of_a_running_proxy_holds(home: Path, capsys: Capsys) -> None:
    tap = make_tap(home / "journal")
    tell(tap, request=[b"heliotrope"])
    (owner,) = (path for path in (home / "journal").iterdir() if path.is_dir())
    (segment,) = owner.glob("*.journal")
    with CaptureStorage(home / "captures.db") as storage:
        storage.record([], {owner.name: (0, segment.stat().st_size)})
    request = ids(home, capsys)[0]
    assert purge(home, request, "--dry-run") == 0
    assert b"heliotrope" in segment.read_bytes()
    assert purge(home, request, "--yes") == 0
    assert b"heliotrope" not in segment.read_bytes()
    tap.writer.close()


def test_a_session_goes_by_the_beginning_of_its_id(home: Path, capsys: Capsys) -> None:
    main(["sessions", "--home", str(home), "--json"])
    session = json.loads(capsys.readouterr().out)[0]["session_id"]
    assert purge(home, "--session", session[:8], "--yes") == 0
    assert left(home) == 0


def test_a_project_goes_and_a_time(home: Path, capsys: Capsys) -> None:
    assert purge(home, "--project", "~/elsewhere", "--yes") == 1
    assert "no capture matches" in capsys.readouterr().err
    assert purge(home, "--before", "2026-11-01", "--yes") == 1
    assert purge(home, "--before", str(iso(START + MINUTE)), "--yes") == 0
    assert left(home) == 2
    assert purge(home, "--project", "herbarium/", "--yes") == 0
    assert left(home) < 2


def test_options_together_mean_what_all_of_them_name(home: Path) -> None:
    assert purge(home, "--project", "herbarium", "--before", "2026-11-01", "--yes") == 1
    assert left(home) == 3


def test_a_dry_run_deletes_nothing(home: Path, capsys: Capsys) -> None:
    assert purge(home, "--before", "now", "--dry-run", "--json") in {0, 1}
    capsys.readouterr()
    assert purge(home, "--before", "2100-01-01", "--dry-run", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report == {"requests": 3, "dry_run": True}
    assert left(home) == 3


@pytest.mark.parametrize(
    ("flags", "written"),
    [
        ([], "3 captures would go; nothing was deleted\n"),
        (["--jsonl"], '{"requests": 3, "dry_run": true}\n'),
        (["--csv"], "requests,dry_run\n3,True\n"),
    ],
)
def test_a_dry_run_tells_only_what_is_known(home: Path, capsys: Capsys, flags: list[str], written: str) -> None:
    assert purge(home, "--before", "2100-01-01", "--dry-run", *flags) == 0
    assert capsys.readouterr().out == written


def test_a_dry_run_of_one_says_one_capture(home: Path, capsys: Capsys) -> None:
    code, text = on_terminal("purge", "--home", home, ids(home, capsys)[0], "--dry-run")
    assert (code, text.strip()) == (0, "1 capture would go; nothing was deleted")


def test_where_nobody_can_answer_it_wants_a_yes(home: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "purge", "--home", str(home), "--before", "2100-01-01"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "3 captures would go; say --yes" in done.stderr
    assert left(home) == 3


@pytest.mark.parametrize(("answer", "code", "rest"), [(b"n\n", 1, 3), (b"\n", 1, 3), (b"y\n", 0, 0)])
def test_on_a_terminal_it_asks(home: Path, answer: bytes, code: int, rest: int) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "purge", "--home", str(home), "--before", "2100-01-01"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    assert "Delete 3 captures for good? [y/N]" in drain(leader, until="[y/N]")
    os.write(leader, answer)
    drain(leader)
    assert process.wait(60) == code
    os.close(leader)
    assert left(home) == rest


@pytest.mark.parametrize("arguments", [[], ["abc", "--session", "x"], ["abc", "--before", "1d"]])
def test_what_is_to_go_must_be_said_once(home: Path, capsys: Capsys, arguments: list[str]) -> None:
    assert purge(home, *arguments, "--yes") == 2
    assert "say what is to go" in capsys.readouterr().err


def test_an_unknown_id_is_code_1(home: Path, capsys: Capsys) -> None:
    assert purge(home, "zzzz", "--yes") == 1
    assert "no request 'zzzz'" in capsys.readouterr().err
    assert purge(home, "--session", "zzzz", "--yes") == 1
