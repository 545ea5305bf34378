"""The public face of the database: views with the names and columns of the documented data contract.

Apart from `migrations` because they are read more often than the tables are changed. Only the latest migration makes
the views: one that changes them drops what is there and makes all of them anew from here.
"""

from __future__ import annotations

_HEADERS = """(
  SELECT json_group_array(json(CASE h.type WHEN 'integer'
    THEN (SELECT json_array(f.name, f.value) FROM header_fields f WHERE f.id = h.value) ELSE h.value END))
  FROM json_each({table}.header_data) h)"""

_HEX = "lower(hex({0}))"

VIEWS = (
    "DROP VIEW IF EXISTS captured_requests",  # with its trigger
    "DROP VIEW IF EXISTS captured_responses",
    "DROP VIEW IF EXISTS context_attributions",
    f"""
    CREATE VIEW captured_requests AS SELECT
      q.id, q.correlation_id, q.request_initiated AS timestamp, q.method, q.url,
      {_HEADERS.format(table="q")} AS headers,
      q.total_tokens, q.state, ifnull(q.upstream_url, q.url) AS upstream_url, q.model, q.session_id, q.agent_id,
      q.parent_agent_id, q.agent_type, q.request_class, q.client, q.client_version, q.project, q.previous_message_id,
      q.api_key_hash, q.entry_mode, q.owner, q.request_initiated, q.proxy_received, q.forwarded, q.response_received,
      q.delivered, q.http_version, q.path, q.error, q.error_kind, q.connect_us, q.early_response, q.informational,
      q.body_kept, q.body_length, {_HEX.format("ifnull(q.wire_sha256, q.body_sha256)")} AS body_sha256,
      q.body_encoding, q.n, q.thread, q.retry_count, q.begins_prompt, q.context_complete,
      q.context_node IS NOT NULL AS effective,
      (SELECT r.id FROM requests r WHERE r.n = q.retry_of) AS retry_of,
      (SELECT r.id FROM requests r WHERE r.n = q.predecessor) AS parent_request_id, q.prompt_index, q.turn_index
    FROM requests q
    """,  # noqa: S608 - nothing here comes from outside
    f"""
    CREATE VIEW captured_responses AS SELECT
      p.id, q.correlation_id, p.timestamp, p.status_code,
      {_HEADERS.format(table="p")} AS headers,
      (p.latency_us + 500) / 1000 AS latency_ms, (p.proxy_latency_us + 500) / 1000 AS proxy_latency_ms,
      p.latency_us, p.proxy_latency_us, p.output_tokens AS response_tokens, p.input_tokens,
      p.cache_creation_input_tokens, p.cache_read_input_tokens, p.cache_creation_5m, p.cache_creation_1h,
      p.output_tokens, p.thinking_tokens, p.web_search_requests, p.web_fetch_requests, p.service_tier, p.speed,
      p.inference_geo, p.usage_rest, p.stop_reason, p.request_id_header, p.origin, p.reason, p.http_version,
      ifnull(p.trailers, '[]') AS trailers, p.message_id, p.model, p.error_type, p.streamed, p.body_kept,
      p.body_length, {_HEX.format("p.body_sha256")} AS body_sha256, q.id AS request_id, q.n
    FROM responses p JOIN requests q ON q.n = p.request
    """,  # noqa: S608 - nothing here comes from outside
    # The path of each request is walked in a scalar subquery, so that a filter on the request is applied before: as a
    # plain recursive view every query would expand every path of the database.
    f"""
    CREATE VIEW context_attributions AS
    WITH parts (
      request_id, node_order, ordinal, label, tokens, content_hash, message_index, message_role, json_path,
      start, "end", byte_start, byte_end, effective) AS (
      SELECT q.id, n.depth, s.ordinal, s.label, s.tokens, s.content_hash, n.message_index, r.name,
        CASE n.place & 3 WHEN 0 THEN '$.tools' WHEN 1 THEN '$.system'
          ELSE '$.messages[' || n.message_index || '].content' END
          || CASE WHEN n.item_index < 0 THEN '' ELSE '[' || n.item_index || ']' END || l.path,
        s.start, s."end",
        ifnull((SELECT b.byte_end FROM segments b
                WHERE b.explanation = s.explanation AND b.ordinal = s.ordinal - 1), 0), s.byte_end,
        q.context_node IS NOT NULL
      FROM requests q
      JOIN json_each((
        WITH RECURSIVE path (node, parent) AS (
          SELECT id, parent FROM nodes WHERE id = ifnull(q.context_node, q.node) AND id > 0
          UNION ALL SELECT n.id, n.parent FROM path JOIN nodes n ON n.id = path.parent WHERE path.parent > 0)
        SELECT json_group_array(node) FROM path)) walk
      JOIN nodes n ON n.id = walk.value
      JOIN segments s ON s.explanation = n.explanation
      JOIN segment_labels l ON l.id = s.label
      JOIN roles r ON r.id = n.place >> 33
      WHERE q.rules > 0
      UNION ALL
      SELECT q.id, 1000000, m.ordinal, s.label, s.tokens * m.repeats, s.content_hash, s.message_index,
        s.message_role, s.json_path, s.start, s."end", NULL, NULL, 0
      FROM requests q JOIN request_segments m ON m.request = q.n JOIN loose_segments s ON s.id = m.segment)
    SELECT
      claudeproxy_attribution_id(p.request_id, p.node_order || '.' || p.ordinal) AS id,
      p.request_id, o.type AS source_type, o.name AS source_name, o.plugin, o.via, o.label AS source_label,
      p.tokens AS token_count, {_HEX.format("p.content_hash")} AS content_hash, p.message_index, p.message_role,
      p.json_path, p.start, p."end", l.kind, l.rule, nullif(l.evidence, '') AS evidence, l.confidence,
      'estimated' AS accuracy, NULL AS price_class, NULL AS cost, p.effective, p.byte_start, p.byte_end,
      p.node_order, p.ordinal
    FROM parts p JOIN segment_labels l ON l.id = p.label JOIN sources o ON o.id = l.source
    """,  # noqa: S608 - nothing here comes from outside
    # So that the contract's table can be deleted from by hand.
    """
    CREATE TRIGGER captured_requests_delete INSTEAD OF DELETE ON captured_requests
    BEGIN DELETE FROM requests WHERE n = OLD.n; END
    """,
)
