"""How much of what clients write no rule explains."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from claudeproxy.errors import StorageError
from claudeproxy.model import Identity, Source, SourceType
from claudeproxy.store.database import open_database
from claudeproxy.store.shares import SHARES, FrameworkShare, framework_shares
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import correlation, exchange
from tests.store.explaining import explain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SOURCES = (
    Source(type=SourceType.FRAMEWORK, name="system prompt"),
    Source(type=SourceType.FRAMEWORK, name="unclassified"),
    Source(type=SourceType.USER),
)


def store(path: Path, number: int, version: str | None, tokens: Sequence[int]) -> None:
    """Store a request of which each of `SOURCES` brought so many tokens."""
    body = b'{"messages":[{"role":"user","content":"%d"}]}' % number
    with CaptureStorage(path) as storage:
        (request_id,) = storage.record([exchange(number, body)], {})
        result = explain(body, identity=Identity(client="claude-cli", client_version=version))
        (block,) = result.blocks
        segments = [
            replace(
                block.segments[0], source=source, byte_start=at, byte_end=at + 1, start=at, end=at + 1, text=str(at)
            )
            for at, source in enumerate(SOURCES)
        ]
        result = replace(result, blocks=(replace(block, segments=segments),))
        counts = [*tokens, *[0] * len(result.overhead)]
        storage.save_attribution(request_id, result, counts, rules_version="1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "captures.db"
    store(path, 0, "2.0.0", (90, 10, 1000))
    store(path, 1, "2.1.0", (100, 0, 1000))
    store(path, 2, "2.0.0", (100, 0, 1000))
    store(path, 3, None, (0, 100, 1000))
    return path


def test_a_share_is_told_for_each_version_of_the_newest_requests(path: Path) -> None:
    """In the framework's tokens alone; the version that was seen last comes first."""
    assert framework_shares(path) == [
        FrameworkShare(client="claude-cli", client_version="2.0.0", requests=2, tokens=200, unclassified=10),
        FrameworkShare(client="claude-cli", client_version="2.1.0", requests=1, tokens=100, unclassified=0),
    ]
    assert [share.share for share in framework_shares(path)] == [0.05, 0.0]
    assert [share.requests for share in framework_shares(path, last=2)] == [1, 1]


def test_a_storage_that_is_open_answers_too(path: Path) -> None:
    """Over its own connection: health and metrics ask again and again."""
    with CaptureStorage(path, read_only=True) as storage:
        assert framework_shares(storage) == framework_shares(path)
        assert framework_shares(storage, last=1) == framework_shares(path, last=1)


def test_the_requests_behind_the_number_can_be_listed(path: Path) -> None:
    """By the source's label."""
    with CaptureStorage(path, read_only=True) as storage:
        rows = storage.query_requests(RequestFilters(source="Framework: unclassified")).rows
        behind = [row for row in rows if any(total.token_count == 10 for total in storage.sources(row.id))]
    assert [row.correlation_id for row in behind] == [correlation(0)]


def test_nothing_has_no_share() -> None:
    """And no division by zero."""
    assert FrameworkShare(client=None, client_version="1", requests=1, tokens=0, unclassified=0).share == 0.0


def test_the_newest_requests_are_found_without_sorting(path: Path) -> None:
    """The question is asked by `doctor`, of databases of any size."""
    connection = open_database(path, read_only=True)
    try:
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {SHARES}", (5,))]
    finally:
        connection.close()
    assert any(step.startswith("SCAN requests") or "requests USING INTEGER PRIMARY KEY" in step for step in plan), plan
    assert any("r USING PRIMARY KEY (lane=?)" in step for step in plan), plan


def test_a_database_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """For the person who asked."""
    with pytest.raises(StorageError):
        framework_shares(tmp_path / "missing.db")
