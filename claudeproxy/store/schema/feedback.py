"""m0011: ratings, and what each source was used for, cost and earned: in all, by hour, and by day of what has expired.

A request's share in a source's numbers moves with it: into the hours and the totals when it is explained or rated, from
the hours into the days when it is deleted. All but the days can be made again from the captures.
"""

from __future__ import annotations

# What is added up for a source. Integers, so that taking away undoes adding exactly. Ratings are millionths; a weight
# is the source's share of the request's context, in millionths.
MEASURES = (
    "usage_count",  # requests
    "total_tokens",
    "total_cost",  # pico-dollars, of the requests whose cost is known
    "priced_count",  # how many those are
    "feedback_count",
    "rating_sum",
    "rating_squares",
    "weight_sum",
    "weighted_ratings",
)
_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL" for name in MEASURES)

# What is added up over requests, for the summary.
TOTALS = (
    "requests",
    "tokens_sent",
    "tokens_received",
    "latency_us",
    "latency_count",
    "proxy_latency_us",
    "proxy_latency_count",
    "feedback_count",
    "rating_sum",
)
_TOTAL_COLUMNS = ", ".join(f"{name} INTEGER NOT NULL" for name in TOTALS)

STATEMENTS = (
    """
    CREATE TABLE feedback (
      request INTEGER PRIMARY KEY REFERENCES requests(n) ON DELETE CASCADE,
      id TEXT NOT NULL UNIQUE,
      rating INTEGER NOT NULL CHECK (rating BETWEEN -1000000 AND 1000000),  -- millionths
      feedback_text TEXT CHECK (length(feedback_text) <= 2000),
      user_id TEXT NOT NULL,
      submitted_at INTEGER NOT NULL  -- ns since the epoch
    ) STRICT
    """,
    "CREATE INDEX feedback_rating ON feedback (rating)",
    "CREATE INDEX feedback_submitted ON feedback (submitted_at)",
    """
    CREATE VIEW quality_feedback AS SELECT
      f.id, q.id AS request_id, p.id AS response_id, f.rating / 1000000.0 AS rating, f.feedback_text, f.user_id,
      f.submitted_at, f.request AS n
    FROM feedback f JOIN requests q ON q.n = f.request JOIN responses p ON p.request = f.request
    """,
    f"""
    CREATE TABLE context_source_metrics (
      id INTEGER PRIMARY KEY,
      source_type TEXT NOT NULL,
      source_name TEXT NOT NULL,    -- the type, where a source has no name
      {_COLUMNS},
      last_used INTEGER NOT NULL,   -- ns since the epoch: latest and earliest request
      created_at INTEGER NOT NULL,
      average_tokens REAL AS (total_tokens * 1.0 / usage_count),
      average_rating REAL AS (iif(feedback_count = 0, 0.0, rating_sum / 1000000.0 / feedback_count)),
      UNIQUE (source_type, source_name)
    ) STRICT
    """,
    "CREATE INDEX context_source_metrics_rating ON context_source_metrics (average_rating)",
    "CREATE INDEX context_source_metrics_usage ON context_source_metrics (usage_count)",
    # Of the captures that are there; `hour` since the epoch.
    f"""
    CREATE TABLE source_hours (
      metric INTEGER NOT NULL REFERENCES context_source_metrics(id), hour INTEGER NOT NULL, {_COLUMNS},
      PRIMARY KEY (metric, hour)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX source_hours_hour ON source_hours (hour)",
    # Of the captures that have been deleted; `day` since the epoch, UTC.
    f"""
    CREATE TABLE source_days (
      metric INTEGER NOT NULL REFERENCES context_source_metrics(id), day INTEGER NOT NULL, {_COLUMNS},
      last_used INTEGER NOT NULL, created_at INTEGER NOT NULL,
      PRIMARY KEY (metric, day)
    ) STRICT, WITHOUT ROWID
    """,
    f"CREATE TABLE request_days (day INTEGER PRIMARY KEY, {_TOTAL_COLUMNS}) STRICT",
)
