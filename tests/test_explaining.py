"""A stored capture is explained, or left as it is: nothing that it holds is an error of the caller's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer
from claudeproxy.store.storage import CaptureStorage
from tests.capture.support import Store as Kept
from tests.capture.support import make_tap, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello there"}]}'


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[CaptureStorage]:
    """Two captures, as a recorder puts them together."""
    tap, kept = make_tap(tmp_path / "journal"), Kept()
    for text in (b"first", b"second"):
        tell(tap, request=(BODY.replace(b"hello", text),))
    kept.recorder(tmp_path / "journal").step()
    with closing(CaptureStorage(tmp_path / "captures.db")) as made:
        made.record(list(kept.rows.values()), {})
        yield made


def test_what_waits_is_explained_once(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    assert len(explainer.waiting(1)) == 1
    for request_id in explainer.waiting(8):
        explainer.explain_stored(request_id)
        assert storage.sources(request_id)
    assert explainer.waiting(8) == []
    assert (explainer.attributed, explainer.errors) == (2, 0)


def test_a_row_that_cannot_be_read_is_left_alone(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    with closing(sqlite3.connect(storage.path, isolation_level=None)) as database:
        database.execute("UPDATE requests SET skeleton = x'00ff' WHERE n = 1")
    for request_id in explainer.waiting(8):
        explainer.explain_stored(request_id)
    assert explainer.waiting(8) == []
    assert explainer.attributed == 1


def test_a_row_that_was_deleted_meanwhile_is_no_error(storage: CaptureStorage) -> None:
    explainer = Explainer(storage, AttributionEngine())
    explainer.explain_stored("00000000-0000-0000-0000-000000000000")
    explainer.settle("00000000-0000-0000-0000-000000000000")
    assert explainer.attributed == 0
