from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import State
from claudeproxy_cli.main import main
from tests.cli.support import altered, exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

Capsys = pytest.CaptureFixture[str]


def as_json(home: Path, capsys: Capsys, *arguments: str) -> object:
    assert main(["sessions", "--home", str(home), "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_sessions_are_listed_with_their_sums(captured: Path, capsys: Capsys) -> None:
    (row,) = as_json(captured, capsys)
    totals = row["totals"]
    assert (totals["requests"], row["agent_count"], totals["failed"]) == (10, 1, 0)
    assert totals["output_tokens"] == sum(100 + number for number in range(10))
    assert totals["billed_tokens"] == 10 * 1010
    assert row["project"].endswith("herbarium")
    main(["query", "--home", str(captured), "--json"])
    requests = json.loads(capsys.readouterr().out)
    assert totals["tokens"] == sum(one["total_tokens"] for one in requests)


def test_one_is_shown_with_its_agents_as_a_tree_and_its_turns(captured: Path, capsys: Capsys) -> None:
    session = as_json(captured, capsys)[0]["session_id"]
    detail = as_json(captured, capsys, session[:6])
    assert detail["session_id"] == session
    (main_conversation,) = detail["agents"]
    assert main_conversation["agent_id"] is None
    (agent,) = main_conversation["children"]
    assert (agent["agent_type"], agent["totals"]["requests"]) == ("custom", 2)
    assert main_conversation["totals"]["requests"] + agent["totals"]["requests"] == 10
    assert len(detail["turns"]) + len(detail["others"]) == 10
    assert detail["turns"][0]["turn_index"] == 1


def test_as_tables_they_fit_eighty_columns(captured: Path, capsys: Capsys) -> None:
    session = str(as_json(captured, capsys)[0]["session_id"])
    _, text = on_terminal("sessions", "--home", captured, env={"NO_COLOR": "1"})
    assert max(map(len, text.splitlines())) <= 80
    assert session[:8] in text
    code, text = on_terminal("sessions", session, "--home", captured, env={"NO_COLOR": "1"})
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80
    assert f"session      {session}" in text
    assert "requests     10, of which 0 again, 0 failed" in text
    tree = text.partition("agent ")[2].splitlines()
    assert tree[1].startswith("main ")
    assert tree[2].startswith("  custom")


def test_attempts_at_one_turn_are_one_line(home: Path, capsys: Capsys) -> None:
    again = altered(0, correlation_id="ffffffff-0000-4000-8000-000000000000", instants=exchanges()[1].instants)
    fill(home, [altered(0, state=State.CUT_BY_UPSTREAM), again])
    session = as_json(home, capsys)[0]["session_id"]
    (turn,) = as_json(home, capsys, session)["turns"]
    assert (turn["state"], len(turn["requests"])) == ("complete", 2)
    assert turn["tokens"] == turn["requests"][0]["tokens"]
    assert main(["sessions", session, "--home", str(home)]) == 0
    assert capsys.readouterr().out.split("\t")[5:7] == ["2", "complete"]


def test_sessions_are_chosen_by_time_and_project(captured: Path, capsys: Capsys) -> None:
    assert len(as_json(captured, capsys, "--since", "2026-11-18", "--project", "herbarium")) == 1
    assert as_json(captured, capsys, "--project", "elsewhere") == []
    assert as_json(captured, capsys, "--until", "2026-11-01") == []
    assert main(["sessions", "--home", str(captured), "--until", "2026-11-01"]) == 0
    assert capsys.readouterr().err == "no session matches\n"


def test_an_unknown_id_is_code_1_and_names_what_is_near(captured: Path, capsys: Capsys) -> None:
    session = str(as_json(captured, capsys)[0]["session_id"])
    assert main(["sessions", f"{session[:5]}zzz", "--home", str(captured)]) == 1
    assert f"did you mean {session[:8]}" in capsys.readouterr().err
    assert main(["sessions", session, "--since", "1h", "--home", str(captured)]) == 2


def test_query_takes_a_sessions_beginning(captured: Path, capsys: Capsys) -> None:
    session = str(as_json(captured, capsys)[0]["session_id"])
    assert main(["query", "--home", str(captured), "--json", "--session", session[:8]]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 10
    assert main(["query", "--home", str(captured), "--session", "zzzz"]) == 1
    assert "no session 'zzzz'" in capsys.readouterr().err


def test_without_captures_it_says_how_to_make_one(home: Path, capsys: Capsys) -> None:
    assert main(["sessions", "--home", str(home)]) == 0
    assert "nothing has been captured" in capsys.readouterr().err
    assert as_json(home, capsys) == []
    assert main(["sessions", "x", "--home", str(home)]) == 1
