from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import BodyKept, RecordedBody, State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import START, altered, exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "2026-11-18T"


def _rows(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> list[dict[str, object]]:
    assert main(["query", "--home", str(home), "--json", *arguments]) == 0
    rows: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return rows


def test_captures_are_listed_newest_first_with_what_filled_them(
    captured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(capsys, captured)
    assert [row["correlation_id"] for row in rows] == [e.correlation_id for e in reversed(exchanges())]
    newest = rows[0]
    assert newest["status_code"] == 200
    assert newest["response_tokens"] == 109
    assert newest["latency_ms"] == 420
    assert str(newest["model"]).startswith("claude-")
    sources = newest["sources"]
    assert isinstance(sources, list)
    labels = {row["label"] for row in sources}
    assert {"MCP: atlas", "MCP: issue_tracker", "Skill: press-labels", "User"} <= labels
    assert [row["token_count"] for row in sources] == sorted((row["token_count"] for row in sources), reverse=True)
    assert abs(sum(row["share"] for row in sources) - 1) < 0.01


def test_a_table_fits_eighty_columns_and_shows_the_largest_sources(captured: Path) -> None:
    code, text = on_terminal("query", "--home", captured, env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["time", "id", "status", "class", "tokens", "cost", "largest", "sources"]
    assert len(lines) == 11
    assert "%" in lines[1]


def test_a_wide_terminal_shows_more(captured: Path) -> None:
    _, text = on_terminal("query", "--home", captured, columns=140)
    assert text.splitlines()[0].split()[-5:] == ["out", "first", "cost", "largest", "sources\x1b[0m"]


def test_no_color_is_respected(captured: Path) -> None:
    assert "\x1b[1m" in on_terminal("query", "--home", captured)[1]
    assert "\x1b" not in on_terminal("query", "--home", captured, env={"NO_COLOR": "1"})[1]
    assert "\x1b" not in on_terminal("query", "--home", captured, env={"TERM": "dumb"})[1]


def test_piped_it_writes_a_line_a_capture(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--home", str(captured), "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert [len(line.split("\t")) for line in out.splitlines()] == [12, 12]
    assert err == ""


def test_csv_and_json_lines_carry_the_same_captures(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["query", "--home", str(captured), "--csv"])
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    main(["query", "--home", str(captured), "--jsonl"])
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in table] == [row["id"] for row in objects]
    assert [row["total_tokens"] for row in table] == [str(row["total_tokens"]) for row in objects]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        (["--since", "2026-11-18"], 10),
        (["--until", "2026-11-17"], 0),
        (["--source", "MCP: atlas"], 10),
        (["--source", "press-labels"], 10),
        (["--source", "nobody"], 0),
        (["--type", "mcp-server"], 10),
        (["--type", "Plugin"], 0),
        (["--class", "main"], 8),
        (["--class", "subagent"], 2),
        (["--method", "post"], 10),
        (["--method", "GET"], 0),
        (["--path", "/v1/messages"], 10),
        (["--status", "200"], 10),
        (["--status", "429"], 0),
        (["--state", "complete"], 10),
        (["--state", "in-flight"], 0),
        (["--project", "herbarium"], 8),
        (["--limit", "3"], 3),
    ],
)
def test_filters_do_what_they_say(
    captured: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], count: int
) -> None:
    found = len(_rows(capsys, captured, *arguments))
    if arguments[0] in {"--source", "--project", "--type"} and count:
        assert 0 < found <= 10
    else:
        assert found == count


