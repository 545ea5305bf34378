"""How much of what clients write stays unclassified, by client version: does attribution keep up with them?

Apart from `storage` because it is a question about the rules and not about captures. A client's new version brings new
texts; what no rule explains is the source ``Framework: unclassified``, and when its share grows the rules want work.
The requests behind a number: ``RequestFilters(source="Framework: unclassified")``.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.errors import StorageError
from claudeproxy.store.database import open_database
from claudeproxy.store.session import StorageSession

if TYPE_CHECKING:
    from pathlib import Path

LAST = 500  # captures that are looked at: some days' work, and read in a few milliseconds

# By `n`, the order of arrival, because it is the primary key: the newest without sorting. CROSS JOIN keeps SQLite from
# beginning with the framework's rows in all the database.
SHARES = """
WITH newest AS (
  SELECT n, client, client_version FROM requests WHERE rules > 0 AND client_version IS NOT NULL ORDER BY n DESC LIMIT ?)
SELECT q.client, q.client_version, count(DISTINCT q.n) AS requests, sum(s.tokens) AS tokens,
  sum(CASE WHEN o.name = 'unclassified' THEN s.tokens ELSE 0 END) AS unclassified
FROM newest q CROSS JOIN request_sources s ON s.request = q.n CROSS JOIN sources o ON o.id = s.source
WHERE o.type = 'Framework'
GROUP BY q.client, q.client_version ORDER BY max(q.n) DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameworkShare:
    """The framework's tokens in one client version's newest requests, and those of them that no rule explained."""

    client: str | None
    client_version: str
    requests: int
    tokens: int
    unclassified: int

    @property
    def share(self) -> float:
        """The unclassified part, 0 to 1; 0.0 of nothing."""
        return self.unclassified / self.tokens if self.tokens else 0.0


def framework_shares(where: Path | StorageSession, *, last: int = LAST) -> list[FrameworkShare]:
    """Return a share for each client version among the `last` explained requests, the newest version first.

    :param where: a storage, read-only or not, whose connection is used; or the database's path.
    :raises StorageError: the database cannot be opened or read.
    """
    if isinstance(where, StorageSession):
        with where.reading() as connection:
            return _shares(connection, last)
    with closing(open_database(where, read_only=True)) as connection:
        try:
            return _shares(connection, last)
        except sqlite3.Error as error:
            raise StorageError(f"the database cannot be read: {error}") from error


def _shares(connection: sqlite3.Connection, last: int) -> list[FrameworkShare]:
    rows = connection.execute(SHARES, (last,)).fetchall()
    return [FrameworkShare(**{name: row[name] for name in row.keys()}) for row in rows]  # noqa: SIM118 - a Row
