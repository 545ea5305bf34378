"""Everything counted together, for whoever watches the service: what is stored, what passed, how large the file is.

Apart from `storage` because it is a question about the whole and reads all of it: tens of milliseconds at ten thousand
captures. Sums include what retention has deleted (the day history), so they only grow; counts by state and billed
tokens are those of the captures that are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.store.aggregates import REQUEST_TOTALS
from claudeproxy.store.database import file_size
from claudeproxy.store.schema.feedback import TOTALS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.store.session import StorageSession

# What `CaptureStorage.summary` tells.
SUMMARY = """
SELECT (SELECT count(*) FROM requests) AS requests, (SELECT count(*) FROM responses) AS responses,
  (SELECT count(*) FROM requests WHERE state = 'in_flight') AS in_flight,
  (SELECT count(*) FROM request_bodies b JOIN requests q ON q.n = b.request WHERE q.body_kept = 'whole')
    AS stored_whole,
  (SELECT count(*) - 1 FROM blocks) AS blocks, (SELECT count(*) - 1 FROM nodes) AS nodes,
  (SELECT min(request_initiated) FROM requests) AS oldest, (SELECT max(request_initiated) FROM requests) AS newest
"""
_STATES = "SELECT state, count(*) FROM requests GROUP BY state ORDER BY state"
_LIVE = f"SELECT {REQUEST_TOTALS}"
_DAYS = f"SELECT {', '.join(f'ifnull(sum({name}), 0)' for name in TOTALS)} FROM request_days"  # noqa: S608 - ours
_COST = "SELECT ifnull(sum(total_cost), 0), ifnull(sum(priced_count), 0) FROM context_source_metrics"
_TYPES = """
SELECT source_type, sum(total_tokens), iif(sum(priced_count), sum(total_cost), NULL) FROM context_source_metrics
GROUP BY source_type ORDER BY source_type
"""
# Attempts that were sent again count: they were billed.
_MODELS = """
SELECT model, sum(total_tokens), sum(cost) FROM requests WHERE total_tokens IS NOT NULL AND model IS NOT NULL
GROUP BY model ORDER BY model
"""
_BILLED = """
SELECT ifnull(sum(input_tokens), 0), ifnull(sum(cache_creation_input_tokens), 0),
  ifnull(sum(cache_read_input_tokens), 0), ifnull(sum(output_tokens), 0) FROM responses
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The counts of one database. `totals` has the names of `schema.feedback.TOTALS`."""

    captures: Mapping[str, int]  # by state
    totals: Mapping[str, int]
    billed: Mapping[str, int]  # tokens by kind
    total_cost: int | None  # pico-dollars; None: nothing has a price
    by_type: Mapping[str, tuple[int, int | None]]  # source type to tokens and pico-dollars
    by_model: Mapping[str, tuple[int, int | None]]  # likewise, of the captures that are there; prompts' tokens
    database_bytes: int
    wal_bytes: int


def take_census(storage: StorageSession) -> Census:
    """Count everything.

    :raises StorageError: the database cannot be read.
    """
    with storage.reading() as connection:
        states = {str(row[0]): int(row[1]) for row in connection.execute(_STATES).fetchall()}
        live, days = connection.execute(_LIVE).fetchone(), connection.execute(_DAYS).fetchone()
        cost, priced = connection.execute(_COST).fetchone()
        billed = connection.execute(_BILLED).fetchone()
        types, models = connection.execute(_TYPES).fetchall(), connection.execute(_MODELS).fetchall()
    return Census(
        captures=states,
        totals={name: int(a + b) for name, a, b in zip(TOTALS, live, days, strict=True)},
        billed=dict(zip(("input", "cache_creation", "cache_read", "output"), map(int, billed), strict=True)),
        total_cost=int(cost) if priced else None,
        by_type={row[0]: (row[1], row[2]) for row in types},
        by_model={row[0]: (row[1], row[2]) for row in models},
        database_bytes=file_size(storage.path),
        wal_bytes=file_size(storage.path.with_name(storage.path.name + "-wal")),
    )
