"""The engine: caching, history, versions, overhead, and the blocks of any client."""

from __future__ import annotations

import json

import pytest

from claudeproxy.attribution import DEFAULT, AttributionEngine
from claudeproxy.model import SourceType
from tests.attribution.bodies import (
    CLAUDE,
    DATE,
    FINGERPRINTS,
    analyze,
    body,
    check_partition,
    engine,
    labels,
    owners,
    reminder,
    result,
    said,
    system,
    text,
    tool,
    use,
    user,
)


def turns(count: int) -> list[object]:
    messages: list[object] = [user(reminder(DATE), text("go"))]
    for number in range(count):
        messages.append(said(text(f"step {number}"), use(f"t{number}", "mcp__docs__find", q=number)))
        messages.append(user(result(f"t{number}", f"found {number}")))
    return messages


def test_a_warm_engine_gives_what_a_cold_one_gives():
    """Turn by turn, with one cache."""
    warm = engine()
    for count in range(6):
        request = body(*turns(count), tools=[tool("mcp__docs__find")])
        assert warm.analyze_request(request, headers=CLAUDE) == engine().analyze_request(request, headers=CLAUDE)


def test_the_same_bytes_in_another_place_are_explained_anew():
    """An explanation is remembered with all that it depends on, not by the block alone."""
    warm = engine()
    shared = result("t", "shared-output")
    for name, owner in (("Bash", "Tool: Bash"), ("mcp__docs__find", "MCP: docs")):
        found = warm.analyze_request(body(user(text("go")), said(use("t", name)), user(shared)), headers=CLAUDE)
        assert labels(found, "shared-output") == {owner}
    same = text(f"<system-reminder>\n{DATE}\n</system-reminder>")
    injected = warm.analyze_request(body(user(same, text("go")), tools=[tool("Read")]), headers=CLAUDE)
    typed = warm.analyze_request(body(user(same), tools=[tool("Read")]), headers=CLAUDE)
    assert labels(injected, DATE) == {"Framework: date"}
    assert labels(typed, DATE) == {"User"}


def test_the_cache_is_bounded():
    """Old blocks go; what they gave is worked out again."""
    small = AttributionEngine(fingerprints=FINGERPRINTS, max_cached_bytes=600)
    request = body(*turns(20))
    first = small.analyze_request(request, headers=CLAUDE)
    assert small.analyze_request(request, headers=CLAUDE) == first
    assert int(repr(small).split(": ")[1].split()[0]) < 20


def test_many_scenes_do_not_pile_up(monkeypatch):
    """Facts that differ with every request are numbered anew, never confused."""
    monkeypatch.setattr("claudeproxy.attribution.engine.MAX_SCENES", 2)
    warm = engine()
    for name in ("a", "b", "c", "a"):
        request = body(user(text("go")), said(use("t", f"mcp__{name}__x")), user(result("t", "out")))
        assert labels(warm.analyze_request(request, headers=CLAUDE), "out") == {f"MCP: {name}"}


def test_the_version_tells_rules_and_fingerprints_apart():
    """What was derived by another version must be derived again."""
    versions = {
        engine().version,
        AttributionEngine().version,
        AttributionEngine(rules=DEFAULT.extended(DEFAULT.rules[0])).version,
    }
    assert len(versions) == 3
    assert engine().version == engine().version


def test_parameters_are_overhead_by_name():
    """An output schema costs tokens, so its text is kept; of others only the place."""
    schema = {"format": {"type": "json_schema", "schema": {"title": "planted-schema"}}}
    found = analyze(body(user(text("go")), output_config=schema, temperature=1, messages_extra=[]))
    names = {segment.source.name for segment in found.overhead if segment.kind == "parameter"}
    assert {"model", "max_tokens", "stream", "output_config", "temperature", "messages_extra"} <= names
    assert owners(found, "planted-schema") == {("Overhead: output_config", "parameter")}
    assert not [s.text for s in found.overhead if s.text and s.source.name != "output_config"]


def test_a_body_that_cannot_be_cut_is_one_piece():
    """Nothing is lost, and the sender is still known."""
    found = engine().analyze_request(b"\xff not json", headers=CLAUDE)
    assert [(s.byte_start, s.byte_end, s.kind, s.source.type) for s in found.overhead] == [
        (0, 10, "unparsed", SourceType.OVERHEAD)
    ]
    assert found.identity.client == "claude-cli"
    assert engine().analyze_request(b"").overhead == ()


def test_lone_surrogates_pass():
    """JavaScript cuts text between the halves of a pair."""
    request = body(user(text("cut \ud83d here"), reminder("x")), system(f"{DATE}\n\n\ud83d"), ascii_only=True)
    found = analyze(request)
    assert labels(found, "cut \ud83d here") == {"User"}


def test_requests_of_plain_applications():
    """String system, string content, server tools, connector blocks: the same sources."""
    request = json.dumps(
        {
            "max_tokens": 5,
            "system": "own-system",
            "tools": [
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
                {"name": "get_weather", "description": "own-tool", "input_schema": {}},
            ],
            "messages": [
                {"role": "user", "content": "own-prompt"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "own-query"}},
                        {
                            "type": "web_search_tool_result",
                            "tool_use_id": "s",
                            "content": [{"type": "web_search_result", "title": "own-hit", "encrypted_content": "eA=="}],
                        },
                        {"type": "mcp_tool_use", "id": "m", "name": "ask", "server_name": "wiki", "input": {}},
                        {
                            "type": "mcp_tool_result",
                            "tool_use_id": "m",
                            "content": [{"type": "text", "text": "of-wiki"}],
                        },
                        {"type": "redacted_thinking", "data": "eHg="},
                    ],
                },
                {"role": "user", "content": None},
            ],
        }
    ).encode()
    found = engine().analyze_request(request)
    check_partition(request, found)
    assert owners(found, "own-system") == {("User", "instructions")}
    assert owners(found, "own-prompt") == {("User", "prompt")}
    assert owners(found, "own-tool") == {("Tool: get_weather", "schema")}
    assert owners(found, "own-query") == {("Tool: web_search", "call")}
    assert owners(found, "own-hit") == {("Tool: web_search", "result")}
    assert owners(found, "of-wiki") == {("MCP: wiki", "result")}


def test_tokens_are_counted_by_what_was_handed_in():
    """The engine holds no tokenizer."""
    assert AttributionEngine(count=len).count_tokens("abc") == 3
    with pytest.raises(ValueError, match="no token counter"):
        AttributionEngine().count_tokens("abc")


def test_the_small_questions():
    """What the contract names."""
    assert engine().identify_source_type("mcp__docs__find") is SourceType.MCP_SERVER
    assert engine().identify_source_type("Read") is SourceType.TOOL
    assert engine().extract_mcp_server_name("mcp__a__b__c", ["a__b"]) == "a__b"