def test_times_bound_on_both_sides(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stamps = [str(row["timestamp"]) for row in _rows(capsys, captured)]
    found = _rows(capsys, captured, "--since", stamps[5], "--until", stamps[3])
    assert [row["timestamp"] for row in found] == stamps[3:6]


def test_session_and_model_filter(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = _rows(capsys, captured, "--limit", "1")[0]
    assert len(_rows(capsys, captured, "--session", str(row["session_id"]))) == 10
    assert len(_rows(capsys, captured, "--model", str(row["model"]))) == 10


def test_words_are_found_where_they_came_in_or_everywhere(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = fill(home, exchanges()[:3])
    with CaptureStorage(home / "captures.db") as storage:
        for request_id in ids:
            storage.index_texts(request_id)
    assert [row["id"] for row in _rows(capsys, home, "--grep", "herbarium")] == ids[:1]
    assert [row["id"] for row in _rows(capsys, home, "--grep", "herbarium", "--everywhere")] == ids[::-1]
    assert _rows(capsys, home, "--grep", "herbarium", "--class", "subagent") == []
    assert _rows(capsys, home, "--grep", 'nowhere" OR (') == []
    assert main(["query", "--home", str(home), "--everywhere"]) == 2


def test_what_cost_more_than_an_amount_is_found(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = fill(home, exchanges()[:3])
    with CaptureStorage(home / "captures.db") as storage, storage.writing() as connection:
        connection.execute("UPDATE requests SET cost = n * 250000000000")
    assert [(row["id"], row["cost"]) for row in _rows(capsys, home, "--over", "0.50")] == [(ids[2], "0.75")]
    assert len(_rows(capsys, home, "--over", "$0")) == 3


def test_more_than_a_page_is_read_page_by_page(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    many = [
        altered(
            0,
            correlation_id=f"{number:08x}-1111-4000-8000-000000000000",
            state=State.INTERRUPTED,
            request_body=RecordedBody(kept=BodyKept.EMPTY, data=None, length=0),
            response=None,
        )
        for number in range(230)
    ]
    fill(home, many)
    rows = _rows(capsys, home, "--limit", "225")
    assert len({str(row["id"]) for row in rows}) == 225


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--since", "soon"], "--since: 'soon' is not a time"),
        (["--since", "1h", "--until", "2h"], "--since: it is not before the end of the time"),
        (["--over", "much"], "'much' is no amount: write dollars"),
        (["--over", "nan"], "is no amount"),
        (["--over", "-1"], "is no amount"),
        (["--type", "mcp"], "did you mean McpServer?"),
        (["--type", "xyz"], "one of User, Framework"),
        (["--type", "skil"], "did you mean Skill?"),
        (["--state", "completed"], "did you mean complete?"),
        (["--json", "--csv"], "one of --json"),
    ],
)
def test_a_filter_that_means_nothing_says_what_would(
    captured: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["query", "--home", str(captured), *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_captures_it_says_how_to_make_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--home", str(home)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"claudeproxy run --home {home} -- claude" in err
    assert "claudeproxy demo" in err
    assert _rows(capsys, home) == []


def test_an_empty_database_says_so_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, [])
    assert main(["query", "--home", str(home)]) == 0
    assert "nothing has been captured" in capsys.readouterr().err


def test_a_filter_without_a_match_says_how_much_there_is(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--home", str(captured), "--since", "1s"]) == 0
    assert capsys.readouterr() == ("", "nothing matches; 10 captured in all\n")


def test_states_are_told_in_a_word(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    states = [State.IN_FLIGHT, State.ABORTED_BY_CLIENT, State.CUT_BY_UPSTREAM, State.UPSTREAM_ERROR, State.INTERRUPTED]
    fill(home, [altered(number, state=state, response=None) for number, state in enumerate(states)])
    assert main(["query", "--home", str(home)]) == 0
    words = [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()]
    assert words == ["lost", "failed", "cut", "aborted", "running"]


def test_what_was_captured_cannot_drive_the_terminal(home: Path) -> None:
    body = json.dumps({"model": "\x1b[2J[red]m\x07", "messages": [{"role": "user", "content": "x"}]}).encode()
    fill(
        home,
        [altered(0, request_body=RecordedBody(kept=BodyKept.WHOLE, data=body, length=len(body)))],
    )
    _, text = on_terminal("query", "--home", home, env={"NO_COLOR": "1"})
    assert "\x1b" not in text
    assert "\x07" not in text


def test_a_configuration_file_that_is_not_there_is_said(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "--home", str(captured), "--config", "/nowhere.yaml"]) == 2
    assert "no such file" in capsys.readouterr().err


def test_the_clock_of_the_fixture_is_the_one_the_tests_name() -> None:
    assert START // 1_000_000_000 == 1_795_000_000
