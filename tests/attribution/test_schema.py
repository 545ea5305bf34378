"""The promise over the whole Messages API: an exact partition, and the same again, with one's own rules too."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, seed, settings

from claudeproxy.attribution import DEFAULT, AttributionEngine
from claudeproxy.attribution.userrules import read_rules
from claudeproxy.sansio.jsonspans import JSONSpanError
from claudeproxy.sansio.messages import layout
from tests.attribution.bodies import CLAUDE, FINGERPRINTS, check_partition
from tests.attribution.schema import requests
from tests.attribution.test_userrules import GATEWAY, GOOD, KNOWLEDGE, RENAME

GREEDY = [
    {**GOOD, "id": "all.text", "matches": "[^\n]", "extent": "item", "glued": True},
    {**KNOWLEDGE, "id": "all.system", "matches": "[^\n]"},
    {**GATEWAY, "id": "all.tools", "matches": "mcp__(?P<inner>.++)"},
    {**RENAME, "id": "all.names", "matches": "(?P<team>[A-Z]).++"},
]


def _greedy() -> AttributionEngine:
    """Rules that claim all they may."""
    rows = [
        {key: value for key, value in row.items() if key != "starts_with"}
        | {"example": "MCP: x", "counter_example": "\n"}
        for row in GREEDY
    ]
    rows[2]["example"] = "mcp__a__b"
    rules, problems = read_rules("greedy", rows)
    assert problems == []
    return AttributionEngine(rules=DEFAULT.extended(*rules), fingerprints=FINGERPRINTS)


COLD = AttributionEngine(fingerprints=FINGERPRINTS, max_cached_bytes=0)
WARM = AttributionEngine(fingerprints=FINGERPRINTS)
GREED = _greedy()


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(request=requests)
def test_every_request_of_the_api_is_divided_exactly_by_any_rules(request):
    """Whoever sends it; remembered or not; by the built-in rules or by ones that claim everything."""
    body = json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass")
    for headers in (None, CLAUDE):
        found = COLD.analyze_request(body, headers=headers)
        try:
            layout(body)
        except JSONSpanError:
            assert not found.blocks
            return
        check_partition(body, found)
        assert WARM.analyze_request(body, headers=headers) == found
        check_partition(body, GREED.analyze_request(body, headers=headers))


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(request=requests)
def test_every_request_is_cut_into_the_blocks_that_a_json_parser_finds(request):
    """One a tool, one an object of `system` or of a content, one a bare string: no request is too odd to be cut."""
    try:
        body = json.dumps(request, allow_nan=False).encode()
    except ValueError:  # Infinity: no JSON
        with pytest.raises(JSONSpanError, match="is not JSON"):
            layout(json.dumps(request).encode())
        return
    tools, system = request.get("tools"), request.get("system")
    contents = [message.get("content") for message in request["messages"]]
    expected = _blocks(tools if isinstance(tools, list) else None) + _blocks(system) + sum(map(_blocks, contents))
    assert len(layout(body).blocks) == expected


def _blocks(value: object) -> int:
    if isinstance(value, list):
        return sum(isinstance(item, dict) for item in value)
    return int(isinstance(value, str))


def test_most_of_what_is_made_has_content():
    """The strategy must not spend itself on bodies with nothing in them."""
    seen = {True: 0, False: 0}

    @seed(0)
    @settings(max_examples=200, database=None, suppress_health_check=list(HealthCheck))
    @given(request=requests)
    def look(request):
        contents = [message.get("content") for message in request["messages"]]
        seen[any(map(_blocks, contents))] += 1

    look()
    assert seen[True] > seen[False]
