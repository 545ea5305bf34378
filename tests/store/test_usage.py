from __future__ import annotations

import json

import pytest

from claudeproxy.model import Answer
from claudeproxy.sansio.answer import read_usage
from tests.store.exchanges import correlation, exchange, response

FULL = {
    "input_tokens": 4,
    "cache_creation_input_tokens": 10,
    "cache_read_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 7},
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 2},
    "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
    "service_tier": "standard",
    "speed": "fast",
    "inference_geo": "us",
}


@pytest.mark.parametrize(
    "usage",
    [
        FULL,
        {"input_tokens": 1},
        {},
        {**FULL, "iterations": [{"type": "message", "input_tokens": 4}], "future": None},
        {**FULL, "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_9h_input_tokens": 1}},
        {**FULL, "cache_creation": {}, "output_tokens_details": None, "server_tool_use": "?"},
        {"input_tokens": "many", "output_tokens": 2},
    ],
)
def test_a_bill_comes_back_whole(storage, usage):
    """Columns hold what they can, the rest stands beside them, and together they are what the API said."""
    given = read_usage(usage)
    storage.record([exchange(0, response=response(answer=Answer(usage=given)))], {})
    found = storage.get_response(correlation(0)).usage
    assert json.loads(found.raw or "{}") == usage
    for name in (
        "input_tokens",
        "cache_creation_1h",
        "thinking_tokens",
        "web_fetch_requests",
        "speed",
        "prompt_tokens",
    ):
        assert getattr(found, name) == getattr(given, name)


def test_a_known_bill_takes_no_room_beside_its_columns(storage):
    storage.record([exchange(0, response=response(answer=Answer(usage=read_usage(FULL))))], {})
    assert storage._connection.execute("SELECT usage_rest FROM responses").fetchone()[0] is None
