from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.store.storage import CaptureStorage
from tests.store.five import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "home" / "captures.db"


@pytest.fixture
def storage(database: Path) -> Iterator[CaptureStorage]:
    with CaptureStorage(database) as opened:
        yield opened


@pytest.fixture
def filled(storage: CaptureStorage) -> CaptureStorage:
    fill(storage)
    return storage
