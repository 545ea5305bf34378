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
_ACCURACY = "CASE {0} WHEN 0 THEN 'exact' WHEN 1 THEN 'shared' WHEN 2 THEN 'estimated' END"
_NOTHING = "x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'"  # SHA-256 of no text

# What `claudeproxy_numbers` needs of one request q with its account a. The path is walked in a scalar subquery, so that
# a filter on the request is applied before: as a plain recursive view every query would expand every path.
_PATH = """
SELECT json_group_array(json_array(step.node, step.packed, json(step.sizes))) FROM (
  WITH RECURSIVE path (node, parent, explanation, depth) AS (
    SELECT id, parent, explanation, depth FROM nodes WHERE id = ifnull(q.context_node, q.node) AND id > 0
    UNION ALL SELECT n.id, n.parent, n.explanation, n.depth FROM path JOIN nodes n ON n.id = path.parent
    WHERE path.parent > 0)
  SELECT node,
    iif(a.request IS NULL,
      (SELECT sum(s.tokens) * 4 + 2 FROM segments s WHERE s.explanation = path.explanation),
      (SELECT t.packed FROM node_tokens t WHERE t.node = path.node AND t.ledger = a.ledger AND t.clock <= a.clock
       ORDER BY t.clock DESC LIMIT 1)) AS packed,
    (SELECT json_group_array(size.tokens) FROM (
      SELECT s.tokens FROM segments s WHERE s.explanation = path.explanation ORDER BY s.ordinal) size) AS sizes
  FROM path ORDER BY depth) step
"""
_LOOSE = """
SELECT json_group_array(json_array(own.ordinal, own.tokens, own.accuracy)) FROM (
  SELECT m.ordinal, ifnull(m.tokens, iif(a.request IS NULL, s.tokens * m.repeats, 0)) AS tokens,
    ifnull(m.accuracy, iif(a.request IS NULL, 2, 0)) AS accuracy
  FROM request_segments m JOIN loose_segments s ON s.id = m.segment WHERE m.request = q.n ORDER BY m.ordinal) own
"""
_PRICED = """
iif(a.read IS NULL, NULL, json_array(a.read, a.write_1h, a.write_5m, a.uncached, x.read, x.write_1h, x.write_5m,
  x.uncached))
"""
_PARTS = """
request_id, node_order, ordinal, source, kind, rule, evidence, confidence, tokens, accuracy, price_class, cost,
content_hash, message_index, message_role, json_path, start, "end", byte_start, byte_end, effective
"""
# Of one segment whose numbers are c.value, a list as `numbers.Piece`, of a request q.
_SEGMENT_PARTS = """
SELECT q.id, ifnull(n.depth, 1000000), c.value ->> 1, l.source, l.kind, l.rule, l.evidence, l.confidence,
  c.value ->> 2, c.value ->> 3, c.value ->> 4, c.value ->> 5,
  ifnull(s.content_hash, d.content_hash), ifnull(n.message_index, d.message_index),
  ifnull(r.name, d.message_role),
  iif(n.id IS NULL, d.json_path,
    CASE n.place & 3 WHEN 0 THEN '$.tools' WHEN 1 THEN '$.system'
      ELSE '$.messages[' || n.message_index || '].content' END
    || CASE WHEN n.item_index < 0 THEN '' ELSE '[' || n.item_index || ']' END || l.path),
  iif(n.id IS NULL, d.start, s.start), iif(n.id IS NULL, d."end", s."end"),
  iif(n.id IS NULL, NULL, ifnull((
    SELECT b.byte_end FROM segments b WHERE b.explanation = s.explanation AND b.ordinal = s.ordinal - 1), 0)),
  s.byte_end, n.id IS NOT NULL AND q.context_node IS NOT NULL
"""
_SEGMENT_ROWS = """
LEFT JOIN nodes n ON n.id = c.value ->> 0 AND n.id > 0
LEFT JOIN segments s ON s.explanation = n.explanation AND s.ordinal = c.value ->> 1
LEFT JOIN request_segments m ON n.id IS NULL AND m.request = q.n AND m.ordinal = c.value ->> 1
LEFT JOIN loose_segments d ON d.id = m.segment
LEFT JOIN segment_labels l ON l.id = ifnull(s.label, d.label)
LEFT JOIN roles r ON r.id = n.place >> 33
"""
_OUTPUT_PARTS = f"""
SELECT q.id, 2000000, s.source, s.source, 'output', 'bill.output', '', 1.0, s.tokens, s.accuracy, 'output',
  s.cost, {_NOTHING}, -1, 'assistant', '$', NULL, NULL, NULL, NULL, 0
FROM requests q JOIN request_sources s ON s.request = q.n AND s.output
"""  # noqa: S608 - nothing here comes from outside
_ATTRIBUTIONS = f"""
SELECT
  claudeproxy_attribution_id(p.request_id, p.node_order || '.' || p.ordinal) AS id,
  p.request_id, o.type AS source_type, o.name AS source_name, o.plugin, o.via, o.label AS source_label,
  p.tokens AS token_count, {_HEX.format("p.content_hash")} AS content_hash, p.message_index, p.message_role,
  p.json_path, p.start, p."end", p.kind, p.rule, nullif(p.evidence, '') AS evidence, p.confidence,
  {_ACCURACY.format("p.accuracy")} AS accuracy, p.price_class, p.cost, p.effective, p.byte_start, p.byte_end,
  p.node_order, p.ordinal
FROM parts p JOIN sources o ON o.id = p.source
"""  # noqa: S608
OUTPUTS = f"WITH parts ({_PARTS}) AS ({_OUTPUT_PARTS}) {_ATTRIBUTIONS}"
"""The rows of ``context_attributions`` that were billed beside the prompt: to be had without expanding a prompt."""
SEGMENTS = f"""
WITH parts ({_PARTS}) AS (
  {_SEGMENT_PARTS} FROM json_each(:pieces) c CROSS JOIN requests q ON q.n = c.value ->> 6 {_SEGMENT_ROWS})
{_ATTRIBUTIONS}
"""
"""The other rows, where their numbers are known: `pieces` is a list of `numbers.Piece`, each with its request's `n`."""

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
      (SELECT r.id FROM requests r WHERE r.n = q.predecessor) AS parent_request_id, q.prompt_index, q.turn_index,
      {_ACCURACY.format("q.accuracy")} AS accuracy, q.expected_error, q.cost, q.cost_note, q.counted
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
    # One row for each segment; then what was billed beside the prompt, kind `output`.
    f"""
    CREATE VIEW context_attributions AS
    WITH parts ({_PARTS}) AS (
      {_SEGMENT_PARTS}
      FROM requests q LEFT JOIN accounts a ON a.request = q.n LEFT JOIN rates x ON x.id = a.rates
      JOIN json_each(claudeproxy_numbers(({_PATH}), ({_LOOSE}), a.corrections, {_PRICED})) c {_SEGMENT_ROWS}
      WHERE q.rules > 0
      UNION ALL {_OUTPUT_PARTS})
    {_ATTRIBUTIONS}
    """,
    # So that the contract's table can be deleted from by hand.
    """
    CREATE TRIGGER captured_requests_delete INSTEAD OF DELETE ON captured_requests
    BEGIN DELETE FROM requests WHERE n = OLD.n; END
    """,
)
