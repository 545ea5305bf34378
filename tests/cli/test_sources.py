from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy_cli.main import main
from tests.cli.billed import fill_billed
from tests.cli.support import altered, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


def rows(home: Path, capsys: Capsys, *arguments: str) -> list[dict[str, object]]:
    assert main(["sources", "--home", str(home), "--json", *arguments]) == 0
    found: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return found


def test_sources_are_listed_with_what_they_were_used_for(captured: Path, capsys: Capsys) -> None:
    found = {row["label"]: row for row in rows(captured, capsys, "--limit", "100")}
    atlas = found["MCP: atlas"]
    assert (atlas["source_type"], atlas["source_name"]) == ("McpServer", "atlas")
    assert atlas["usage_count"] == 9
    assert atlas["average_tokens"] == atlas["total_tokens"] / 9
    assert (atlas["feedback_count"], atlas["average_rating"], atlas["total_cost"]) == (0, 0.0, None)
    assert {"User", "Overhead", "Skill: press-labels"} <= set(found)


def test_they_may_be_sorted_and_cut(captured: Path, capsys: Capsys) -> None:
    tokens = [row["total_tokens"] for row in rows(captured, capsys, "--sort", "tokens", "--limit", "100")]
    assert tokens == sorted(tokens, reverse=True)
    assert len(rows(captured, capsys, "--limit", "3")) == 3
    least = rows(captured, capsys, "--sort", "tokens", "--order", "asc", "--limit", "1")
    assert least[0]["total_tokens"] == tokens[-1]
    for word in ("usage", "cost", "rating", "average", "recent"):
        assert len(rows(captured, capsys, "--sort", word, "--by-share", "--limit", "100")) == len(tokens)


def test_three_ratings_do_not_outrank_many(home: Path, capsys: Capsys) -> None:
    """By `rating` the careful estimate counts, by `average` the plain mean."""
    fill(home, [altered(number) for number in range(3)])
    main(["query", "--home", str(home), "--jsonl"])
    ids = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    main(["feedback", "add", "--home", str(home), ids[0], "--rating", "up"])
    capsys.readouterr()
    (row,) = rows(home, capsys, "--source", "atlas")
    assert row["average_rating"] == 1.0
    estimate = row["estimate"]
    assert estimate["low"] < 0 < estimate["rating"] < 0.5 < estimate["high"]


def test_they_are_filtered_by_name_type_and_time(captured: Path, capsys: Capsys) -> None:
    assert {row["source_type"] for row in rows(captured, capsys, "--type", "mcp-server")} == {"McpServer"}
    assert [row["label"] for row in rows(captured, capsys, "--source", "atlas")] == ["MCP: atlas"]
    assert [row["label"] for row in rows(captured, capsys, "--source", "MCP: atlas")] == ["MCP: atlas"]
    assert rows(captured, capsys, "--until", "2026-11-01") == []
    assert rows(captured, capsys, "--source", "atlas", "--since", "2026-11-18")[0]["usage_count"] == 9


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--sort", "fame"], "one of usage, tokens"), (["--sort", "rate"], "rating"), (["--order", "up"], "desc, asc")],
)
def test_an_order_that_there_is_not_is_a_usage_error(
    captured: Path, capsys: Capsys, arguments: list[str], said: str
) -> None:
    assert main(["sources", "--home", str(captured), *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_table_fits_and_lines_have_no_header(captured: Path, capsys: Capsys) -> None:
    code, text = on_terminal("sources", "--home", captured, "--limit", "5", env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[:5] == ["source", "requests", "tokens", "each", "cost"]
    assert "rating" not in lines[0]
    assert lines[-1].startswith("5 of ")
    assert main(["sources", "--home", str(captured)]) == 0
    assert "\t" in capsys.readouterr().out.splitlines()[0]
    main(["sources", "--home", str(captured), "--csv"])
    assert int(next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["usage_count"]) > 0


def test_tokens_include_answers_and_kinds_count_the_prompt_only(home: Path, capsys: Capsys) -> None:
    fill_billed(home)
    everything = sum(int(str(row["total_tokens"])) for row in rows(home, capsys, "--limit", "100"))
    assert main(["sources", "--home", str(home), "--kinds", "--json"]) == 0
    prompts = sum(one["tokens"] for one in json.loads(capsys.readouterr().out)["sources"])
    assert main(["query", "--home", str(home), "--limit", "100", "--json"]) == 0
    answers = sum(row["response_tokens"] for row in json.loads(capsys.readouterr().out))
    assert (everything - prompts, answers > 0) == (answers, True)


def test_without_captures_it_says_how_to_make_one(home: Path, capsys: Capsys) -> None:
    assert main(["sources", "--home", str(home)]) == 0
    assert "nothing has been captured" in capsys.readouterr().err
    assert rows(home, capsys) == []
