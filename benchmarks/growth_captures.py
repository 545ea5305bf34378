"""How a database, its queries and its retention grow with the captures in it.

Part of `growth`: points of its last curves. Captures are those of `pairs`, of real size (bodies up to 200 KB that share
their history) or of 2 KB; questions are those of `queries`. Filling takes 6 to 20 ms of a core for a capture, so files
are kept where the person says, and an interrupted filling goes on where it was. Retention runs on a copy: what it
deletes is the oldest thirtieth, a day of a month, with nobody beside it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import REAL, SMALL, fill
from queries import measure
from weighing import checkpoint, weigh

from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from growth_load import Take
    from overhead import Row

SHAPES = {"real": REAL, "small": SMALL}
CAPTURES = {"real": (10, 100, 1_000, 10_000, 100_000), "small": (10, 100, 1_000, 10_000, 100_000, 1_000_000)}
DAYS = 30
HEAVIEST = 8  # tables that are named


def captures(shape: str, counts: Sequence[int], take: Take, databases: Path, *, filling: bool) -> None:
    """Take points for so many captures. Without `filling`, those whose file is there, as it is."""
    databases.mkdir(parents=True, exist_ok=True)
    for count in sorted(counts):
        database = databases / f"{shape}-{count}.db"
        if not filling and not database.exists():
            continue
        began = time.process_time()
        with closing(CaptureStorage(database)) as storage:
            before = storage.query_requests(RequestFilters(limit=1)).total
            if filling and before < count:
                fill(storage, count, SHAPES[shape])
            total = storage.query_requests(RequestFilters(limit=1)).total
        row: Row = {"shape": shape, "captures": float(total)}
        if total > before:
            row["fill_cpu_ms"] = 1000 * (time.process_time() - began) / (total - before)
        if total:
            take([row | point(database, total)])


def point(database: Path, total: int) -> Row:
    """Size, queries and retention of one database."""
    tables = weigh(database)
    row: Row = {"megabytes": tables.pop("file"), "bytes_per_capture": 0.0}
    row["bytes_per_capture"] = 1e6 * float(row["megabytes"] or 0) / total
    row |= {f"table {name}, MB": size for name, size in list(tables.items())[:HEAVIEST]}
    print(f"{total} captures, {row['megabytes']:.1f} MB", flush=True)
    row |= {f"query {name}": figure for name, figure in measure(database, total).items() if name.endswith("ms")}
    return row | retention(database, total)


def retention(database: Path, total: int) -> Row:
    """Delete the oldest thirtieth of a copy."""
    with tempfile.TemporaryDirectory(dir=database.parent) as scratch:
        copy = Path(shutil.copy(database, scratch))
        with closing(CaptureStorage(copy)) as storage:
            some = max(1, total // DAYS)
            newest = storage.query_requests(RequestFilters(limit=1, offset=max(0, total - 1 - some))).rows
            began = time.process_time()
            report = Retention(storage).expire(before_ns=newest[0].timestamp)
            cpu = time.process_time() - began
        size = checkpoint(copy)
    return {
        "retention_deleted": float(report.requests),
        "retention_seconds": report.seconds,
        "retention_cpu_ms_per_capture": 1000 * cpu / max(1, report.requests),
        "retention_longest_step_ms": 1000 * report.longest_step,
        "retention_megabytes_after": size / 1e6,
    }
