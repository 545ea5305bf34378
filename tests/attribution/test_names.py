"""Servers and plugins in tool names."""

from __future__ import annotations

import pytest

from claudeproxy.attribution.names import (
    MAX_POSSIBLE,
    extract_mcp_server_name,
    gather_servers,
    normalize_server,
)
from claudeproxy.model import Source, SourceType


@pytest.mark.parametrize(
    ("tool", "known", "server"),
    [
        ("mcp__docs__lookup", (), "docs"),
        ("mcp__my_server__get_docs", (), "my_server"),
        ("mcp__a__b__c", (), "a"),
        ("mcp__a__b__c", ("a", "a__b"), "a__b"),
        ("mcp__ab__c", ("a",), "ab"),
        ("mcp__a___b", ("a", "a_"), "a_"),
        ("mcp__a___b", ("a",), "a"),
        ("mcp__a__", ("a",), "a"),
        ("mcp__docs", (), None),
        ("mcp____x", (), None),
        ("Read", ("Read",), None),
        ("mcp_docs__x", (), None),
    ],
)
def test_the_longest_known_server_wins(tool, known, server):
    """With none known the name ends at the first double underscore."""
    assert extract_mcp_server_name(tool, known) == server


def test_names_are_compared_as_they_stand_in_tool_names():
    """Every character that a tool name cannot hold becomes an underscore."""
    assert normalize_server("claude.ai Mail") == "claude_ai_Mail"
    assert normalize_server("plugin:box:db") == "plugin_box_db"


def test_a_heading_founds_no_server():
    """A written name counts only when a tool of that name exists."""
    servers = gather_servers(["mcp__a__b__c", "Read"], ["a__b", "invented"])
    assert servers.known == {"a__b"}
    assert servers.tool_source("mcp__a__b__c") == Source(type=SourceType.MCP_SERVER, name="a__b")
    assert servers.tool_source("Read") is None


def test_a_shortened_listing_names_its_server():
    """``mcp__a__b__*`` says where the name ends."""
    assert "a__b" in gather_servers(["mcp__a__b__*"], []).known


def test_plugin_servers_carry_their_plugin():
    """Exact where the client spelled both, split at the first underscore otherwise."""
    spelled = gather_servers(["mcp__plugin_my_box_data_base__get"], ["plugin:my_box:data_base"])
    source = spelled.tool_source("mcp__plugin_my_box_data_base__get")
    assert source == Source(type=SourceType.MCP_SERVER, name="data_base", plugin="my_box")
    guessed = gather_servers(["mcp__plugin_box_db__get"], [])
    assert guessed.source("plugin_box_db") == Source(type=SourceType.MCP_SERVER, name="db", plugin="box")
    assert guessed.source("plugin_box") == Source(type=SourceType.MCP_SERVER, name="plugin_box")


def test_an_aggregating_server_is_seen_through():
    """When all of a server's tools carry an inner name, that is the source; one that does not spoils it."""
    proxy = ["mcp__proxy__context7__get_docs", "mcp__proxy__tracker__list"]
    servers = gather_servers(proxy, [])
    source = servers.tool_source(proxy[0])
    assert source == Source(type=SourceType.MCP_SERVER, name="context7", via="proxy")
    assert source.label == "MCP: context7"
    plain = gather_servers([*proxy, "mcp__proxy__status"], [])
    assert plain.tool_source(proxy[0]) == Source(type=SourceType.MCP_SERVER, name="proxy")


def test_servers_are_equal_when_their_facts_are():
    """They are part of a cache key; remembered sources are not."""
    one, two = (gather_servers(["mcp__a__b"], []) for _ in range(2))
    one.source("a")
    assert one == two
    assert hash(one) == hash(two)


def test_many_servers_take_no_longer_each():
    """A comparison of every tool with every server would be ten thousand million."""
    tools = [f"mcp__server_{number}__tool" for number in range(100_000)]
    servers = gather_servers(tools, [f"server_{number}" for number in range(100_000)])
    assert servers.tool_source("mcp__server_7__tool") == Source(type=SourceType.MCP_SERVER, name="server_7")


def test_a_name_that_nobody_spelled_is_a_guess_where_it_could_end_twice():
    """One double underscore leaves no choice; several do, until the client writes the server's name."""
    tools = ["mcp__a__b__c", "mcp__d__e"]
    guessed = gather_servers(tools, [])
    assert (guessed.certainty("mcp__a__b__c"), guessed.certainty("mcp__d__e"), guessed.certainty("Read")) == (0.8, 1, 1)
    assert gather_servers(tools, ["a__b"]).certainty("mcp__a__b__c") == 1


def test_the_names_that_a_guess_leaves_open_are_told_and_few():
    """The longest first; none where the name is certain."""
    assert gather_servers(["mcp__a__b__c"], []).possible("mcp__a__b__c") == ("a__b", "a")
    assert gather_servers(["mcp__a__b__c"], ["a__b"]).possible("mcp__a__b__c") == ()
    assert gather_servers(["Read", "mcp__a__b"], []).possible("Read") == ()
    endless = f"mcp__a{'__b' * 1000}"
    assert len(gather_servers([endless], []).possible(endless)) == MAX_POSSIBLE


def test_all_tools_of_an_aggregator_are_its_own():
    """Notices write ``mcp__proxy__*`` for them."""
    servers = gather_servers(["mcp__proxy__one__get", "mcp__proxy__two__get"], ())
    assert servers.tool_source("mcp__proxy__*") == servers.source("proxy")
    assert servers.tool_source("mcp__proxy__one__get") == Source(type=SourceType.MCP_SERVER, name="one", via="proxy")
