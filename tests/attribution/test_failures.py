"""What fails belongs to whoever failed: results of kind `error`, servers that did not come up, plugins by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.attribution.bodies import DATE, analyze, body, holders, owners, result, said, system, text, tool, use, user

if TYPE_CHECKING:
    from claudeproxy.model import Segment

FAILED = "The following MCP servers are configured but failed to connect:"
CONNECTING = "The following MCP servers are still connecting:"
AUTHENTICATION = "The following MCP servers require authentication:"


def one(found: list[Segment]) -> Segment:
    (segment,) = found
    return segment


@pytest.mark.parametrize(
    ("notice", "kind"), [(FAILED, "error"), (CONNECTING, "notice"), (AUTHENTICATION, "notice")], ids=["f", "c", "a"]
)
def test_a_server_that_is_not_there_is_named_by_its_notice(notice: str, kind: str):
    """One line a server; the words around them are the client's."""
    lines = 'own-broken (CODE): "Connection closed"\nown-other'
    found = analyze(body(user(text("q")), system(f"{notice}\n{lines}\n\n{DATE}")))
    assert owners(found, "own-broken") == {("MCP: own-broken", kind)}
    assert owners(found, "own-other") == {("MCP: own-other", kind)}
    assert owners(found, notice) == {("Framework: MCP availability", kind)}
    assert owners(found, DATE) == {("Framework: date", "text")}


@pytest.mark.parametrize("line", ["plugin:acme:docs", 'plugin:acme:docs (CODE): "gone"'])
def test_a_plugins_server_that_is_not_there_carries_its_plugin(line: str):
    """As it does when it is there."""
    found = analyze(body(user(text("q")), system(f"{FAILED}\n{line}\n\n{DATE}")))
    segment = one(holders(found, "plugin:acme:docs"))
    assert (segment.source.label, segment.source.plugin, segment.kind) == ("MCP: docs", "acme", "error")


def test_a_failed_call_is_an_error_of_what_was_called():
    """By flag or by tag: tool, server, skill and agent alike."""
    calls = [
        use("a", "Bash", command="x"),
        use("b", "mcp__docs__find"),
        use("c", "Skill", skill="acme:vectorize"),
        use("d", "Task", subagent_type="acme:planner", prompt="p"),
    ]
    answers = [
        result("a", "<tool_use_error>own-a</tool_use_error>"),
        result("b", [text("own-b")], is_error=True),
        result("c", "own-c", is_error=True),
        result("d", "own-d", is_error=True),
    ]
    tools = [tool("mcp__docs__find"), tool("mcp__plugin_acme_db__get")]
    found = analyze(body(user(text("q")), said(*calls), user(*answers), tools=tools))
    assert owners(found, "own-a") == {("Tool: Bash", "error")}
    assert owners(found, "own-b") == {("MCP: docs", "error")}
    assert owners(found, "own-c") == {("Skill: acme:vectorize", "error")}
    assert owners(found, "own-d") == {("Agent: acme:planner", "error")}
    assert one(holders(found, "own-c")).source.plugin == one(holders(found, "own-d")).source.plugin == "acme"


def test_what_only_speaks_of_errors_is_no_error():
    """The flag decides, or the client's own tag at the very beginning."""
    found = analyze(
        body(
            user(text("q")),
            said(use("a", "Bash", command="x"), use("b", "Bash", command="y")),
            user(result("a", "own-a <tool_use_error>", is_error=False), result("b", "Error: own-b")),
        )
    )
    assert owners(found, "own-a") == owners(found, "own-b") == {("Tool: Bash", "result")}


def test_what_plugins_bring_keeps_its_type_and_carries_the_plugin():
    """Server, skill, command, agent: by the names that the client gives them."""
    skills = "The following skills are available for use with the Skill tool:\n\n- acme:vectorize: own-skill"
    agents = "Available agent types for the Agent tool:\n- acme:planner: own-agent (Tools: *)"
    command = "<command-message>acme:ship</command-message>\n<command-name>/acme:ship</command-name>"
    found = analyze(
        body(
            user(text(command), text("own-command")),
            system(f"{agents}\n\n{skills}"),
            tools=[tool("mcp__plugin_acme_docs__find", "own-schema")],
        )
    )
    for words, label in (
        ("own-schema", "MCP: docs"),
        ("own-skill", "Skill: acme:vectorize"),
        ("own-agent", "Agent: acme:planner"),
        ("own-command", "Command: acme:ship"),
    ):
        segment = one(holders(found, words))
        assert (segment.source.label, segment.source.plugin) == (label, "acme")
