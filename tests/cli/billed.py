"""Homes with bills in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.conversations import demo_conversation
from tests.insight.billed import KNOWN, MINUTE, Biller

if TYPE_CHECKING:
    from pathlib import Path

DAY = 24 * 60 * MINUTE
BEGIN = 1_795_003_200_000_000_000  # 2026-11-18T12:00:00Z


def fill_billed(home: Path, *, days: int = 1, model: bytes | None = KNOWN) -> str:
    """Record the demonstration once a day from `BEGIN` on, with bills; return the session's id."""
    home.mkdir(exist_ok=True)
    with CaptureStorage(home / "captures.db") as storage:
        biller = Biller(storage)
        for day in range(days):
            biller.now = BEGIN + day * DAY
            ids = biller.talk(demo_conversation(), model=model)
        session_id = storage.get_request(ids[0]).identity.session_id
    assert session_id is not None
    return session_id
