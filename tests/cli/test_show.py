from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from claudeproxy.model import BodyKept, RecordedBody, State
from claudeproxy_cli.main import main
from tests.cli.billed import fill_billed
from tests.cli.support import COMMAND, altered, cli, exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path


def _id(home: Path, capsys: pytest.CaptureFixture[str], number: int = 0) -> str:
    assert main(["query", "--home", str(home), "--jsonl"]) == 0
    return str(json.loads(capsys.readouterr().out.splitlines()[number])["id"])


def test_one_request_is_shown_with_its_instants_and_every_source(
    captured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = _id(captured, capsys)
    code, text = on_terminal("show", request[:8], "--home", captured, env={"NO_COLOR": "1"})
    assert code == 0
    for expected in (
        f"request      {request}",
        "POST https://api.anthropic.com/v1/messages?beta=true",
        "state        complete",
        "+2ms     given to the API",
        "+422ms   first byte of the answer",
        "+2.0s    last byte given to the client",
        "answer       200 OK",
        "stopped      end_turn",
        "billed       1,000 read from the cache, 10 uncached",
        "             109 output",
        "where the context came from",
        "  first byte of the request",
    ):
        assert expected in text
    assert re.search(r"^context      ~[\d,]+ tokens \(estimated\) in [\d,]+ bytes$", text, re.MULTILINE)
    table = text.partition("where the context came from (tokens: estimated)\n")[2].splitlines()
    assert table[0].split() == ["source", "tokens", "share", "cost", "made", "of"]
    assert next(line for line in table if line.startswith("Tool: Bash")).endswith("schema 110, result 14")
    assert re.match(r"\d+ smaller ones: --all +~\d+ +\d\.\d% +-$", table[-1])
    assert {"MCP: atlas", "Skill: press-labels"} <= {line.split("  ")[0] for line in table}
    assert max(map(len, text.splitlines())) <= 80


@pytest.fixture(scope="module")
def billed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration with the bills that its API would have sent."""
    home = tmp_path_factory.mktemp("billed")
    fill_billed(home)
    return home


def test_what_it_cost_adds_up_and_is_called_what_it_is(billed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = _id(billed, capsys)
    assert main(["show", request, "--home", str(billed), "--json", "--pieces"]) == 0
    shown = json.loads(capsys.readouterr().out)
    cost = Decimal(shown["cost"])
    for parts in (shown["sources"], shown["pieces"], shown["kinds"]):
        assert sum(Decimal(one["cost"]) for one in (*parts, *shown["output"])) == cost
        assert sum(one["token_count"] for one in parts) == shown["total_tokens"]
    assert (shown["accuracy"], shown["expected_error"], shown["cost_note"]) == ("exact", None, None)
    code, text = on_terminal("show", request, "--home", billed, env={"NO_COLOR": "1"})
    assert code == 0
    assert f"context      {shown['total_tokens']:,} tokens (exact) in " in text
    assert re.search(r"^cost         \$0\.\d{4}: \$0\.\d{4} prompt, \$0\.\d{4} answer$", text, re.MULTILINE)
    assert re.search(r"^billed       [\d,]+ read from the cache, \d+ written \(5m\), 7 uncached$", text, re.MULTILINE)
    assert "~" not in text
    assert "where the context came from (tokens: shared)" in text
    answer = text.rpartition("\nanswer ")[2].splitlines()
    assert answer[0].split() == ["tokens", "cost", "accuracy"]
    assert answer[1].startswith("Assistant: output ")
    assert max(map(len, text.splitlines())) <= 80


def test_the_pieces_stand_in_prompt_order_with_lines_where_the_cache_ends(
    billed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = _id(billed, capsys)
    main(["show", request, "--home", str(billed), "--pieces", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    classes = [row["price_class"] for row in rows if int(row["token_count"])]
    assert classes == sorted(classes, key=("read", "write_5m", "uncached").index)
    assert rows[0]["kind"] == "preamble"
    _, text = on_terminal("show", request, "--home", billed, "--pieces", env={"NO_COLOR": "1"})
    lines = text.partition("piece by piece\n")[2].splitlines()
    ends = [line for line in lines if line.startswith("──")]
    assert [line.split(":")[0].removeprefix("── to here ") for line in ends] == [
        "read from the cache",
        "written into the cache (5m)",
        "uncached",
    ]
    assert lines[-1] == ends[-1]
    assert lines[0].split() == ["where", "source", "kind", "tokens", "cost"]
    assert {len(line) for line in ends} == {80}
    assert len(on_terminal("show", request, "--home", billed, "--pieces", "--all")[1].splitlines()) > len(lines) + 30


def test_an_unknown_price_is_said_and_is_not_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill_billed(home, model=b"claude-nobody-knows-9")
    request = _id(home, capsys)
    main(["show", request, "--home", str(home)])
    text = capsys.readouterr().out
    assert "cost         price unknown: no price list has claude-nobody-knows-9" in text
    assert "$0" not in text
    main(["query", "--home", str(home), "--limit", "1"])
    assert capsys.readouterr().out.rstrip("\n").endswith("\tunknown")
    main(["query", "--home", str(home), "--limit", "1", "--csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (row["cost"], row["accuracy"]) == ("", "exact")
    assert row["cost_note"].startswith("price unknown")


def test_every_source_is_listed_on_demand_and_to_pipes(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = _id(captured, capsys)
    whole = on_terminal("show", request, "--home", captured, "--all", env={"NO_COLOR": "1"})[1]
    assert "smaller ones" not in whole
    assert main(["show", request, "--home", str(captured)]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines() if "\t" in line]
    assert len(lines) == len(whole.partition("made of\n")[2].splitlines()) > 30
    assert {line[-1] for line in lines} == {"estimated"}


def test_json_has_all_of_it(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = _id(captured, capsys)
    assert main(["show", request, "--home", str(captured), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["id"] == request
    assert shown["response"]["usage"]["cache_read_input_tokens"] == 1000
    assert shown["response"]["header_list"] == [["content-type", "application/json"], ["request-id", "req_1"]]
    assert shown["request_initiated"] < shown["forwarded"] < shown["delivered"]
    assert sum(row["token_count"] for row in shown["kinds"]) == sum(row["token_count"] for row in shown["sources"])
    assert {"schema", "body", "prompt"} <= {row["kind"] for row in shown["kinds"]}
    main(["show", request, "--home", str(captured), "--jsonl"])
    assert json.loads(capsys.readouterr().out) == shown


def test_csv_is_the_breakdown(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", _id(captured, capsys), "--home", str(captured), "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["label", "kind", "token_count", "share", "cost", "accuracy"]


def test_the_body_is_the_captured_bytes(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = _id(captured, capsys, 9)
    command = [*COMMAND, "show", request, "--home", str(captured)]
    first = exchanges()[0]
    assert subprocess.run([*command, "--body"], capture_output=True, check=True).stdout == first.request_body.data
    assert first.response is not None
    answer = subprocess.run([*command, "--response-body"], capture_output=True, check=True).stdout
    assert answer == first.response.body.data


def test_curl_sends_it_again_with_the_persons_own_key(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = _id(captured, capsys)
    assert main(["show", request, "--home", str(captured), "--curl"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"claudeproxy show {request} --body |\ncurl ")
    assert "[REDACTED]" not in text
    assert "$ANTHROPIC_" in text
    assert "--data-binary @-" in text
    assert "'https://api.anthropic.com/v1/messages?beta=true'" in text
    assert "content-length" not in text.lower()


def test_curl_of_a_request_without_a_body_pipes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = RecordedBody(kept=BodyKept.EMPTY, data=None, length=0)
    headers = ((b"Host", b"h"), (b"X-It's", b"a 'b'"), (b"cookie", b"[REDACTED]"), (b"authorization", b"[REDACTED]"))
    fill(home, [altered(0, method="GET", request_body=empty, headers=headers)])
    assert main(["show", _id(home, capsys), "--home", str(home), "--curl"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("curl --no-buffer --compressed -X GET")
    assert "Bearer $ANTHROPIC_AUTH_TOKEN" in text
    assert "cookie" not in text
    parsed = subprocess.run(["sh", "-c", text.replace("curl", "printf '%s\\n'", 1)], capture_output=True, check=True)
    assert b"X-It's: a 'b'" in parsed.stdout


def test_a_unique_beginning_is_enough_and_another_is_not_found(
    captured: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = _id(captured, capsys)
    assert main(["show", request[:6], "--home", str(captured), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == request
    assert main(["show", f"{request[:6]}zz", "--home", str(captured)]) == 1
    assert f"did you mean {request[:8]}" in capsys.readouterr().err


def test_without_captures_it_says_how_to_make_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "x", "--home", str(home)]) == 1
    assert "claudeproxy demo" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["--body", "--curl"], ["--body", "--response-body"], ["--curl", "--pieces"]])
def test_two_forms_at_once_are_a_usage_error(captured: Path, flags: list[str]) -> None:
    assert cli("show", "x", "--home", captured, *flags).returncode == 2


def test_a_body_that_was_not_kept_is_not_found_and_says_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, [altered(0, request_body=RecordedBody(kept=BodyKept.POLICY, data=None, length=9))])
    request = _id(home, capsys)
    assert main(["show", request, "--home", str(home), "--body"]) == 1
    assert "not in the record: policy" in capsys.readouterr().err


def test_a_request_without_an_answer_is_shown_without_one(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = exchanges()[0]
    instants = replace(base.instants, response_received=None, delivered=None)
    fill(home, [altered(0, state=State.UPSTREAM_ERROR, response=None, error="refused", instants=instants)])
    request = _id(home, capsys)
    assert main(["show", request, "--home", str(home)]) == 0
    text = capsys.readouterr().out
    assert "state        upstream_error: refused" in text
    assert "answer" not in text.partition("tokens in")[2]
    assert main(["show", request, "--home", str(home), "--response-body"]) == 1
    assert "has no response" in capsys.readouterr().err
    main(["show", request, "--home", str(home), "--json"])
    assert json.loads(capsys.readouterr().out)["response"] is None


def test_an_answer_of_ours_is_not_taken_for_the_apis(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = exchanges()[0].response
    assert base is not None
    fill(home, [altered(0, response=replace(base, origin="proxy", status_code=502, reason="Bad Gateway"))])
    assert main(["show", _id(home, capsys), "--home", str(home)]) == 0
    assert "502 Bad Gateway (made by claudeproxy)" in capsys.readouterr().out


def test_a_request_is_shown_in_its_conversation(captured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which request it goes on from, and in which turn."""
    assert main(["query", "--home", str(captured), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    turns = {(row["agent_id"], row["turn_index"]): row for row in rows}
    botanist = [row for row in rows if row["agent_id"]]
    assert [row["turn_index"] for row in botanist] == [2, 1]
    assert [row["agent_id"] for row in rows].count(None) == max(turn for agent, turn in turns if agent is None)
    third = turns[None, 3]
    assert third["parent_request_id"] == turns[None, 2]["id"]
    assert main(["show", third["id"], "--home", str(captured)]) == 0
    text = capsys.readouterr().out
    assert "turn         3, prompt 1" in text
    assert f"follows      {third['parent_request_id']}" in text
    assert "retry of" not in text
    assert main(["query", "--home", str(captured), "--agent", botanist[0]["agent_id"], "--jsonl"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
