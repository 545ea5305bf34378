"""Secrets that were found in bodies: what, when, how often, through which source. Never the secret itself.

`secrets` and `secret_sources` outlive the captures, as the sums of the day history do: that a key left this machine
stays true when the conversation is gone. `secret_sightings` go with their request.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE secrets (
      id INTEGER PRIMARY KEY,
      rule TEXT NOT NULL,
      hash TEXT NOT NULL,           -- keyed with the installation's secret: the same secret has the same
      first_seen INTEGER NOT NULL,  -- ns since the epoch: the request that held it, or whose answer did
      last_seen INTEGER NOT NULL,
      sent INTEGER NOT NULL,        -- requests that held it: so often it left the machine
      received INTEGER NOT NULL,    -- answers that held it
      masked INTEGER NOT NULL,      -- of both together, those in which it is masked in the record
      UNIQUE (rule, hash)
    ) STRICT
    """,
    """
    CREATE TABLE secret_sightings (
      secret INTEGER NOT NULL REFERENCES secrets(id),
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      direction TEXT NOT NULL,      -- sent, received
      start INTEGER NOT NULL,       -- byte offset in the decoded body
      length INTEGER NOT NULL,
      masked INTEGER NOT NULL,
      source TEXT,                  -- label of the source of that place; NULL: to be looked up
      json_path TEXT,
      PRIMARY KEY (secret, request, direction, start)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX secret_sightings_request ON secret_sightings (request)",
    "CREATE INDEX secret_sightings_unplaced ON secret_sightings (request) WHERE source IS NULL",
    """
    CREATE TABLE secret_sources (
      secret INTEGER NOT NULL REFERENCES secrets(id),
      label TEXT NOT NULL,
      first_seen INTEGER NOT NULL,
      last_seen INTEGER NOT NULL,
      requests INTEGER NOT NULL,    -- in which it came through this source
      PRIMARY KEY (secret, label)
    ) STRICT, WITHOUT ROWID
    """,
)
