"""m0025: how full an account's limits were, and which requests a subscription paid for.

A sample is what one answer's head said of one window, and goes with its request. The hours stay: they are a history
of the account and tell nothing of any prompt.
"""

from __future__ import annotations

STATEMENTS = (
    # 1: dollars are what the API would have charged (sansio.quota.pays_by_subscription).
    "ALTER TABLE requests ADD COLUMN subscription INTEGER NOT NULL DEFAULT 0",
    # What to call the dollars of a time: the first row of each kind tells.
    "CREATE INDEX requests_paid ON requests (subscription, request_initiated) WHERE cost IS NOT NULL",
    """
    CREATE TABLE quota_windows (
      id INTEGER PRIMARY KEY,
      account TEXT NOT NULL,  -- the organisation as the API names it, else the API key's hash; '': unknown
      name TEXT NOT NULL,     -- '5h', '7d', 'input-tokens'
      UNIQUE (account, name)
    ) STRICT
    """,
    """
    CREATE TABLE quota_samples (
      "window" INTEGER NOT NULL REFERENCES quota_windows(id),
      at INTEGER NOT NULL,     -- ns since the epoch: the head came
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      used INTEGER,            -- millionths; this and what follows NULL: not said
      capacity INTEGER,        -- the limit itself
      remaining INTEGER,
      reset INTEGER,           -- ns since the epoch
      status TEXT,
      PRIMARY KEY ("window", at, request)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX quota_samples_request ON quota_samples (request)",
    """
    CREATE TABLE quota_hours (
      "window" INTEGER NOT NULL REFERENCES quota_windows(id),
      hour INTEGER NOT NULL,   -- since the epoch
      samples INTEGER NOT NULL,
      rejected INTEGER NOT NULL,  -- those of them with that status
      least INTEGER, most INTEGER,
      last_at INTEGER NOT NULL,   -- the latest sample, and what it said
      used INTEGER, capacity INTEGER, remaining INTEGER, reset INTEGER, status TEXT,
      PRIMARY KEY ("window", hour)
    ) STRICT, WITHOUT ROWID
    """,
)
