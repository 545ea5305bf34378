from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.pause import Pause, PauseFile, PausingTap
from tests.capture.support import start

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path, clock: Clock) -> PauseFile:
    return PauseFile(tmp_path / "paused", clock=clock)


def test_nothing_is_paused_without_a_file(file):
    assert file.read() is None


def test_a_pause_lasts_until_it_is_ended(file, clock):
    assert file.pause(now=NOW, until=None) == Pause(since=NOW, until=None)
    clock.now += 10**18
    assert file.read() == Pause(since=NOW, until=None)
    file.resume()
    file.resume()
    assert file.read() is None


def test_a_pause_may_end_by_itself(file, clock):
    file.pause(now=NOW, until=NOW + 10)
    assert file.read() == Pause(since=NOW, until=NOW + 10)
    clock.now += 10
    assert file.read() is None


def test_a_later_word_replaces_an_earlier_one_for_everybody(tmp_path, file, clock):
    other = PauseFile(tmp_path / "paused", clock=clock)
    for until in (NOW + 10, None, NOW + 20):
        file.pause(now=NOW, until=until)
        assert other.read() == Pause(since=NOW, until=until)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"since": "x", "until": null}', b'{"since": true}', b"\xff"])
def test_in_doubt_capture_is_paused(tmp_path, file, content):
    (tmp_path / "paused").write_bytes(content)
    assert file.read() == Pause(since=None, until=None)


def test_a_file_that_somebody_touched_is_a_pause(tmp_path, file):
    """The simplest way to say it, for scripts."""
    (tmp_path / "paused").touch()
    assert file.read() is not None


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_home_that_cannot_be_looked_into_is_a_pause(tmp_path, clock):
    (tmp_path / "home").mkdir(mode=0o000)
    assert PauseFile(tmp_path / "home" / "paused", clock=clock).read() is not None


def test_only_its_owner_may_read_the_file(tmp_path, file):
    file.pause(now=NOW, until=None)
    assert stat.S_IMODE((tmp_path / "paused").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["paused"]


class Inner:
    def __init__(self) -> None:
        self.begun: list[str] = []

    def exchange(self, start):
        self.begun.append(start.correlation_id)
        return self


def test_the_tap_is_not_told_of_what_begins_in_a_pause(file, clock):
    inner = Inner()
    tap = PausingTap(inner, file)
    assert tap.exchange(start(correlation_id="before")) is inner
    file.pause(now=NOW, until=NOW + 10)
    untold = tap.exchange(start(correlation_id="during"))
    untold.request_body(b"x")
    untold.informational(100, ())
    untold.response_start(None)
    untold.response_body(b"y")
    untold.end(None)
    clock.now += 10
    tap.exchange(start(correlation_id="after"))
    assert inner.begun == ["before", "after"]
    assert tap.passed == 1
