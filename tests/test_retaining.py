"""One run of retention, as a function and as the process that the service starts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.locks import FileLock
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.retaining import DAY, RetentionBusyError, RetentionSettings, run_retention
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import SECOND, START, exchange

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def settings(tmp_path: Path) -> RetentionSettings:
    return RetentionSettings(
        database=str(tmp_path / "captures.db"), journal=str(tmp_path / "journal"), days=30, max_bytes=None
    )


@pytest.fixture
def filled(settings: RetentionSettings) -> RetentionSettings:
    """Ten captures, one a second, and how far two relays were read."""
    with CaptureStorage(settings.database) as storage:
        storage.record([exchange(number) for number in range(10)], {"gone": (1, 2), "here": (3, 4)})
    return settings


def left(settings: RetentionSettings) -> int:
    with CaptureStorage(settings.database, read_only=True) as storage:
        return storage.summary().requests


def process(settings: RetentionSettings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "claudeproxy.retaining", json.dumps(asdict(settings))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_what_is_older_than_the_days_goes(filled):
    report = run_retention(filled, now=START + 30 * DAY + 4 * SECOND)
    assert report.requests == 4
    assert left(filled) == 6


def test_a_run_leaves_word_of_itself(filled):
    assert filled.last_run() is None
    report = run_retention(filled)
    assert filled.last_run() == filled.lock.stat().st_mtime
    assert json.loads(filled.lock.read_text())["requests"] == report.requests
    assert filled.lock.stat().st_mode & 0o077 == 0


def test_a_dry_run_leaves_none(filled):
    assert run_retention(filled, dry_run=True, now=START + 60 * DAY).requests == 10
    assert filled.last_run() is None
    assert left(filled) == 10


def test_how_far_relays_were_read_is_kept_while_they_have_a_journal(filled, tmp_path):
    (tmp_path / "journal" / "here").mkdir(parents=True)
    run_retention(filled, now=START)
    with CaptureStorage(filled.database, read_only=True) as storage:
        assert storage.cursors() == {"here": (3, 4)}


def test_a_second_run_at_a_time_does_not_begin(filled):
    lock = FileLock(filled.lock)
    assert lock.acquire()
    try:
        with pytest.raises(RetentionBusyError):
            run_retention(filled)
        assert process(filled).returncode == 0  # no failure: somebody else does it
    finally:
        lock.release()
    assert filled.last_run() is None  # the lock alone is no run
    assert left(filled) == 10


def test_the_process_reports_its_counts_and_logs_them(filled):
    """The captures are from 2026: with a limit of no days at all they would go; these stay."""
    done = process(RetentionSettings(**{**asdict(filled), "max_bytes": 1, "days": None, "log_format": "json"}))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] == 10
    (line,) = [json.loads(text) for text in done.stderr.splitlines()]
    assert (line["event"], line["requests"], line["responses"]) == ("retention done", 10, 10)
    assert {"blocks", "nodes", "bytes_before", "bytes_after", "seconds", "longest_step"} <= set(line)
    assert left(filled) == 0


def test_a_database_that_cannot_be_used_is_a_failed_run(settings):
    with open(settings.database, "wb") as file:
        file.write(b"this is no database, but long enough to be taken for one" * 100)
    done = process(settings)
    assert done.returncode == 1
    assert "retention failed" in done.stderr
    assert done.stdout == ""
    assert settings.last_run() is None


def test_the_configuration_says_what_to_keep(tmp_path):
    config = ClaudeProxyConfig.isolated(home=tmp_path, retention_days=7, max_database_size="1GiB")
    settings = RetentionSettings.of(config)
    assert (settings.days, settings.max_bytes) == (7, 1 << 30)
    assert settings.database == str(tmp_path / "captures.db")
