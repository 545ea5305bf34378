from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from claudeproxy_cli.render import size
from tests.cli.support import cli
from tests.export.support import HAR, check

if TYPE_CHECKING:
    from pathlib import Path


def ids(captured: Path, **filters: object) -> list[str]:
    with CaptureStorage(captured / "captures.db", read_only=True) as storage:
        rows = storage.query_requests(RequestFilters(limit=100, **filters)).rows  # type: ignore[arg-type]
    return [row.id for row in reversed(rows)]


def test_without_a_file_json_lines_go_to_standard_output(captured: Path) -> None:
    done = cli("export", "--home", captured)
    assert done.returncode == 0
    assert done.stderr.startswith(f"{len(ids(captured))} exchanges, ")
    assert done.stderr.endswith("B written\n")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ids(captured)


def test_a_file_is_for_its_owner_alone_and_its_name_tells_the_format(captured: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.har"
    done = cli("export", "--home", captured, "-o", archive)
    assert (done.returncode, done.stdout) == (0, "")
    count, length = len(ids(captured)), size(archive.stat().st_size)
    assert done.stderr == f"{count} exchanges, {length} written to {archive}, readable by you only\n"
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    made = json.loads(archive.read_bytes())
    check(made, HAR)
    assert [one["_claudeproxy"]["id"] for one in made["log"]["entries"]] == ids(captured)
    assert [path.name for path in tmp_path.iterdir()] == ["all.har"]


def test_the_filters_hold(captured: Path) -> None:
    done = cli("export", "--home", captured, "--method", "post", "--type", "mcp-server")
    expected = ids(captured, method="POST", source_type="McpServer")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == expected != []
    done = cli("export", "--home", captured, "--until", "2020-01-01", "--format", "har")
    assert json.loads(done.stdout)["log"]["entries"] == []
    assert done.stderr == "nothing matches: no exchange written\n"


def test_a_file_that_is_there_is_not_replaced_unless_forced(captured: Path, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    done = cli("export", "--home", captured, "-o", there)
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert there.read_text() == "mine"
    assert cli("export", "--home", captured, "-o", there, "--force").returncode == 0
    assert len(there.read_bytes().splitlines()) == len(ids(captured))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--format", "hra"], 2, "did you mean har"),
        (["--session", "nonsense"], 1, "nonsense"),
        (["--since", "soon"], 2, "is not a time"),
        (["-o", "no/such/directory/file"], 2, "cannot write"),
    ],
)
def test_what_cannot_be_is_one_clear_line(captured: Path, arguments: list[str], code: int, said: str) -> None:
    done = cli("export", "--home", captured, *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_captured_is_said(home: Path) -> None:
    done = cli("export", "--home", home)
    assert done.returncode == 1
    assert "nothing has been captured" in done.stderr
