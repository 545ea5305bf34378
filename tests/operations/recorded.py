"""The recorder's work behind the journal: lines and statements for the next turn of a conversation that is known."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.logs import configure_logging
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.conversations import long_conversation
from tests.insight.billed import Biller
from tests.operations.lines import Lines

if TYPE_CHECKING:
    from claudeproxy.testing.client import Turn

SIZES = (100, 400)  # KB


def recorded() -> dict[str, int]:
    """Count dividing a prompt into its sources, and the whole way of an exchange into the database."""
    configure_logging(level="error")
    counts = {}
    for size in SIZES:
        before, turn = _turn(size * 1000)
        engine = AttributionEngine()
        with Lines() as cold:
            engine.analyze_request(turn.body, headers=turn.headers).segments()
        engine = AttributionEngine()
        engine.analyze_request(before[-1].body, headers=before[-1].headers)
        with Lines() as warm:
            engine.analyze_request(turn.body, headers=turn.headers).segments()
        counts[f"divide: a prompt of {size} KB, never seen"] = cold.count
        counts[f"divide: a prompt of {size} KB, but for its last turn seen"] = warm.count
    for size in SIZES:
        before, turn = _turn(size * 1000)
        with tempfile.TemporaryDirectory() as directory, CaptureStorage(Path(directory) / "captures.db") as storage:
            biller = Biller(storage)
            biller.talk(before)
            statements: list[str] = []
            storage._connection.set_trace_callback(statements.append)
            with Lines() as lines:
                biller.talk([turn])
        counts[f"store, divide, account: a turn of {size} KB"] = lines.count
        counts[f"store, divide, account: a turn of {size} KB, SQL statements"] = len(statements)
    return counts


def _turn(size: int) -> tuple[list[Turn], Turn]:
    """Return the main conversation's first turn of at least so many bytes, and the three before it."""
    turns = [turn for turn in long_conversation() if turn.agent is None]
    at = next(index for index, turn in enumerate(turns) if len(turn.body) >= size)
    return turns[at - 3 : at], turns[at]
