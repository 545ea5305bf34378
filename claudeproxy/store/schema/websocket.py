"""m0026: what passed through upgraded connections, as messages.

Payloads are small, many and alike, so they are stored in lots, one behind the other, which compress together; as blocks
each would have a price and hardly one would be shared. All of it goes with its request.
"""

from __future__ import annotations

STATEMENTS = (
    """
    CREATE TABLE websocket_streams (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      direction INTEGER NOT NULL,  -- 0 sent (client to API), 1 received
      kept TEXT NOT NULL,
      length INTEGER NOT NULL,     -- bytes that passed
      recorded INTEGER NOT NULL,   -- of them in the record: what messages were read from
      problem TEXT,                -- why not all that passed is told as messages; NULL: it is
      undecodable_from INTEGER,    -- first byte that made no sense; NULL: all did
      codec INTEGER NOT NULL,
      raw BLOB NOT NULL,           -- what follows that byte, up to a bound
      PRIMARY KEY (request, direction)
    ) STRICT
    """,
    """
    CREATE TABLE websocket_lots (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      lot INTEGER NOT NULL,
      sha256 BLOB NOT NULL,
      codec INTEGER NOT NULL,
      data BLOB NOT NULL,
      PRIMARY KEY (request, lot)
    ) STRICT
    """,
    """
    CREATE TABLE websocket_messages (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      number INTEGER NOT NULL,     -- from 0, in the order of their last bytes
      direction INTEGER NOT NULL,
      opcode INTEGER NOT NULL,     -- RFC 6455, 5.2
      at INTEGER NOT NULL,         -- ns since the epoch, its last byte
      size INTEGER NOT NULL,       -- of the payload, decompressed
      lot INTEGER NOT NULL,
      start INTEGER NOT NULL,      -- of what is kept, in the lot
      kept INTEGER NOT NULL,       -- less than size where a message was too large
      wire_start INTEGER NOT NULL, -- of its first frame, in the bytes of its direction
      wire_size INTEGER NOT NULL,
      frames INTEGER NOT NULL,
      compressed INTEGER NOT NULL,
      complete INTEGER NOT NULL,
      PRIMARY KEY (request, number)
    ) STRICT, WITHOUT ROWID
    """,
)
