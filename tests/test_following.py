"""What is done after storing: several captures in one transaction, large ones outside any, nothing lost."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy import following
from claudeproxy.recording import Recording
from claudeproxy.recordingsettings import RecordingSettings
from tests.capture.support import make_tap, start, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[Recording]:
    (tmp_path / "journal").mkdir()
    settings = RecordingSettings(database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"))
    with closing(Recording(settings)) as made:
        yield made
        made.recorder.close()


def send(tmp_path: Path, *texts: str) -> None:
    tap = make_tap(tmp_path / "journal")
    for text in texts:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        tell(tap, request=(json.dumps(body).encode(),))


def commits(recording: Recording) -> list[str]:
    """Filled with every COMMIT from here on."""
    found: list[str] = []
    with recording.storage.reading() as connection:
        connection.set_trace_callback(lambda statement: found.append(statement) if statement == "COMMIT" else None)
    return found


def test_captures_that_were_stored_together_are_followed_up_together(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("EXPLAIN_SECONDS", "JOINED_SECONDS"):
        monkeypatch.setattr(following, limit, 3600)
    send(tmp_path, *(f"text {number}" for number in range(20)))
    told = commits(recording)
    recording.recorder.step()
    assert recording.explainer.attributed == 20
    assert len(told) == 2  # one for storing, one for all that follows


@pytest.mark.parametrize("large", [False, True])
def test_nobody_waits_for_the_lock_while_a_large_body_is_read(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(following, "JOINED_BYTES", 0 if large else 1 << 20)
    for limit in ("EXPLAIN_SECONDS", "JOINED_SECONDS"):
        monkeypatch.setattr(following, limit, 3600)
    analyze, locked = recording.explainer.engine.analyze_request, []

    def analyze_and_try(*args: object, **options: object) -> object:
        with closing(sqlite3.connect(tmp_path / "captures.db", timeout=0, isolation_level=None)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                locked.append(True)
            else:
                locked.append(False)
        return analyze(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(recording.explainer.engine, "analyze_request", analyze_and_try)
    send(tmp_path, "one", "two")
    recording.recorder.step()
    assert locked == [not large] * 2


def test_what_could_not_be_committed_is_followed_up_later(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The transaction is gone, and with it what the ledgers have learned in memory."""
    send(tmp_path, "one", "two")
    settled = recording.alerts.watch
    with monkeypatch.context() as patch, recording.storage.reading() as connection:
        patch.setattr(recording._follow_up, "_settled", lambda _: connection.execute("ROLLBACK"))
        recording.recorder.step()
    assert (recording.stored, recording.explainer.attributed) == (2, 0)
    assert "captures stored, not followed up" in capsys.readouterr().err
    assert recording._follow_up._settled == settled
    assert not recording.idle()  # for a while the database is left alone
    monkeypatch.setattr(recording, "_blocked_until", 0.0)
    while recording.idle():
        pass
    assert recording.explainer.attributed == 2
    assert all(recording.storage.source_tokens(one) for one in recording.storage.underived("none", 9))


def test_a_request_that_is_still_open_is_explained_when_it_has_lasted(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "IN_FLIGHT_SECONDS", 3600)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).encode()
    exchange = make_tap(tmp_path / "journal").exchange(start(body_length=len(body)))
    exchange.request_body(body)
    recording.recorder.step()
    assert not recording.idle()
    assert recording.explainer.attributed == 0
    recording.catch_up(60.0)  # the end of the recorder: all that there is
    assert recording.explainer.attributed == 1
