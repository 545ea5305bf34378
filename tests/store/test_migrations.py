from __future__ import annotations

import json
import sqlite3

import pytest
import sqlite_utils

from claudeproxy.store.migrations import MIGRATIONS
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import correlation, exchange
from tests.store.explaining import count, explain

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'

CONTRACT = {
    "captured_requests": "id correlation_id timestamp method url headers total_tokens state upstream_url model"
    " session_id agent_id parent_agent_id request_class client_version api_key_hash entry_mode"
    " request_initiated proxy_received forwarded response_received delivered",
    "captured_responses": "id correlation_id timestamp status_code headers latency_ms proxy_latency_ms latency_us"
    " proxy_latency_us response_tokens input_tokens cache_creation_input_tokens cache_read_input_tokens output_tokens"
    " stop_reason request_id_header origin",
    "context_attributions": "id request_id source_type source_name token_count content_hash message_index message_role"
    " json_path start end kind rule confidence accuracy price_class cost effective",
}


@pytest.mark.parametrize("view", CONTRACT)
def test_the_contracts_columns_exist(storage, view):
    columns = {row["name"] for row in storage._connection.execute(f"PRAGMA table_info({view})")}
    assert set(CONTRACT[view].split()) <= columns


def test_sqlite_utils_sees_an_ordinary_database(storage, database):
    """The migrations are listed where its own command line looks for them."""
    storage.record([exchange(0, BODY)], {})
    with sqlite3.connect(database) as raw:
        db = sqlite_utils.Database(raw, execute_plugins=False)
        assert [row["name"] for row in db["_sqlite_migrations"].rows] == [one.name for one in MIGRATIONS]
        (row,) = db.query("SELECT * FROM captured_requests")
    raw.close()
    assert row["correlation_id"] == correlation(0)
    assert ["Authorization", "[REDACTED]"] in json.loads(row["headers"])


def test_the_public_views_agree_with_the_library(storage):
    """Both roads lead to the same numbers."""
    (request_id,) = storage.record([exchange(0, BODY)], {})
    result = explain(BODY)
    storage.save_attribution(request_id, result, count(result), rules_version="1")
    run = storage._connection.execute
    request = run("SELECT * FROM captured_requests").fetchone()
    response = run("SELECT * FROM captured_responses").fetchone()
    found = storage.get_response(request_id)
    assert (request["id"], request["timestamp"]) == (request_id, storage.get_request(request_id).timestamp)
    assert (response["latency_ms"], response["proxy_latency_ms"]) == (found.latency_ms, found.proxy_latency_ms)
    assert response["correlation_id"] == request["correlation_id"]
    total = run("SELECT sum(token_count) FROM context_attributions WHERE request_id = ?", (request_id,)).fetchone()[0]
    assert total == request["total_tokens"] == storage.get_request(request_id).total_tokens
    everything = run("SELECT count(*) FROM context_attributions WHERE source_type = 'User'").fetchone()[0]
    assert everything == sum(one.source.type == "User" for one in storage.attributions(request_id))


def test_an_older_database_gets_its_aggregates(storage, database):
    """What was captured before there were metrics is in them."""
    for number in range(3):
        (request_id,) = storage.record([exchange(number, BODY)], {})
        result = explain(BODY)
        storage.save_attribution(request_id, result, count(result), rules_version="1")
    metrics = "SELECT source_name, usage_count, total_tokens, last_used FROM context_source_metrics ORDER BY 1"
    expected = [tuple(row) for row in storage._connection.execute(metrics)]
    storage._connection.execute("DROP VIEW quality_feedback")
    for table in ("feedback", "source_hours", "source_days", "request_days", "context_source_metrics"):
        storage._connection.execute(f"DROP TABLE {table}")
    storage._connection.execute("DELETE FROM _sqlite_migrations WHERE name = 'm0011_feedback'")
    storage.close()
    with CaptureStorage(database) as migrated:
        assert [tuple(row) for row in migrated._connection.execute(metrics)] == expected
        assert expected
