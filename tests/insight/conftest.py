from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.insight.feedback import FeedbackManager
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import START

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "captures.db"


@pytest.fixture
def storage(database: Path) -> Iterator[CaptureStorage]:
    with CaptureStorage(database) as opened:
        yield opened


@pytest.fixture
def feedback(storage: CaptureStorage) -> FeedbackManager:
    times = iter(range(START, START + 1000))
    return FeedbackManager(storage, clock=lambda: next(times))


@pytest.fixture
def metrics(storage: CaptureStorage) -> SourceMetrics:
    return SourceMetrics(storage)
