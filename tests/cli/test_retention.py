from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.capture.locks import FileLock
from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import exchanges, fill

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

YEARS = 10 * 365 * 86_400 * 10**9


def aged(home: Path, count: int) -> None:
    """Three captures, the first `count` of them ten years old: that is past every retention."""
    fill(home, exchanges()[:3])
    with CaptureStorage(home / "captures.db") as storage, storage.writing() as connection:
        connection.execute("UPDATE requests SET request_initiated = request_initiated - ? WHERE n <= ?", (YEARS, count))
        connection.execute("UPDATE requests SET request_initiated = strftime('%s') * 1000000000 WHERE n > ?", (count,))


def left(home: Path) -> int:
    with CaptureStorage(home / "captures.db", read_only=True) as storage:
        return storage.summary().requests


def test_what_is_too_old_goes_now(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aged(home, 2)
    assert main(["retention", "run", "--home", str(home), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["requests"], report["responses"]) == (2, 2)
    assert left(home) == 1


def test_a_dry_run_says_how_many_would_go(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aged(home, 2)
    assert main(["retention", "run", "--home", str(home), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"requests": 2, "dry_run": True}
    assert main(["retention", "run", "--home", str(home), "--dry-run"]) == 0
    assert capsys.readouterr().out == "2 captures would go; nothing was deleted\n"
    assert left(home) == 3


def test_the_configuration_says_how_long(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aged(home, 2)
    (home / "config.yaml").write_text("retention_days: 10000\n")
    assert main(["retention", "run", "--home", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 0
    (home / "config.yaml").write_text("retention_days: null\n")
    assert main(["retention", "run", "--home", str(home)]) == 0
    assert left(home) == 3


def test_two_runs_at_a_time_are_one_too_many(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aged(home, 2)
    lock = FileLock(home / "captures.db.retention")
    assert lock.acquire()
    try:
        assert main(["retention", "run", "--home", str(home)]) == 1
    finally:
        lock.release()
    assert "another run of retention is under way" in capsys.readouterr().err
    assert left(home) == 3


def test_without_captures_it_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retention", "run", "--home", str(home)]) == 1
    assert "nothing has been captured" in capsys.readouterr().err
