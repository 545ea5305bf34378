"""What failed is noted once, costs nothing afterwards, and is derived when it can be."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.deathwatch import BELIEVED, EXPLAINING, STORING, Deathwatch
from claudeproxy.finishing import Finisher
from claudeproxy.recording import Recording
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.store import unfinished
from claudeproxy.store.functions import derived_id
from tests.capture.support import make_tap, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'


@pytest.fixture
def settings(tmp_path: Path) -> RecordingSettings:
    (tmp_path / "journal").mkdir()
    database, journal, aside = (str(tmp_path / name) for name in ("captures.db", "journal", "quarantine"))
    return RecordingSettings(database=database, journal=journal, quarantine=aside)


@pytest.fixture
def recording(settings: RecordingSettings) -> Iterator[Recording]:
    with closing(Recording(settings)) as made:
        yield made
        made.recorder.close()


def broken(*_: object, **__: object) -> object:
    raise ZeroDivisionError("a bug")


def work(recording: Recording) -> None:
    while recording.recorder.step() or recording.idle():
        pass


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ("attribution", "claudeproxy.attribution.engine.AttributionEngine.analyze_request"),
        ("accounting", "claudeproxy.accounting.bookkeeper.Bookkeeper.read"),
        ("search", "claudeproxy.store.search.SearchIndex.add"),
        ("body", "claudeproxy.store.writer.cut_body"),
    ],
)
def test_a_part_that_failed_is_not_tried_again_by_this_version_but_by_another(
    settings: RecordingSettings, tmp_path: Path, part: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    with monkeypatch.context() as patch, closing(Recording(settings)) as first:
        patch.setattr(place, broken)
        work(first)
        assert first.storage.unfinished() == {part: 1}
        first.recorder.close()
    with closing(Recording(settings)) as same:
        work(same)
        assert same.storage.unfinished() == {part: 1}
        same.recorder.close()
    monkeypatch.setattr(unfinished, "__version__", "99")
    with closing(Recording(settings)) as newer:
        work(newer)
        assert newer.storage.unfinished() == {}
        assert newer.storage.verify().ok
        newer.recorder.close()


def test_everything_is_tried_again_on_demand(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        tell(make_tap(tmp_path / "journal"), request=(BODY,))
    finisher = Finisher(recording.storage, recording.explainer)
    with monkeypatch.context() as patch:
        patch.setattr("claudeproxy.store.writer.cut_body", broken)
        work(recording)
        assert finisher.finish_all() == 2
        assert recording.storage.unfinished() == {"body": 2}
    assert finisher.finish_all() == 2
    assert finisher.finish_all() == 0


def _die(root: Path, stage: str, key: str) -> None:
    for _ in range(BELIEVED):
        watch = Deathwatch(root)
        watch.begin()
        watch.at(stage, key)


@pytest.mark.parametrize("stage", [STORING, EXPLAINING])
def test_what_killed_recorders_is_recorded_and_left_alone(
    settings: RecordingSettings, tmp_path: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suspect, other = (tell(make_tap(tmp_path / "journal"), request=(BODY,)) for _ in range(2))
    request_id = derived_id("request", suspect)
    if stage == EXPLAINING:
        with closing(Recording(settings)) as stored:
            stored.hurry()
            stored.recorder.step()
            stored.recorder.close()
    _die(tmp_path / "journal", stage, suspect if stage == STORING else request_id)
    with closing(Recording(settings)) as recording:
        work(recording)
        storage = recording.storage
        assert storage.request_body(request_id) == BODY
        assert {"attribution", "search"} <= set(storage.unfinished())
        assert storage.sources(request_id) == []
        assert storage.sources(derived_id("request", other))
        assert storage.verify().ok
        recording.recorder.close()
    with closing(Recording(settings)) as again:
        work(again)
        assert again.explainer.attributed == 0
        again.recorder.close()
    assert "the recorder died at it" in capsys.readouterr().err


def test_one_bug_is_told_with_its_traceback_once(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("claudeproxy.store.writer.cut_body", broken)
    tap = make_tap(tmp_path / "journal")
    for number in range(3):
        tell(tap, request=(BODY.replace(b"hello", b"hello %d" % number),))
    work(recording)
    log = capsys.readouterr().err
    assert log.count("a part of it could not be derived") == 3
    assert log.count("ZeroDivisionError: a bug") <= 2  # of one exchange: the traceback, and its last line
    assert recording.status()["unfinished"] == 3
    assert "hello" not in log


def test_a_recorder_that_waits_for_another_one_explains_nothing(settings: RecordingSettings, tmp_path: Path) -> None:
    tell(make_tap(tmp_path / "journal"), request=(BODY,))
    with closing(Recording(settings)) as first, closing(Recording(settings)) as second:
        first.hurry()
        assert first.recorder.step() == 1
        assert second.recorder.step() == 0
        assert not second.idle()
        assert second.explainer.attributed == 0
        work(first)
        assert first.explainer.attributed == 1
        first.recorder.close()
        second.recorder.close()


def test_the_cursor_of_a_journal_that_is_gone_goes_too(recording: Recording, tmp_path: Path) -> None:
    tap = make_tap(tmp_path / "journal")
    tell(tap, request=(BODY,))
    recording.recorder.step()
    assert list(recording.storage.cursors()) == [tap.writer.owner]
    tap.writer.close()
    work(recording)
    assert recording.storage.cursors() == {}
