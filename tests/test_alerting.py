"""Somebody who wants to be told is told, once, by the log and in `health`; nobody else is."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy.alerting import KEPT, CostAlerts
from claudeproxy.recording import Recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.store.storage import CaptureStorage
from tests.capture.support import make_tap, tell
from tests.store.exchanges import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOLLAR = 10**12


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CaptureStorage]:
    with closing(CaptureStorage(tmp_path / "captures.db")) as made:
        yield made


def pay(storage: CaptureStorage, number: int, cost: int, **columns: object) -> str:
    (request_id,) = storage.record([exchange(number)], {})
    with storage.writing() as connection:
        for name, value in {"cost": cost, "session_id": "s", **columns}.items():
            connection.execute(f"UPDATE requests SET {name} = ? WHERE id = ?", (value, request_id))
    return request_id


def test_it_is_told_once_in_dollars(storage: CaptureStorage, capsys: pytest.CaptureFixture[str]) -> None:
    alerts = CostAlerts(storage, 2 * DOLLAR)
    for number in range(4):
        alerts.watch(pay(storage, number, 3 * DOLLAR // 4))
    assert alerts.latest == ({"session_id": "s", "cost": "$2.25", "passed": "$2.00"},)
    log = capsys.readouterr().err
    assert log.count("session passed alert_session_cost") == 1
    assert "warning" in log.lower()


def test_the_dollars_of_a_subscription_are_called_what_they_are(storage: CaptureStorage) -> None:
    alerts = CostAlerts(storage, DOLLAR)
    alerts.watch(pay(storage, 0, DOLLAR, subscription=1))
    assert alerts.latest[0]["api_equivalent"] is True


def test_the_latest_few_are_kept(storage: CaptureStorage) -> None:
    alerts = CostAlerts(storage, DOLLAR)
    for number in range(KEPT + 3):
        alerts.watch(pay(storage, number, DOLLAR))
    assert len(alerts.latest) == KEPT
    assert alerts.latest[-1]["passed"] == f"${KEPT + 3}.00"


def test_without_an_amount_nothing_is_told(storage: CaptureStorage) -> None:
    alerts = CostAlerts(storage, None)
    alerts.watch(pay(storage, 0, 10**18))
    assert alerts.latest == ()


def test_the_recorder_tells_of_a_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the bill of a real answer; `health` has it as plain values."""
    journal = tmp_path / "journal"
    journal.mkdir()
    settings = RecordingSettings(
        database=str(tmp_path / "captures.db"), journal=str(journal), alert_session_cost=10_000_000
    )
    body = {"model": "claude-opus-4-6", "messages": [{"role": "user", "content": "hello there"}]}
    usage = {"input_tokens": 1000, "output_tokens": 50}
    answer = {"type": "message", "id": "msg_1", "model": "claude-opus-4-6", "content": [], "usage": usage}
    with closing(Recording(RecordingSettings.from_json(settings.to_json()))) as recording:
        tell(
            make_tap(journal),
            request_headers=((b"X-Claude-Code-Session-Id", b"session-1"),),
            request=(json.dumps(body).encode(),),
            answer=(json.dumps(answer).encode(),),
        )
        recording.recorder.step()
        status = recording.status()
        recording.recorder.close()
    assert status["cost_alerts"] == [{"session_id": "session-1", "cost": "$0.01", "passed": "$0.01"}]
    assert json.dumps(status["cost_alerts"])
    assert "session passed alert_session_cost" in capsys.readouterr().err
