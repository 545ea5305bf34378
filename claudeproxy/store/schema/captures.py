"""m0001: blocks and nodes, requests and responses, segments and their sources.

Rows are deleted through ``requests``: everything else cascades.
"""

from __future__ import annotations

_BLOCKS_AND_NODES = (
    # A block: the exact bytes of a tool, a system block or a content block without its cache_control member; also long
    # literals between blocks. AUTOINCREMENT here and below: an id that was deleted never comes back, so a foreign key
    # is proof against a writer's stale cache.
    """
    CREATE TABLE blocks (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      sha256 BLOB NOT NULL UNIQUE,  -- of the bytes, not of their stored form
      codec INTEGER NOT NULL,       -- how `data` is stored: store/codec.py
      length INTEGER NOT NULL,      -- bytes before compression
      data BLOB NOT NULL
    ) STRICT
    """,
    # What a block means somewhere. That follows from the path, but most blocks mean the same on every path (a new tool
    # in front gives the whole history new nodes), so nodes share their explanation where it is equal.
    """
    CREATE TABLE explanations (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      block INTEGER NOT NULL REFERENCES blocks(id) ON DELETE CASCADE,
      rules INTEGER NOT NULL REFERENCES rules(id)
    ) STRICT
    """,
    "CREATE INDEX explanations_block ON explanations (block)",
    # Roles of messages. Numbers are part of nodes.place.
    "CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    "INSERT INTO roles VALUES (0, ''), (1, 'system'), (2, 'user'), (3, 'assistant')",
    # A node: a block in its place. A context is a path: from a request's last node along `parent` to node 0.
    # Parents are older than their children, so `id` also sorts a path into prompt order.
    """
    CREATE TABLE nodes (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      parent INTEGER NOT NULL REFERENCES nodes(id),
      block INTEGER NOT NULL REFERENCES blocks(id),
      place INTEGER NOT NULL,          -- section, role, whether a message starts here: store/places.py
      gap INTEGER NOT NULL REFERENCES blocks(id),  -- bytes before it where it was first seen; others: skeleton
      depth INTEGER NOT NULL,          -- 1 for the first block of a prompt
      message_index INTEGER NOT NULL,  -- -1 for tools and system
      item_index INTEGER NOT NULL,     -- position in its array, -1 for a bare string
      explanation INTEGER REFERENCES explanations(id),  -- NULL: none yet
      UNIQUE (parent, block, place)
    ) STRICT
    """,
    # Block 0 and node 0: no bytes at all, and where every path ends. Never part of a context.
    "INSERT INTO blocks VALUES (0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0, 0, x'')",
    "INSERT INTO nodes VALUES (0, 0, 0, 0, 0, 0, -1, -1, NULL)",
    "CREATE INDEX nodes_block ON nodes (block)",  # which contexts hold a block; whether any does
)

