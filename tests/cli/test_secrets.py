from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import Direction, SecretFinding
from claudeproxy.store.secrets import SecretPlaces
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]
HASH = "0123456789abcdef" * 2


@pytest.fixture
def leaky(home: Path) -> Path:
    """Three requests that held one key, and an answer that held another."""
    given = exchanges()[:4]
    held = []
    for number, one in enumerate(given):
        direction, name = (Direction.SENT, HASH) if number < 3 else (Direction.RECEIVED, "f" * 32)
        finding = SecretFinding(
            direction=direction, rule="anthropic-key", hash=name, start=60, length=40, redacted=False
        )
        held.append(replace(one, secrets=(finding,)))
    fill(home, held)
    with CaptureStorage(home / "captures.db") as storage:
        while SecretPlaces(storage).catch_up():
            pass
    (home / "config.yaml").write_text("secrets: report\n")
    return home


def said(home: Path, capsys: Capsys, *arguments: str) -> dict[str, object]:
    assert main(["secrets", "--home", str(home), "--json", *arguments]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_which_secret_went_out_when_how_often_and_through_what(leaky: Path, capsys: Capsys) -> None:
    found = said(leaky, capsys)
    assert found["mode"] == "report"
    secrets = found["secrets"]
    assert isinstance(secrets, list)
    assert [(one["hash"], one["sent"], one["received"]) for one in secrets] == [("f" * 32, 0, 1), (HASH, 3, 0)]
    assert sum(source["requests"] for source in secrets[1]["sources"]) == 3
    (one,) = said(leaky, capsys, "--sent")["secrets"]  # type: ignore[misc]
    assert one["hash"] == HASH  # type: ignore[index]
    assert said(leaky, capsys, "--rule", "jwt")["secrets"] == []
    assert said(leaky, capsys, "--source", "Assistant", "--since", "2026-11-01")["secrets"] == secrets[:1]
    assert said(leaky, capsys, "--until", "2020-01-01")["secrets"] == []


def test_a_beginning_of_a_hash_shows_its_places(leaky: Path, capsys: Capsys) -> None:
    found = said(leaky, capsys, HASH[:6])
    places = found["sightings"]
    assert isinstance(places, list)
    assert len(places) == 3
    assert {one["direction"] for one in places} == {"sent"}
    assert all(one["source"] and one["json_path"].startswith("$.") for one in places)
    assert main(["secrets", "--home", str(leaky), "e"]) == 1
    assert "names no secret" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), (HASH[:4],)])
def test_a_terminal_of_80_columns_has_room_for_it(leaky: Path, more: tuple[str, ...]) -> None:
    code, screen = on_terminal("secrets", "--home", leaky, *more)
    assert code == 0
    assert "anthropic-key" in screen
    assert HASH[:8] in screen
    assert max(map(len, screen.replace("\r", "").split("\n"))) <= 80


@pytest.mark.parametrize("form", ["--jsonl", "--csv"])
def test_lines_for_programs(leaky: Path, capsys: Capsys, form: str) -> None:
    assert main(["secrets", "--home", str(leaky), form, "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert "f" * 32 in out
    assert HASH not in out
    assert "1 of 2" in err


def test_when_detection_is_off_it_says_so_and_how_to_switch_it_on(home: Path, capsys: Capsys) -> None:
    home.mkdir()
    assert main(["secrets", "--home", str(home)]) == 0
    err = capsys.readouterr().err
    assert "detection is off" in err
    assert "secrets: report" in err
    assert str(home / "config.yaml") in err


def test_when_nothing_was_found_it_says_that(leaky: Path, capsys: Capsys) -> None:
    assert main(["secrets", "--home", str(leaky), "--rule", "jwt"]) == 0
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "no secret was found")
