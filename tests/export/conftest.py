from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.export.support import filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.store.storage import CaptureStorage


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaptureStorage]:
    """Tests only read it."""
    with filled(tmp_path_factory.mktemp("export") / "captures.db") as storage:
        yield storage
