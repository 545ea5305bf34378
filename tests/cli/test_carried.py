from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from claudeproxy.insight.carrying_values import CarriedSource
from claudeproxy.model import Source, SourceType
from claudeproxy_cli.carried import sentence
from claudeproxy_cli.main import main
from tests.cli.billed import fill_billed
from tests.cli.support import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    home = tmp_path_factory.mktemp("billed")
    return home, fill_billed(home)


def carried(fetched: int | None, cost: int | None, turns: int) -> CarriedSource:
    return CarriedSource(
        source=Source(type=SourceType.USER),
        lives=1,
        turns=turns,
        fetched_tokens=1000,
        carried_tokens=84_000,
        fetched_cost=fetched,
        carried_cost=cost,
    )


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (carried(30_000_000_000, 1_900_000_000_000, 84), "fetched for $0.0300, carried for $1.90 over 84 turns"),
        (carried(30_000_000_000, 5_000_000_000, 1), "fetched for $0.0300, carried for $0.0050 over 1 turn"),
        (carried(None, None, 1084), "fetched with 1,000 tokens, carried with 84,000 over 1,084 turns"),
        (carried(30_000_000_000, 0, 0), "fetched for $0.0300"),
    ],
)
def test_a_source_in_a_sentence(source: CarriedSource, said: str) -> None:
    assert sentence(source) == said


def test_the_document_adds_up(billed: tuple[Path, str], capsys: Capsys) -> None:
    home, session = billed
    assert main(["sessions", "--home", str(home), session[:8], "--carried", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = [one[key] for one in told["sources"] for key in ("fetched_cost", "carried_cost")]
    parts += [one["cost"] for one in told["output"]]
    assert sum(map(Decimal, parts)) == Decimal(told["cost"])
    assert (told["session_id"], told["requests"], told["unbilled"], told["api_equivalent"]) == (session, 10, 0, False)
    piece = told["pieces"][0]
    assert piece["requests"] == piece["reads"] + piece["writes"] + piece["uncached"] + 1
    skill = next(one for one in told["sources"] if one["label"] == "Skill: press-labels")
    assert skill["summary"].startswith("fetched for $")


def test_a_table_fits_and_shows_sources_and_pieces(billed: tuple[Path, str]) -> None:
    home, session = billed
    code, text = on_terminal("sessions", "--home", home, session, "--carried", env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["session", session]
    titles = [line.split()[:3] for line in lines]
    assert ["source", "fetched", "carried"] in titles
    assert ["dearest", "pieces", "kind"] in titles
    _, short = on_terminal("sessions", "--home", home, session, "--carried", "--limit", "3")
    assert "3 of " in short
    assert len(short.splitlines()) < len(lines)


def test_lines_and_csv_are_the_sources(billed: tuple[Path, str], capsys: Capsys) -> None:
    home, session = billed
    assert main(["sessions", "--home", str(home), session, "--carried"]) == 0
    assert "\t" in capsys.readouterr().out.splitlines()[0]
    main(["sessions", "--home", str(home), session, "--carried", "--csv"])
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(row["fetched_cost"]) > 0


def test_an_unknown_price_is_said(home: Path) -> None:
    session = fill_billed(home, model=b"claude-nobody-knows-9")
    code, text = on_terminal("sessions", "--home", home, session, "--carried", env={"NO_COLOR": "1"})
    assert code == 0
    assert "10 whose price is unknown" in text


def test_it_is_of_one_session(billed: tuple[Path, str], capsys: Capsys) -> None:
    assert main(["sessions", "--home", str(billed[0]), "--carried"]) == 2
    assert "ID" in capsys.readouterr().err


def test_a_session_without_bills_has_none(captured: Path, capsys: Capsys) -> None:
    main(["sessions", "--home", str(captured), "--json"])
    (session,) = json.loads(capsys.readouterr().out)
    code, text = on_terminal("sessions", "--home", captured, session["session_id"], "--carried")
    assert code == 0
    assert "no request of this session has a bill" in text
