from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.storage import CaptureStorage
from claudeproxy_cli.main import main
from tests.cli.support import altered, exchanges, fill, on_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.model import RecordedExchange

Capsys = pytest.CaptureFixture[str]
RESET = 1_795_010_000


def limits(number: int, used: str) -> RecordedExchange:
    """The exchange, answered to a subscription's client."""
    given = exchanges()[number]
    assert given.response is not None
    name = b"anthropic-ratelimit-unified-5h-"
    fields = ((name + b"utilization", used.encode()), (name + b"reset", b"%d" % RESET), (name + b"status", b"allowed"))
    return altered(number, response=replace(given.response, headers=(*given.response.headers, *fields)))


@pytest.fixture
def limited(home: Path) -> Path:
    fill(home, [limits(n, f"0.{n + 1}") for n in range(4)])
    return home


def said(home: Path, capsys: Capsys, *arguments: str) -> dict[str, list[dict[str, object]]]:
    assert main(["quota", "--home", str(home), "--since", "2026-11-01", "--json", *arguments]) == 0
    found: dict[str, list[dict[str, object]]] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_how_full_the_windows_are_and_what_ate_them(limited: Path, capsys: Capsys) -> None:
    found = said(limited, capsys, "--limit", "100")
    (window,) = found["windows"]
    assert (window["window"], window["used"], window["status"]) == ("5h", 0.4, "allowed")
    assert window["reset"] == "2026-11-18T13:53:20.000000Z"
    assert sum(round(1e6 * float(str(row["used"]))) for row in found["eaten"]) == 300_000
    assert sum(float(str(row["share"])) for row in found["eaten"]) == pytest.approx(1, abs=1e-4)
    assert "MCP: atlas" in {row["key"] for row in found["eaten"]}


def test_use_is_divided_by_session_or_hour(limited: Path, capsys: Capsys) -> None:
    (session,) = said(limited, capsys, "--by", "session")["eaten"]
    assert (session["used"], session["requests"]) == (0.3, 4)
    (hour,) = said(limited, capsys, "--by", "hour")["eaten"]
    assert hour["key"] == "2026-11-18T11:00:00.000000Z"


def test_the_history_is_by_the_hour(limited: Path, capsys: Capsys) -> None:
    (hour,) = said(limited, capsys, "--by", "history", "--window", "5h")["hours"]
    assert (hour["start"], hour["least"], hour["most"]) == ("2026-11-18T11:00:00.000000Z", 0.1, 0.4)
    assert said(limited, capsys, "--by", "history", "--window", "7d") == {"windows": [], "hours": []}


def test_a_table_fits_and_lines_have_no_header(limited: Path, capsys: Capsys) -> None:
    code, text = on_terminal("quota", "--home", limited, "--since", "2026-11-01", env={"NO_COLOR": "1"})
    lines = text.splitlines()
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert lines[0].split()[:3] == ["window", "used", "left"]
    assert "40.0%" in lines[1]
    assert lines[3].split()[0] == "window"
    assert main(["quota", "--home", str(limited), "--since", "2026-11-01"]) == 0
    assert capsys.readouterr().out.startswith("5h\t")
    main(["quota", "--home", str(limited), "--since", "2026-11-01", "--csv"])
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["window"] == "5h"


def test_accounts_are_told_apart_where_there_are_several(limited: Path, capsys: Capsys) -> None:
    with CaptureStorage(limited / "captures.db") as storage, storage.writing() as connection:
        connection.execute("INSERT INTO quota_windows (account, name) VALUES ('another-organisation', '5h')")
        connection.execute(
            "INSERT INTO quota_hours SELECT 2, hour, samples, rejected, least, most, last_at, used, capacity,"
            " remaining, reset, status FROM quota_hours"
        )
    code, text = on_terminal("quota", "--home", limited, "--since", "2026-11-01", env={"NO_COLOR": "1"}, columns=110)
    assert code == 0
    assert text.splitlines()[0].split()[-1] == "account"
    assert "another-organisation" in text


def test_a_window_of_long_ago_is_not_shown(limited: Path, capsys: Capsys) -> None:
    with CaptureStorage(limited / "captures.db") as storage, storage.writing() as connection:
        connection.execute("UPDATE quota_hours SET last_at = 0")
    assert main(["quota", "--home", str(limited), "--since", "5h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"] == []


def test_a_division_that_there_is_not_is_a_usage_error(limited: Path, capsys: Capsys) -> None:
    assert main(["quota", "--home", str(limited), "--by", "moon"]) == 2
    assert "source, session, hour, history" in " ".join(capsys.readouterr().err.split())


def test_it_says_when_there_is_nothing(home: Path, captured: Path, capsys: Capsys) -> None:
    assert said(home, capsys) == {"windows": [], "eaten": []}
    assert main(["quota", "--home", str(home)]) == 0
    assert "nothing has been captured" in capsys.readouterr().err
    assert main(["quota", "--home", str(captured)]) == 0
    assert "no answer has told of a limit yet" in capsys.readouterr().err


def test_it_says_that_nothing_was_eaten_lately(limited: Path, capsys: Capsys) -> None:
    assert main(["quota", "--home", str(limited), "--since", "2026-11-20", "--until", "2026-11-21"]) == 0
    assert "--since goes further back" in capsys.readouterr().err
