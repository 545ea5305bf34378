"""Migration 2: who a request follows, repeats and was started by; the whole context of stateful threads.

Apart from `migrations` for length. Everything here is derived from captures: it can be deleted and made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.store.canonical import START, canonical_digest, link
from claudeproxy.store.codec import Codec
from claudeproxy.store.places import MASKED, MESSAGES, OPENS, ROLE_SHIFT, section_of

if TYPE_CHECKING:
    import sqlite3

STATEMENTS = (
    # Hash chain over the messages of a path in canonical form (store/canonical.py): two requests of one conversation
    # share it although breakpoints moved, tools were loaded or a string became a list. NULL: no message yet.
    "ALTER TABLE nodes ADD COLUMN chain BLOB",
    # The last node of the whole context of a request that continues a stateful thread: what was billed is this path.
    # NULL: the context is the body, as it is for nearly all.
    "ALTER TABLE requests ADD COLUMN context_node INTEGER REFERENCES nodes(id)",
    "ALTER TABLE requests ADD COLUMN thread TEXT",  # 'create' or 'continue', as the client says
    # 0: the thread began before this database saw it; the context is what was seen of it.
    "ALTER TABLE requests ADD COLUMN context_complete INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE requests ADD COLUMN chain BLOB",  # of the last node of the context; NULL: never a predecessor
    "ALTER TABLE requests ADD COLUMN begins_prompt INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE requests ADD COLUMN retry_count INTEGER NOT NULL DEFAULT 0",  # as the client counts
    # The first attempt at the same request, when this is another one.
    "ALTER TABLE requests ADD COLUMN retry_of INTEGER REFERENCES requests(n) ON DELETE SET NULL",
    # The request whose messages are the longest beginning of these.
    "ALTER TABLE requests ADD COLUMN predecessor INTEGER REFERENCES requests(n) ON DELETE SET NULL",
    # From 1, within a session and agent; attempts at one request share them. NULL: not part of a conversation.
    "ALTER TABLE requests ADD COLUMN prompt_index INTEGER",
    "ALTER TABLE requests ADD COLUMN turn_index INTEGER",
    "CREATE INDEX requests_context ON requests (context_node) WHERE context_node IS NOT NULL",
    "CREATE INDEX requests_chain ON requests (chain) WHERE chain IS NOT NULL",
    "CREATE INDEX requests_retry ON requests (retry_of) WHERE retry_of IS NOT NULL",
    "CREATE INDEX requests_predecessor ON requests (predecessor) WHERE predecessor IS NOT NULL",
    # Calls that start subagents, from the answers that made them: clients before 2.1.197 name their agents nowhere
    # else, and later ones call the user's own agents all by one name.
    """
    CREATE TABLE agent_calls (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      call_id TEXT NOT NULL,
      agent_type TEXT,            -- NULL: the call named none
      prompt_hash BLOB NOT NULL,  -- SHA-256 of the prompt's UTF-8 text
      PRIMARY KEY (request, call_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX agent_calls_prompt ON agent_calls (prompt_hash)",
)


def fill_chains(connection: sqlite3.Connection) -> None:
    """Give the nodes of an older database their chains. Parents are older than their children."""
    codec = Codec()
    chains: dict[int, bytes | None] = {0: None}
    for node, parent, place, how, data in connection.execute(
        "SELECT n.id, n.parent, n.place, b.codec, b.data FROM nodes n JOIN blocks b ON b.id = n.block"
        " WHERE n.id > 0 ORDER BY n.id"
    ).fetchall():
        chain = chains[parent]
        if section_of(place) == MESSAGES and not place & MASKED:
            digest = canonical_digest(codec.decompress(how, data))
            chain = link(chain or START, digest, role=place >> ROLE_SHIFT, opens=bool(place & OPENS))
        chains[node] = chain
    connection.executemany("UPDATE nodes SET chain = ? WHERE id = ?", [(c, n) for n, c in chains.items() if c])
