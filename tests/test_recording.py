"""What happens behind the journal: stored first, then explained; whatever goes wrong delays a record only."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from claudeproxy import following
from claudeproxy import recording as module
from claudeproxy.errors import StorageError
from claudeproxy.model import State
from claudeproxy.recording import Recording, main, run_recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.capture.support import end, make_tap, start, tell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.store.values import CapturedRequest

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'


@pytest.fixture
def settings(tmp_path: Path) -> RecordingSettings:
    (tmp_path / "journal").mkdir()
    return RecordingSettings(database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"))


@pytest.fixture
def recording(settings: RecordingSettings) -> Iterator[Recording]:
    with closing(Recording(settings)) as made:
        yield made
        made.recorder.close()


def rows(settings: RecordingSettings) -> Sequence[CapturedRequest]:
    with CaptureStorage(settings.database, read_only=True) as storage:
        return storage.query_requests(RequestFilters()).rows


def sources(settings: RecordingSettings) -> list[dict[str, int]]:
    with CaptureStorage(settings.database, read_only=True) as storage:
        return [{s.source.label: s.token_count for s in storage.sources(row.id)} for row in rows(settings)]


def test_settings_survive_the_way_to_the_child() -> None:
    settings = RecordingSettings(database="/a b/c", journal="/ü", log_format="json", log_level="debug")
    assert RecordingSettings.from_json(settings.to_json()).to_json() == settings.to_json()
    assert RecordingSettings.from_json(settings.to_json()).database == "/a b/c"
    with pytest.raises(TypeError):
        RecordingSettings.from_json('{"database": "x"}')


def test_an_exchange_is_stored_and_explained(recording: Recording, settings: RecordingSettings, tmp_path: Path) -> None:
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    assert recording.recorder.step() == 1
    (found,) = sources(settings)
    assert found["User"] > 0
    assert recording.status()["stored"] == recording.status()["attributed"] == 1
    assert recording.status()["failures"] == 0


def test_a_body_that_grows_beyond_its_bound_is_recorded_as_it_came(settings: RecordingSettings, tmp_path: Path) -> None:
    """A megabyte of blanks in a thousand bytes: not decoded, and counted."""
    packed = gzip.compress(BODY + b" " * (1 << 20))
    coding = ((b"Content-Encoding", b"gzip"),)
    tell(make_tap(tmp_path / "journal"), request=(packed,), request_headers=coding)
    with closing(Recording(replace(settings, max_decoded_bytes=1 << 20))) as recording:
        assert recording.recorder.step() == 1
        assert recording.status()["undecodable_bodies"] == 1
        recording.recorder.close()
    (row,) = rows(settings)
    with CaptureStorage(settings.database, read_only=True) as storage:
        assert storage.request_body(row.id) == packed


@pytest.mark.parametrize("early", [True, False])
def test_an_exchange_is_explained_once_although_it_is_told_twice(
    recording: Recording, settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    """In flight when the request is out, then as it ended. One that is answered at once is explained at its end."""
    monkeypatch.setattr(following, "IN_FLIGHT_SECONDS", 0 if early else 3600)
    tap = make_tap(tmp_path / "journal")
    exchange = tap.exchange(start(body_length=len(BODY)))
    exchange.request_body(BODY)
    recording.recorder.step()
    assert [row.state for row in rows(settings)] == [State.IN_FLIGHT]
    assert (recording.stored, recording.explainer.attributed) == (0, 0)
    assert recording.idle() == early
    assert (recording.stored, recording.explainer.attributed) == (0, int(early))
    exchange.end(end(State.UPSTREAM_ERROR, error="refused", error_kind="refused"))
    recording.recorder.step()
    assert [row.state for row in rows(settings)] == [State.UPSTREAM_ERROR]
    assert (recording.stored, recording.explainer.attributed) == (1, 1)


def test_a_body_that_cannot_be_explained_is_stored_and_not_tried_for_ever(
    recording: Recording,
    settings: RecordingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A rule's bug: the engine raises. The log names the request and holds nothing of its body."""

    def broken(*_: object, **__: object) -> None:
        raise RecursionError("a rule went in circles")

    monkeypatch.setattr(recording.explainer.engine, "analyze_request", broken)
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    recording.recorder.step()
    (row,) = rows(settings)
    assert row.total_tokens is None
    assert recording.explainer.errors == 1
    while recording.idle():
        pass
    assert recording.explainer.errors == 1
    log = capsys.readouterr().err
    assert "attribution failed" in log
    assert row.id in log
    assert "hello there" not in log


