from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy_cli.feedback import _named
from claudeproxy_cli.main import main
from tests.cli.support import altered, cli, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


@pytest.fixture
def home(home: Path) -> Path:
    """Two requests."""
    fill(home, [altered(0), altered(1)])
    return home


def ids(home: Path, capsys: Capsys) -> list[str]:
    assert main(["query", "--home", str(home), "--json"]) == 0
    return [row["id"] for row in json.loads(capsys.readouterr().out)]


def run(home: Path, *arguments: str) -> int:
    command, *rest = arguments
    return main(["feedback", command, "--home", str(home), *rest])


def as_json(home: Path, capsys: Capsys, *arguments: str) -> object:
    assert run(home, *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_an_answer_is_rated_and_its_sources_with_it(home: Path, capsys: Capsys) -> None:
    request = ids(home, capsys)[0]
    made = as_json(home, capsys, "add", request[:8], "--rating", "0.5", "--text", "helped", "--user", "ann")
    assert (made["request_id"], made["rating"], made["feedback_text"]) == (request, 0.5, "helped")
    assert made["user_id"] == "ann"
    assert "atlas" in made["affected_sources"]
    assert main(["sources", "--home", str(home), "--json", "--source", "MCP: atlas"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["feedback_count"], row["average_rating"]) == (1, 0.5)
    assert 0 < row["estimate"]["rating"] < 0.5


def test_the_largest_sources_are_named_first_and_few_of_them() -> None:
    assert _named([]) == "no source"
    assert _named(["atlas", "User"]) == "atlas, User"
    assert _named(list("abcdef")) == "a, b, c, d and 2 more (all of them: --json)"


@pytest.mark.parametrize(("word", "rating"), [("up", 1), ("Good", 1), ("down", -1), ("bad", -1), ("-0.25", -0.25)])
def test_a_rating_is_a_number_or_a_word(home: Path, capsys: Capsys, word: str, rating: float) -> None:
    request = ids(home, capsys)[0]
    assert as_json(home, capsys, "add", request, "--rating", word)["rating"] == rating


@pytest.mark.parametrize(
    ("word", "said"), [("great", "no rating: give a number from -1.0"), ("2", "-1.0 to 1.0"), ("nan", "-1.0 to 1.0")]
)
def test_what_is_no_rating_is_a_usage_error(home: Path, capsys: Capsys, word: str, said: str) -> None:
    request = ids(home, capsys)[0]
    assert run(home, "add", request, "--rating", word) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_second_rating_is_refused_and_names_the_first(home: Path, capsys: Capsys) -> None:
    request = ids(home, capsys)[0]
    first = as_json(home, capsys, "add", request, "--rating", "up")
    assert run(home, "add", request, "--rating", "down") == 1
    said = capsys.readouterr().err
    assert first["id"] in said
    assert "change it with `claudeproxy feedback update`" in said


def test_ratings_are_found_by_their_own_id_or_the_requests(home: Path, capsys: Capsys) -> None:
    request, other = ids(home, capsys)
    made = as_json(home, capsys, "add", request, "--rating", "up")
    assert as_json(home, capsys, "show", made["id"][:6]) == as_json(home, capsys, "show", request[:6]) == made
    assert run(home, "show", other) == 1
    assert "has no feedback" in capsys.readouterr().err
    assert run(home, "show", "zzz") == 1
    assert "no feedback 'zzz'" in capsys.readouterr().err


def test_a_rating_is_changed_and_taken_back(home: Path, capsys: Capsys) -> None:
    request = ids(home, capsys)[0]
    as_json(home, capsys, "add", request, "--rating", "up", "--text", "why")
    assert as_json(home, capsys, "update", request, "--rating", "-1")["feedback_text"] == "why"
    changed = as_json(home, capsys, "update", request, "--no-text")
    assert (changed["rating"], changed["feedback_text"]) == (-1.0, None)
    assert as_json(home, capsys, "update", request, "--text", "other")["feedback_text"] == "other"
    assert as_json(home, capsys, "delete", request)["rating"] == -1.0
    assert as_json(home, capsys, "list") == []
    assert main(["sources", "--home", str(home), "--json"]) == 0
    assert {row["feedback_count"] for row in json.loads(capsys.readouterr().out)} == {0}


def test_an_update_says_what_to_change(home: Path, capsys: Capsys) -> None:
    assert run(home, "update", "x") == 2
    assert "nothing to change" in capsys.readouterr().err
    assert run(home, "update", "x", "--text", "a", "--no-text") == 2
    assert "one of --text and --no-text" in " ".join(capsys.readouterr().err.split())


def test_ratings_are_listed_and_filtered(home: Path, capsys: Capsys) -> None:
    good, bad = ids(home, capsys)
    as_json(home, capsys, "add", good, "--rating", "up", "--user", "ann")
    as_json(home, capsys, "add", bad, "--rating", "-0.5")

    def listed(*arguments: str) -> list[str]:
        return [row["request_id"] for row in as_json(home, capsys, "list", *arguments)]

    assert listed() == [bad, good]
    assert listed("--limit", "1") == [bad]
    assert listed("--min", "0") == [good]
    assert listed("--max", "-0.5") == [bad]
    assert listed("--user", "ann") == [good]
    assert listed("--since", "1h") == [bad, good]
    assert listed("--until", "1h") == []


def test_the_forms_of_output_carry_the_same(home: Path, capsys: Capsys) -> None:
    request = ids(home, capsys)[0]
    assert run(home, "add", request, "--rating", "up", "--text", "a\tb\x1b[2J") == 0
    line = capsys.readouterr().out
    assert line.split("\t")[2:] == [request[:8], "+1.00", "local-user", "a b[2J\n"]
    run(home, "list", "--csv")
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    run(home, "list", "--jsonl")
    assert json.loads(capsys.readouterr().out)["id"] == row["id"]
    _, text = on_terminal("feedback", "list", "--home", home, env={"NO_COLOR": "1"})
    assert text.splitlines()[0].split() == ["time", "id", "request", "rating", "by", "text"]
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_without_captures_it_says_how_to_make_one(tmp_path: Path) -> None:
    done = cli("feedback", "list", "--home", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "nothing has been captured" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_no_ratings_are_no_error(home: Path, capsys: Capsys) -> None:
    assert run(home, "list") == 0
    assert capsys.readouterr() == ("", "no ratings\n")
