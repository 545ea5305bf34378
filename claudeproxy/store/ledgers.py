"""What the ledgers have learned, saved: state and pages by provider and model.

Apart from `accounts`, which saves the numbers of requests, because a ledger belongs to no request: it outlives
retention. What is in a state or a page is the business of whoever makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import LedgerChange

_SETTLED = "SELECT 1 FROM requests q JOIN accounts a ON a.request = q.n WHERE q.id = ? AND q.accuracy = 0"

Saved = tuple[str, list[bytes]]
"""A ledger's state, and the pages of its memory in the order in which they were written."""


def load_ledger(connection: sqlite3.Connection, provider: str, model: str) -> Saved | None:
    """Return what was saved of a ledger; None when it has learned nothing yet."""
    row = connection.execute(
        "SELECT id, state FROM ledgers WHERE provider = ? AND model = ? AND state IS NOT NULL", (provider, model)
    ).fetchone()
    if row is None:
        return None
    pages = connection.execute("SELECT data FROM ledger_pages WHERE ledger = ? ORDER BY id", (row["id"],)).fetchall()
    return str(row["state"]), [bytes(page["data"]) for page in pages]


def ledger_id(connection: sqlite3.Connection, provider: str, model: str) -> int:
    """Return the number of a ledger, found or made."""
    key = (provider, model)
    row = connection.execute("SELECT id FROM ledgers WHERE provider = ? AND model = ?", key).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO ledgers (provider, model) VALUES (?, ?) RETURNING id", key).fetchone()
    return int(row[0])


def clock(connection: sqlite3.Connection, ledger: int) -> int:
    """Return how often a ledger was saved: with each bill that it learned from. It never goes back."""
    return int(connection.execute("SELECT clock FROM ledgers WHERE id = ?", (ledger,)).fetchone()[0])


def clock_of(connection: sqlite3.Connection, provider: str, model: str) -> int:
    """Return the same by provider and model; 0 where there is no ledger yet."""
    row = connection.execute("SELECT clock FROM ledgers WHERE provider = ? AND model = ?", (provider, model)).fetchone()
    return 0 if row is None else int(row[0])


def save_change(connection: sqlite3.Connection, ledger: int, change: LedgerChange) -> int:
    """Save what a ledger learned from one bill; return its clock after that."""
    if change.whole:
        connection.execute("DELETE FROM ledger_pages WHERE ledger = ?", (ledger,))
    if change.page:
        connection.execute("INSERT INTO ledger_pages (ledger, data) VALUES (?, ?)", (ledger, change.page))
    row = connection.execute(
        "UPDATE ledgers SET state = ?, clock = clock + 1 WHERE id = ? RETURNING clock", (change.state, ledger)
    ).fetchone()
    return int(row[0])


def is_settled(connection: sqlite3.Connection, request_id: str) -> bool:
    """Tell whether a request's numbers are those of a bill or a count: they stay as they are."""
    return connection.execute(_SETTLED, (request_id,)).fetchone() is not None


def forget_all(connection: sqlite3.Connection) -> None:
    """Delete what ledgers know and all that was settled: the accounts are to be made again from the captures, in order.

    Their clocks go on: who has a ledger in memory sees that it is another one now.
    """
    for table in ("node_tokens", "accounts", "ledger_pages", "rates"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
    connection.execute("UPDATE ledgers SET state = NULL, clock = clock + 1")
    # Whoever remembers ids looks at this count when it begins to write (`StorageSession`).
    connection.execute("UPDATE deletions SET count = count + 1")
