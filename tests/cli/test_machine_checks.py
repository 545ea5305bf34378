from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.pause import PauseFile
from claudeproxy.config import ClaudeProxyConfig
from claudeproxy.errors import StorageError
from claudeproxy.retaining import RetentionSettings, run_retention
from claudeproxy_cli.findings import Context
from claudeproxy_cli.machine_checks import capture, clock, database, descriptors, disk, permissions, versions
from tests.cli.support import altered, exchanges, fill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(home: Path) -> Context:
    return Context(config=ClaudeProxyConfig.isolated(home=home), config_file=None, environment={}, directory=home)


def test_versions_are_named(context: Context) -> None:
    detail = versions(context).detail
    assert all(word in detail for word in ("claudeproxy", "Python", "SSL", "SQLite"))


def test_more_connections_than_the_system_has_descriptors_for_are_said(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claudeproxy_cli.machine_checks.obtainable", lambda: 1024)
    found = descriptors(context)
    assert (found.status, found.remedy and found.remedy.rpartition(" ")[2]) == ("warn", "384")
    assert "allows 1,024" in found.detail
    fewer = replace(context, config=ClaudeProxyConfig.isolated(home=context.home.path, max_connections=384))
    assert descriptors(fewer).status == "ok"
    shared = replace(context, config=ClaudeProxyConfig.isolated(home=context.home.path, workers=3))
    assert descriptors(shared).status == "ok"  # the limit is each process's own
    monkeypatch.setattr("claudeproxy_cli.machine_checks.obtainable", lambda: None)
    assert descriptors(context).status == "ok"


def test_a_home_that_is_not_there_yet_is_fine(context: Context) -> None:
    assert permissions(context).status == "ok"
    assert database(context).status == "ok"
    assert disk(context).status in {"ok", "warn"}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_what_others_can_read_fails_and_the_remedy_cures_it(context: Context) -> None:
    home = context.home.path
    home.mkdir(mode=0o700)
    (home / "captures.db").touch(mode=0o644)
    found = permissions(context)
    assert (found.status, found.remedy) == ("fail", f"chmod go= {home}/captures.db")
    (home / "captures.db").chmod(0o600)
    assert permissions(context).status == "ok"
    home.chmod(0o750)
    assert permissions(context).status == "fail"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_is_not_ours_fails(context: Context) -> None:
    context.home.path.mkdir(mode=0o500)
    found = permissions(context)
    assert found.status == "fail"
    assert "chown" in str(found.remedy)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_that_cannot_be_made_fails(context: Context) -> None:
    context.home.path.parent.chmod(0o500)
    found = permissions(context)
    context.home.path.parent.chmod(0o700)
    assert (found.status, found.remedy) == ("fail", "use --home or CLAUDEPROXY_HOME")


def test_a_good_database_is_said_to_be_one(home: Path, context: Context) -> None:
    fill(home, [altered(0)])
    found = database(context)
    assert found.status == "ok"
    assert "newest capture 2026-11-18" in found.detail


def test_a_damaged_database_fails(home: Path, context: Context) -> None:
    fill(home, [altered(0)])
    path = home / "captures.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    connection.close()
    content = bytearray(path.read_bytes())
    for page in range(pages // 2, pages):
        content[page * size : page * size + 100] = b"\xaa" * 100
    path.write_bytes(content)
    try:
        found = database(context)
    except (StorageError, sqlite3.Error):  # even opening finds it; doctor makes a finding of that
        return
    assert found.status == "fail"


def test_a_clock_behind_the_newest_capture_fails(home: Path, context: Context) -> None:
    fill(home, [altered(0)])
    assert clock(context).status == "ok"
    ahead = exchanges()[0]
    later = ahead.instants.__class__(request_initiated=4_000_000_000_000_000_000)
    fill(home, [altered(1, instants=later)])
    found = clock(context)
    assert found.status == "fail"
    assert "2096" in found.detail


def test_what_is_kept_and_how_long_is_said(context: Context, home: Path) -> None:
    assert capture(context).detail == "kept for 30 days, 2.0 GiB at the most"
    config = ClaudeProxyConfig.isolated(
        home=home, retention_days=None, max_database_size=None, exclude_projects=["~/a", "~/b"]
    )
    found = capture(replace(context, config=config))
    assert (found.status, found.detail) == ("ok", "kept for ever; 2 directories excluded")
    fill(home, [])
    run_retention(RetentionSettings.of(config))
    assert "; retention ran 20" in capture(replace(context, config=config)).detail


def test_a_pause_is_a_warning_with_its_end(context: Context, home: Path) -> None:
    home.mkdir()
    PauseFile(context.home.pause_file).pause(now=time.time_ns(), until=None)
    found = capture(context)
    assert (found.status, found.detail, found.remedy) == (
        "warn",
        "capture is paused",
        "`claudeproxy resume` ends it",
    )


@pytest.mark.parametrize("key", ["enabled", "capture_enabled"])
def test_capture_that_is_switched_off_is_a_warning(context: Context, home: Path, key: str) -> None:
    off = {key: False}
    found = capture(replace(context, config=ClaudeProxyConfig.isolated(home=home, **off)))
    assert found.status == "warn"
    assert str(found.remedy).startswith(f"{key} is false")
