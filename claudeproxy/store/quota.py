"""Samples of an account's limits, stored with the answer whose head told of them, and their hourly history.

Apart from `writer`, which maps an exchange to its rows, because this history outlives the exchange. An answer may be
stored more than once while it is in flight; it counts once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.sansio.quota import account_of, pays_by_subscription, read_quota
from claudeproxy.store.aggregates import HOUR
from claudeproxy.store.headers import parse_pairs, raw_headers
from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3

    from claudeproxy.model import RawHeaders

_HOUR = """
INSERT INTO quota_hours VALUES (
  :window, :hour, 1, :rejected, :used, :used, :at, :used, :capacity, :remaining, :reset, :status)
ON CONFLICT DO UPDATE SET samples = samples + 1, rejected = rejected + excluded.rejected,
  least = ifnull(min(least, excluded.least), ifnull(least, excluded.least)),
  most = ifnull(max(most, excluded.most), ifnull(most, excluded.most)),
  last_at = max(last_at, excluded.last_at),
  used = iif(excluded.last_at >= last_at, excluded.used, used),
  capacity = iif(excluded.last_at >= last_at, excluded.capacity, capacity),
  remaining = iif(excluded.last_at >= last_at, excluded.remaining, remaining),
  reset = iif(excluded.last_at >= last_at, excluded.reset, reset),
  status = iif(excluded.last_at >= last_at, excluded.status, status)
"""
_AT_ONCE = 1000  # answers of an older database that are read together


def save_quota(
    connection: sqlite3.Connection, number: int, headers: RawHeaders, *, at: int, key_hash: str | None
) -> None:
    """Keep what the head of the answer to request `number` says of limits. The caller holds the transaction.

    :param at: when the head came, ns since the epoch.
    """
    readings = read_quota(headers)
    if not readings or connection.execute("SELECT 1 FROM quota_samples WHERE request = ?", (number,)).fetchone():
        return
    account = clean(account_of(headers) or key_hash or "")
    for one in readings:
        window = _window(connection, account, clean(one.window))
        values = {
            "window": window,
            "at": at,
            "request": number,
            "used": one.used,
            "capacity": one.limit,
            "remaining": one.remaining,
            "reset": one.reset,
            "status": one.status,
        }
        connection.execute(
            "INSERT INTO quota_samples VALUES (:window, :at, :request, :used, :capacity, :remaining, :reset, :status)",
            values,
        )
        connection.execute(_HOUR, {**values, "hour": at // HOUR, "rejected": int(one.status == "rejected")})


def _window(connection: sqlite3.Connection, account: str, name: str) -> int:
    key = (account, name)
    row = connection.execute("SELECT id FROM quota_windows WHERE account = ? AND name = ?", key).fetchone()
    if row is None:
        row = connection.execute("INSERT INTO quota_windows (account, name) VALUES (?, ?) RETURNING id", key).fetchone()
    return int(row[0])


def fill_quota(connection: sqlite3.Connection) -> None:
    """Read what the answers of an older database said (a migration's second half); some 30 µs an answer."""
    newest = int(connection.execute("SELECT ifnull(max(n), 0) FROM requests").fetchone()[0])
    for low in range(0, newest, _AT_ONCE):
        rows = connection.execute(
            "SELECT q.n, p.timestamp, q.api_key_hash, q.headers AS asked, p.headers AS answered"
            " FROM captured_requests q LEFT JOIN captured_responses p ON p.n = q.n WHERE q.n > ? AND q.n <= ?",
            (low, low + _AT_ONCE),
        ).fetchall()
        for number, at, key_hash, asked, answered in rows:
            response = raw_headers(parse_pairs(answered))
            if pays_by_subscription(raw_headers(parse_pairs(asked)), response):
                connection.execute("UPDATE requests SET subscription = 1 WHERE n = ?", (number,))
            if answered is not None:
                save_quota(connection, number, response, at=at, key_hash=key_hash)
