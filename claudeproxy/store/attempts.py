"""Which attempt at a request counts as context: the last one that was explained, and no count of tokens.

Apart from `lineage`, which finds out what repeats what, and from `aggregates`, which add up: every attempt is kept and
what it cost is paid, but a model reads its context once.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from claudeproxy.store.aggregates import SourceAggregates

_ATTEMPTS = """
SELECT q.n, q.counted, q.request_class IS NOT 'count_tokens' AND NOT EXISTS (
  SELECT 1 FROM requests r WHERE r.retry_of = :first AND r.n > q.n AND r.total_tokens IS NOT NULL) AS counts
FROM requests q WHERE q.n = :first OR q.retry_of = :first
"""


@contextmanager
def count_attempts(connection: sqlite3.Connection, aggregates: SourceAggregates, number: int) -> Iterator[None]:
    """Do inside what may change which attempts belong together. The caller holds the transaction."""
    before = _first(connection, number)
    yield
    for first in {before, _first(connection, number)}:
        for attempt in connection.execute(_ATTEMPTS, {"first": first}).fetchall():
            if attempt["counted"] != attempt["counts"]:
                with aggregates.changing(attempt["n"]):
                    connection.execute("UPDATE requests SET counted = ? WHERE n = ?", (attempt["counts"], attempt["n"]))


def _first(connection: sqlite3.Connection, number: int) -> int:
    return int(connection.execute("SELECT ifnull(retry_of, n) FROM requests WHERE n = ?", (number,)).fetchone()[0])