def test_what_was_stored_without_an_explanation_is_explained_at_leisure(
    settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder died between the two, or the rules are new: a few at a time, the journal first."""
    tap = make_tap(tmp_path / "journal")
    count = module.BACKLOG_BATCH + 3
    for number in range(count):
        tell(tap, request=(BODY.replace(b"hello", b"hello %d" % number),))
    with closing(Recording(settings)) as died:
        with monkeypatch.context() as patch:
            patch.setattr(died.explainer, "explain", lambda *_, **__: None)
            died.recorder.step()
        died.recorder.close()
    assert sources(settings) == [{}] * count
    with closing(Recording(settings)) as second:
        assert second.recorder.step() == 0
        assert second.idle()
        assert second.explainer.attributed == module.BACKLOG_BATCH
        while second.idle():
            pass
        assert second.explainer.attributed == count
        second.recorder.close()
    assert all(found["User"] > 0 for found in sources(settings))


def test_what_a_full_disk_left_unexplained_is_explained_when_there_is_room(
    recording: Recording, settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tap = make_tap(tmp_path / "journal")
    for number in range(2):
        messages = [{"role": "user", "content": f"{number} {place}"} for place in range(500)]
        tell(tap, request=(json.dumps({"model": "m", "messages": messages}).encode(),))
    monkeypatch.setattr(following, "EXPLAIN_SECONDS", -1)
    recording.recorder.step()
    with recording.storage.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        recording.catch_up(60.0)
        assert (recording.explainer.errors, recording.explainer.attributed) == (1, 0)  # the other would fail as well
        assert not recording.idle()
        assert recording.explainer.errors == 1
        connection.execute("PRAGMA max_page_count = 100000")
    monkeypatch.setattr(recording, "_blocked_until", 0.0)
    while recording.idle():
        pass
    assert recording.explainer.attributed == 2
    assert all(found["User"] > 0 for found in sources(settings))


@pytest.mark.parametrize("limit", ["EXPLAIN_SECONDS", "EXPLAIN_BYTES"])
def test_storing_comes_before_explaining(
    recording: Recording, settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """What there was no time for is explained between two looks at the journal, or at the end."""
    monkeypatch.setattr(following, limit, -1)
    tap = make_tap(tmp_path / "journal")
    for number in range(3):
        tell(tap, request=(BODY.replace(b"hello", b"hello %d" % number),))
    recording.recorder.step()
    assert (recording.stored, recording.explainer.attributed) == (3, 0)
    monkeypatch.setattr(following, limit, 0)
    assert recording.idle()
    recording.catch_up(60.0)
    assert recording.explainer.attributed == 3
    assert all(found["User"] > 0 for found in sources(settings))


def test_at_the_end_everything_is_stored_before_anything_is_explained(
    recording: Recording, settings: RecordingSettings, tmp_path: Path
) -> None:
    tap = make_tap(tmp_path / "journal")
    for number in range(5):
        tell(tap, request=(BODY.replace(b"hello", b"hello %d" % number),))
    recording.hurry()
    recording.recorder.step()
    assert recording.stored == 5
    assert recording.explainer.attributed <= 1
    recording.catch_up(60.0)
    assert all(found["User"] > 0 for found in sources(settings))


def test_what_fails_after_storing_does_not_store_again(
    recording: Recording,
    settings: RecordingSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The recorder would else try the same batch for ever, and record nothing more."""

    def broken(*_: object) -> None:
        raise ValueError("not an URL")

    monkeypatch.setattr(recording, "_log_stored", broken)
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    assert recording.recorder.step() == 1
    assert recording.recorder.step() == 0
    assert (recording.stored, recording.explainer.attributed) == (1, 1)
    assert "not followed up" in capsys.readouterr().err
    assert len(rows(settings)) == 1


def test_a_host_that_looks_like_a_key_is_recorded_like_others(
    recording: Recording, settings: RecordingSettings, tmp_path: Path
) -> None:
    """What redaction leaves of it is no URL that every parser takes."""
    tell(make_tap(tmp_path / "journal"), request=(BODY,), url="https://sk-ant-x.anthropic.com/v1/messages")
    assert recording.recorder.step() == 1
    assert recording.explainer.errors == 0
    assert [row.url for row in rows(settings)] == ["https://[REDACTED].anthropic.com/v1/messages"]


def test_a_damaged_row_does_not_end_the_recorder(
    settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left alone; the others are explained."""
    monkeypatch.setattr(following, "EXPLAIN_SECONDS", -1.0)
    tap = make_tap(tmp_path / "journal")
    with closing(Recording(settings)) as first:
        for text in (b"first", b"second"):
            tell(tap, request=(BODY.replace(b"hello", text),))
        first.recorder.step()
        first.recorder.close()
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as database:
        database.execute("UPDATE requests SET skeleton = x'00ff' WHERE n = 1")
    with closing(Recording(settings)) as second:
        while second.idle():
            pass
        assert second.explainer.attributed == 1
        second.recorder.close()


def test_free_pages_are_given_back_once_nothing_has_come_for_a_while(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def free() -> int:
        with recording.storage.reading() as connection:
            return int(connection.execute("PRAGMA freelist_count").fetchone()[0])

    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    recording.recorder.step()
    with recording.storage.writing() as connection:
        connection.execute("CREATE TABLE passing AS SELECT randomblob(100000)")
        connection.execute("DROP TABLE passing")
    while recording.idle():
        pass
    assert free() > 20
    monkeypatch.setattr(module, "REST_SECONDS", 0)
    assert not recording.idle()
    assert free() == 0


def test_a_storage_that_fails_is_logged_once_and_tried_again(
    recording: Recording, settings: RecordingSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    database, aside = tmp_path / "captures.db", tmp_path / "aside.db"
    database.rename(aside)
    database.mkdir()
    for _ in range(5):
        assert recording.recorder.step() == 0
    assert recording.status()["failures"] == 5
    database.rmdir()
    aside.rename(database)
    while not recording.recorder.step():
        pass
    assert recording.status()["failures"] == 0
    assert len(rows(settings)) == 1
    assert capsys.readouterr().err.count("capture failed") == 1


def test_it_runs_until_it_is_told_to_stop_and_reports_what_changed(settings: RecordingSettings, tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    tell(tap, request=(BODY,))
    tap.writer.close()
    reports: list[Mapping[str, object]] = []
    run_recording(settings, None, lambda: bool(reports and reports[-1]["stored"]), reports.append)
    assert [report["stored"] for report in reports][-1] == 1
    assert all(first != second for first, second in pairwise(reports[:-1]))  # the last one is said at the end, always
    assert list((tmp_path / "journal").glob("*/")) == []


def test_a_database_that_cannot_be_opened_is_said(settings: RecordingSettings, tmp_path: Path) -> None:
    (tmp_path / "captures.db").mkdir()
    with pytest.raises(StorageError):
        run_recording(settings, None, lambda: True, lambda _: None)


def test_the_process_ends_with_its_input_and_says_what_it_did(settings: RecordingSettings, tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    tell(tap, request=(BODY,))
    tap.writer.close()
    done = subprocess.run(
        [sys.executable, "-m", "claudeproxy.recording", settings.to_json()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["attributed"] == 1
    assert "capture stored" in done.stderr


def test_the_process_says_in_one_line_why_it_cannot_work(
    settings: RecordingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "captures.db").mkdir()
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process shall keep its own handlers
    before = os.umask(0o022)
    try:
        assert main(settings.to_json()) == 1
    finally:
        os.umask(before)
    assert "recorder cannot work" in capsys.readouterr().err


def test_a_relay_that_is_gone_does_not_stop_the_recording(settings: RecordingSettings, tmp_path: Path) -> None:
    """Its end of the status pipe is closed: what the journal holds is recorded all the same."""
    tap = make_tap(tmp_path / "journal")
    tell(tap, request=(BODY,))
    tap.writer.close()
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "claudeproxy.recording", settings.to_json()],
        stdin=subprocess.DEVNULL,
        stdout=write_end,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert done.returncode == 0, done.stderr
    assert len(rows(settings)) == 1
