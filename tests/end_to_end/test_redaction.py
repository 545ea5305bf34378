"""`secrets: report` and `redact`, from the configuration to `claudeproxy secrets`."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import trio

from claudeproxy.testing import always, text
from claudeproxy_cli.main import main
from tests.capture.planted import ANTHROPIC, GITHUB, PEM
from tests.support.service import PATIENCE, ask, captured, mocking, prompt, raw, serving, wait_captured

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PLANTED = ("dummyPlantedInABody", "dummyPlantedInTheReply", "dummyPlantedKeyLine")


def found_on_disk(home: Path) -> dict[str, list[str]]:
    files = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    found = {word: [str(path) for path, data in files.items() if word.encode() in data] for word in PLANTED}
    return {word: places for word, places in found.items() if places}


def told(home: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["secrets", "--home", str(home), "--json", *arguments]) == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out)
    return value


async def test_redacted_secrets_reach_the_api_and_nothing_else(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The client's bytes go unchanged; journal, WAL, database, answers of the REST API never hold what is masked."""
    body = prompt(f"use {ANTHROPIC} or\n{PEM}")
    home.mkdir()
    (home / "config.yaml").write_text("secrets: redact\n")
    async with (
        mocking(always(text(f"take {GITHUB} instead"))) as mock,
        serving(home, mock.url, secrets="redact") as running,
    ):
        async with running.client("connect") as client:
            answer = await ask(client, body)
            assert GITHUB.encode() in raw(answer)
            await ask(client, body)
            packed = gzip.compress(body)
            await ask(client, packed, **{"content-encoding": "gzip"})
        rows = await wait_captured(home, 3)
        assert [one.body for one in mock.received][:2] == [body, body]
        assert found_on_disk(home) == {}
        async with running.rest() as rest:
            listed = (await rest.get("/api/claude/secrets")).json()
            assert listed["mode"] == "redact"
            asked = [f"requests/{rows[0].id}", f"requests/{rows[0].id}/body", f"responses/{rows[0].id}", "export"]
            answers = [(await rest.get(f"/api/claude/{path}")).text for path in asked]
            assert not [word for word in PLANTED for one in answers if word in one]
            by_rule = {one["rule"]: one for one in listed["secrets"]}
            assert {rule: (one["sent"], one["received"]) for rule, one in by_rule.items()} == {
                "anthropic-key": (3, 0),
                "private-key": (3, 0),
                "github-token": (0, 3),
            }
    assert found_on_disk(home) == {}
    for pair in captured(home):
        assert len(pair.body) == len(body)
        assert json.loads(pair.body)["messages"]
    found = told(home, capsys, "--sent")
    assert found["mode"] == "redact"
    by_kind = {one["rule"]: one for one in found["secrets"]}  # type: ignore[attr-defined]
    assert set(by_kind) == {"anthropic-key", "private-key"}
    key = by_kind["anthropic-key"]
    assert (key["sent"], key["masked"]) == (3, 3)
    assert [(one["label"], one["requests"]) for one in key["sources"]] == [("User", 3)]
    detail = told(home, capsys, key["hash"][:10])
    places = detail["sightings"]
    assert isinstance(places, list)
    assert {one["json_path"] for one in places} == {"$.messages[0].content"}
    assert all(one["masked"] and one["length"] == len(ANTHROPIC) for one in places)


async def test_reported_secrets_are_stored_as_they_came(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = prompt(f"use {ANTHROPIC}")
    async with (
        mocking(always(text("no"))) as mock,
        serving(home, mock.url, secrets="report") as running,
        running.client() as client,
    ):
        await ask(client, body)
        await wait_captured(home, 1)
    (pair,) = captured(home)
    assert pair.body == body
    (one,) = told(home, capsys)["secrets"]  # type: ignore[misc]
    assert (one["rule"], one["sent"], one["masked"]) == ("anthropic-key", 1, 0)  # type: ignore[index]
    assert [source["label"] for source in one["sources"]] == ["User"]  # type: ignore[index]


async def test_without_the_setting_nothing_is_looked_for_and_that_is_said(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        mocking(always(text("no"))) as mock,
        serving(home, mock.url) as running,
        running.client() as client,
    ):
        await ask(client, prompt(f"use {ANTHROPIC}"))
        await wait_captured(home, 1)
    assert main(["secrets", "--home", str(home)]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "detection is off" in said.err
    assert "secrets: report" in said.err


async def test_what_a_stream_spells_in_pieces_leaves_the_journal_too(home: Path) -> None:
    """Found by the recorder, when it has the whole answer; then the journal is overwritten beside the running relay."""
    async with (
        mocking(always(text(f"it is {GITHUB}, keep it"))) as mock,
        serving(home, mock.url, secrets="redact") as running,
        running.client() as client,
    ):
        answer = await ask(client, prompt("which?", stream=True))
        assert GITHUB.encode() not in raw(answer)  # two events share it
        (row,) = await wait_captured(home, 1)
        with trio.fail_after(PATIENCE):
            while any(map(any_piece, home.rglob("*.journal"))):  # noqa: ASYNC110 - done by another thread
                await trio.sleep(0.02)
        async with running.rest() as rest:
            told_by_api = (await rest.get(f"/api/claude/responses/{row.id}")).text
        assert "[REDACTED:github-token:" in told_by_api
        assert "dummyPlanted" not in told_by_api


def any_piece(path: Path) -> bool:
    """Whether the journal still holds a piece of the answer."""
    return b"content_block_delta" in path.read_bytes()