_REQUESTS = (
    # Header fields seen more than once. A request's header_data is a JSON list of these ids and, for fields that were
    # new, of [name, value] pairs.
    """
    CREATE TABLE header_fields (
      id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, value TEXT NOT NULL, UNIQUE (name, value)
    ) STRICT
    """,
    "CREATE TABLE rules (id INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE) STRICT",
    "INSERT INTO rules VALUES (0, '')",
    """
    CREATE TABLE requests (
      n INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival in the database: stable paging (as_of)
      id TEXT NOT NULL UNIQUE,              -- UUIDv5 of correlation_id
      correlation_id TEXT NOT NULL UNIQUE,
      state TEXT NOT NULL,
      request_initiated INTEGER NOT NULL,   -- this and the next four: ns since the epoch, NULL: never came
      proxy_received INTEGER,
      forwarded INTEGER,
      response_received INTEGER,
      delivered INTEGER,
      method TEXT NOT NULL,
      url TEXT NOT NULL,
      path TEXT NOT NULL,                   -- of the URL, without query: for the filter
      upstream_url TEXT,                    -- NULL: the same as url
      http_version TEXT NOT NULL,
      entry_mode TEXT NOT NULL,
      owner TEXT NOT NULL,                  -- the relay process; its lock tells whether it lives
      header_data TEXT NOT NULL,
      api_key_hash TEXT,
      error TEXT,
      error_kind TEXT,
      request_head_us INTEGER NOT NULL,     -- this and the next three: the proxy's own time, microseconds
      request_body_us INTEGER NOT NULL,
      response_head_us INTEGER NOT NULL,
      connect_us INTEGER NOT NULL,
      early_response INTEGER NOT NULL,
      informational TEXT,                   -- JSON list of 1xx status codes, NULL: none
      session_id TEXT, agent_id TEXT, parent_agent_id TEXT, agent_type TEXT, request_class TEXT,
      client TEXT, client_version TEXT, model TEXT, project TEXT, previous_message_id TEXT,
      total_tokens INTEGER,                 -- sum of request_sources.tokens
      rules INTEGER REFERENCES rules(id),   -- version that explained it; NULL: to be explained, 0: nothing to explain
      body_kept TEXT NOT NULL,
      body_length INTEGER NOT NULL,         -- bytes on the wire
      wire_sha256 BLOB,                     -- of the bytes on the wire; NULL: the same as body_sha256, or unknown
      body_sha256 BLOB,                     -- of the bytes kept, content coding taken off; NULL: none kept
      body_encoding TEXT,                   -- the content coding that was taken off
      node INTEGER REFERENCES nodes(id),    -- last node of the context; NULL: see request_bodies
      skeleton BLOB                         -- what differs from the nodes' defaults: store/skeleton.py
    ) STRICT
    """,
    "CREATE INDEX requests_time ON requests (request_initiated)",
    "CREATE INDEX requests_session ON requests (session_id, request_initiated) WHERE session_id IS NOT NULL",
    "CREATE INDEX requests_in_flight ON requests (owner) WHERE state = 'in_flight'",
    "CREATE INDEX requests_rules ON requests (rules)",
    "CREATE INDEX requests_node ON requests (node)",
    # Blocks that a skeleton names (they have no node): without this, nothing would keep them from being collected.
    """
    CREATE TABLE skeleton_blocks (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      block INTEGER NOT NULL REFERENCES blocks(id),
      PRIMARY KEY (request, block)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX skeleton_blocks_block ON skeleton_blocks (block)",
    # Bodies that were not cut: partial ones, other formats, JSON that neither scanner reads.
    """
    CREATE TABLE request_bodies (
      request INTEGER PRIMARY KEY REFERENCES requests(n) ON DELETE CASCADE,
      codec INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT
    """,
)

_RESPONSES = (
    """
    CREATE TABLE responses (
      request INTEGER PRIMARY KEY REFERENCES requests(n) ON DELETE CASCADE,
      id TEXT NOT NULL UNIQUE,              -- UUIDv5 of the correlation_id
      timestamp INTEGER NOT NULL,           -- response_received, or request_initiated where that never came
      status_code INTEGER NOT NULL,
      reason TEXT NOT NULL,
      http_version TEXT NOT NULL,
      header_data TEXT NOT NULL,
      trailers TEXT,                        -- JSON list of pairs, NULL: none
      origin TEXT NOT NULL,                 -- upstream, or proxy for an answer of ours
      latency_us INTEGER,                   -- forwarded to response_received, 0 for an early response
      proxy_latency_us INTEGER NOT NULL,
      request_id_header TEXT,
      message_id TEXT, model TEXT, stop_reason TEXT, error_type TEXT, streamed INTEGER NOT NULL,
      input_tokens INTEGER, cache_creation_input_tokens INTEGER, cache_read_input_tokens INTEGER,
      cache_creation_5m INTEGER, cache_creation_1h INTEGER, output_tokens INTEGER, thinking_tokens INTEGER,
      web_search_requests INTEGER, web_fetch_requests INTEGER,
      service_tier TEXT, speed TEXT, inference_geo TEXT,
      usage_rest TEXT,                      -- the usage JSON whole, where the columns do not say it all
      body_kept TEXT NOT NULL,
      body_length INTEGER NOT NULL,
      body_sha256 BLOB
    ) STRICT
    """,
    "CREATE INDEX responses_time ON responses (timestamp)",
    "CREATE INDEX responses_message ON responses (message_id) WHERE message_id IS NOT NULL",  # previous answers
    # Apart from responses, so that scanning those does not read the bodies' pages.
    """
    CREATE TABLE response_bodies (
      request INTEGER PRIMARY KEY REFERENCES requests(n) ON DELETE CASCADE,
      codec INTEGER NOT NULL, data BLOB NOT NULL
    ) STRICT
    """,
    # How far each relay's journal is recorded; moves in the transaction that stores what was read.
    """
    CREATE TABLE cursors (
      owner TEXT PRIMARY KEY, segment INTEGER NOT NULL, position INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
)

_ATTRIBUTION = (
    """
    CREATE TABLE sources (
      id INTEGER PRIMARY KEY,
      type TEXT NOT NULL,
      name TEXT,
      plugin TEXT,
      via TEXT,
      label TEXT NOT NULL  -- for people and for the filter: 'MCP: context7'
    ) STRICT
    """,
    "CREATE UNIQUE INDEX sources_key ON sources (type, ifnull(name, ''), ifnull(plugin, ''), ifnull(via, ''))",
    "CREATE INDEX sources_label ON sources (label)",
    # What segments have in common, so that a segment is a few small integers and a hash.
    """
    CREATE TABLE segment_labels (
      id INTEGER PRIMARY KEY,
      source INTEGER NOT NULL REFERENCES sources(id),
      kind TEXT NOT NULL,
      path TEXT NOT NULL,      -- within the block: '.content[0].text'
      rule TEXT NOT NULL,
      evidence TEXT NOT NULL,  -- '': none
      confidence REAL NOT NULL,
      UNIQUE (source, kind, path, rule, evidence, confidence)
    ) STRICT
    """,
    # The segments of an explanation tile the block. Their text is not stored: it is in the block.
    """
    CREATE TABLE segments (
      explanation INTEGER NOT NULL REFERENCES explanations(id) ON DELETE CASCADE,
      ordinal INTEGER NOT NULL,
      label INTEGER NOT NULL REFERENCES segment_labels(id),
      start INTEGER,                -- code points of the decoded string; both NULL: the whole value
      "end" INTEGER,
      byte_end INTEGER NOT NULL,    -- in the stored block; it begins where its predecessor ends
      tokens INTEGER NOT NULL,
      content_hash BLOB NOT NULL,   -- SHA-256 of the text
      PRIMARY KEY (explanation, ordinal)
    ) STRICT, WITHOUT ROWID
    """,
    # Segments of no node: bytes outside tools, system and messages, and blocks that change in every request. Most are
    # equal from request to request, so requests share them.
    """
    CREATE TABLE loose_segments (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      label INTEGER NOT NULL REFERENCES segment_labels(id),
      json_path TEXT NOT NULL,
      message_index INTEGER NOT NULL,
      message_role TEXT NOT NULL,
      start INTEGER,
      "end" INTEGER,
      tokens INTEGER NOT NULL,
      content_hash BLOB NOT NULL
    ) STRICT
    """,
    "CREATE INDEX loose_segments_hash ON loose_segments (content_hash)",
    """
    CREATE TABLE request_segments (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      ordinal INTEGER NOT NULL,
      segment INTEGER NOT NULL REFERENCES loose_segments(id),
      repeats INTEGER NOT NULL,  -- equal ones (the brackets between messages) are one row
      PRIMARY KEY (request, ordinal)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE request_sources (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      source INTEGER NOT NULL REFERENCES sources(id),
      tokens INTEGER NOT NULL,
      accuracy INTEGER NOT NULL,  -- 0 exact, 1 shared, 2 estimated
      cost INTEGER,  -- pico-dollars
      PRIMARY KEY (request, source)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX request_sources_source ON request_sources (source, request)",
)

STATEMENTS = (*_REQUESTS[:3], *_BLOCKS_AND_NODES, *_REQUESTS[3:], *_RESPONSES, *_ATTRIBUTION)
