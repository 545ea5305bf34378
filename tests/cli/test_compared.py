from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy_cli.main import main
from tests.cli.billed import fill_billed
from tests.cli.support import on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]
SECOND_DAY = ("--since", "2026-11-19T00:00Z", "--until", "2026-11-20T00:00Z")


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration on the 18th and on the 19th of November."""
    home = tmp_path_factory.mktemp("compared")
    fill_billed(home, days=2)
    return home


def said(home: Path, capsys: Capsys, *arguments: str) -> object:
    assert main(["sources", "--home", str(home), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_two_days_stand_side_by_side(billed: Path, capsys: Capsys) -> None:
    rows = said(billed, capsys, "--compare", *SECOND_DAY, "--limit", "100")
    assert isinstance(rows, list)
    atlas = next(row for row in rows if row["label"] == "MCP: atlas")
    assert (atlas["usage_count"], atlas["usage_before"], atlas["usage_change"]) == (9, 9, 0.0)
    assert atlas["tokens_change"] == pytest.approx(atlas["total_tokens"] / atlas["tokens_before"] - 1, abs=1e-6)
    assert float(atlas["total_cost"]) > 0
    (only,) = said(billed, capsys, "--compare", *SECOND_DAY, "--source", "MCP: atlas")  # type: ignore[misc]
    assert only == atlas
    first = said(billed, capsys, "--compare", "--since", "2026-11-18T00:00Z", "--until", "2026-11-19T00:00Z")
    assert {row["tokens_change"] for row in first} == {None}  # type: ignore[attr-defined]


def test_a_trend_has_a_value_for_each_day(billed: Path, capsys: Capsys) -> None:
    told = said(billed, capsys, "--trend", "--since", "2026-11-17T00:00Z", "--until", "2026-11-19T23:59Z")
    assert isinstance(told, dict)
    assert told["days"] == ["2026-11-17", "2026-11-18", "2026-11-19"]
    user = next(row for row in told["sources"] if row["label"] == "User")
    assert user["requests"] == [0, 8, 8]
    assert user["tokens"][0] == 0
    assert sum(user["tokens"]) == user["total_tokens"]


def test_a_trend_in_csv_has_a_number_for_each_day(billed: Path, capsys: Capsys) -> None:
    told = said(billed, capsys, "--trend", *SECOND_DAY)
    assert isinstance(told, dict)
    assert main(["sources", "--home", str(billed), "--trend", *SECOND_DAY, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [[int(row[day]) for day in told["days"]] for row in table] == [row["tokens"] for row in told["sources"]][:30]


def test_sources_consist_of_kinds(billed: Path, capsys: Capsys) -> None:
    told = said(billed, capsys, "--kinds", "--since", "2026-11-18", "--type", "McpServer")
    assert isinstance(told, dict)
    assert (told["requests"], told["complete"]) == (20, True)
    assert {row["source_type"] for row in told["sources"]} == {"McpServer"}
    atlas = next(row for row in told["sources"] if row["label"] == "MCP: atlas")
    assert sum(atlas["kinds"].values()) == atlas["tokens"]
    assert atlas["result"] == atlas["kinds"]["result"] > 0


@pytest.mark.parametrize(
    ("option", "title"),
    [("--compare", ["2026-11-19", "00:00", "to"]), ("--trend", ["2026-11-19"]), ("--kinds", ["source", "tokens"])],
)
def test_a_table_fits_and_lines_have_no_header(billed: Path, capsys: Capsys, option: str, title: list[str]) -> None:
    code, text = on_terminal("sources", "--home", billed, option, *SECOND_DAY, env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[: len(title)] == title
    for kind in ((), ("--csv",), ("--jsonl",)):
        assert main(["sources", "--home", str(billed), option, *SECOND_DAY, *kind]) == 0
        assert len(capsys.readouterr().out.splitlines()) > 5


@pytest.mark.parametrize("option", ["--compare", "--trend", "--kinds"])
def test_it_says_when_there_is_nothing(billed: Path, home: Path, capsys: Capsys, option: str) -> None:
    assert main(["sources", "--home", str(billed), option, "--since", "2025-01-02", "--until", "2025-01-03"]) == 0
    assert capsys.readouterr().err.startswith("no ")
    assert main(["sources", "--home", str(home), option]) == 0
    assert "nothing has been captured" in capsys.readouterr().err


def test_only_one_of_them_can_be_shown(billed: Path, capsys: Capsys) -> None:
    assert main(["sources", "--home", str(billed), "--compare", "--trend"]) == 2
    assert "one of" in capsys.readouterr().err


def test_an_end_before_the_beginning_is_a_usage_error(billed: Path, capsys: Capsys) -> None:
    arguments = ["--compare", "--since", "2026-11-20", "--until", "2026-11-18"]
    assert main(["sources", "--home", str(billed), *arguments]) == 2
    assert "--since" in capsys.readouterr().err
