from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import exchanges, fill

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


SETTLED = "SELECT n, total_tokens, cost, accuracy FROM requests WHERE rules > 0 AND state <> 'in_flight' ORDER BY n"


def test_a_rebuild_puts_right_what_went_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, exchanges()[:2])

    def rebuilt() -> dict[str, int]:
        assert main(["metrics", "rebuild", "--home", str(home), "--json"]) == 0
        report: dict[str, int] = json.loads(capsys.readouterr().out)
        return report

    assert rebuilt()["corrected"] == 0
    with CaptureStorage(home / "captures.db") as storage, storage.writing() as connection:
        connection.execute("UPDATE context_source_metrics SET total_tokens = 7 WHERE source_name = 'User'")
    assert rebuilt()["corrected"] == 1
    assert rebuilt()["corrected"] == 0


def test_tokens_and_cost_are_settled_again_from_the_captures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(home, exchanges())

    def rebuilt() -> list[tuple[object, ...]]:
        assert main(["metrics", "rebuild", "--tokens", "--home", str(home), "--json"]) == 0
        requests = json.loads(capsys.readouterr().out)["requests"]
        with CaptureStorage(home / "captures.db", read_only=True) as storage, storage.reading() as connection:
            rows = [tuple(row) for row in connection.execute(SETTLED).fetchall()]
        assert requests == len(rows) > 0
        return rows

    settled = rebuilt()
    with CaptureStorage(home / "captures.db") as storage, storage.writing() as connection:
        connection.execute("UPDATE requests SET total_tokens = 7, cost = 1")
        connection.execute("UPDATE ledgers SET state = '{}'")
    assert rebuilt() == settled
    assert all(row[1] > 7 for row in settled)


def test_without_captures_it_makes_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "rebuild", "--home", str(home)]) == 1
    assert not (home / "captures.db").exists()
