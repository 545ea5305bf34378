"""m0015: what became of exchanges, in the order in which it was stored: what the live feeds read.

Triggers, so that whoever stores a capture tells of it in the same transaction and nobody has to remember to. A row says
only that there was a change: what is known of the exchange is read when the change is told. The number of the latest
one is in ``sqlite_sequence``; AUTOINCREMENT, so that a number never comes back and a reader can go on from the one that
it saw last.
"""

from __future__ import annotations

STARTED, ENDED, ATTRIBUTED = range(3)
"""Column `kind`: seen while in flight; not in flight any more; its context explained, or its sums derived anew."""

_NOTE = """
  DELETE FROM changes WHERE request = NEW.n AND kind = {kind};
  INSERT INTO changes (request, kind) VALUES (NEW.n, {kind});
"""

STATEMENTS = (
    # One row for each request and kind: a change that comes again moves to the end, so the table does not grow with
    # rebuilds. Three small rows a request; they go with it.
    """
    CREATE TABLE changes (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      kind INTEGER NOT NULL,
      UNIQUE (request, kind)
    ) STRICT
    """,
    f"""
    CREATE TRIGGER requests_started AFTER INSERT ON requests WHEN NEW.state = 'in_flight'
    BEGIN {_NOTE.format(kind=STARTED)} END
    """,
    f"""
    CREATE TRIGGER requests_seen_ended AFTER INSERT ON requests WHEN NEW.state <> 'in_flight'
    BEGIN {_NOTE.format(kind=ENDED)} END
    """,
    f"""
    CREATE TRIGGER requests_ended AFTER UPDATE OF state ON requests WHEN NEW.state <> OLD.state
    BEGIN {_NOTE.format(kind=ENDED)} END
    """,
    # The first explanation only: newer rules explain everything there is again, which is no news of any exchange.
    f"""
    CREATE TRIGGER requests_attributed AFTER UPDATE OF rules ON requests WHEN NEW.rules > 0 AND ifnull(OLD.rules, 0) = 0
    BEGIN {_NOTE.format(kind=ATTRIBUTED)} END
    """,
)
