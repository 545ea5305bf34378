"""Turns that are remembered from request to request: the same bytes, another meaning, and never an old answer."""

from __future__ import annotations

from tests.attribution.bodies import (
    CLAUDE,
    body,
    engine,
    headers,
    labels,
    reminder,
    result,
    said,
    system,
    text,
    tool,
    use,
    user,
)

TOOLS = [tool("Bash"), tool("Read"), tool("Agent"), tool("mcp__docs__find")]


def request(*messages: object) -> bytes:
    return body(user(reminder("Today's date is 2026-11-22."), text("go")), *messages, tools=TOOLS)


def both(first: bytes, second: bytes, words: str, **more: str) -> tuple[set[str], set[str]]:
    """Explain two requests with one engine; and see that the second is what a fresh engine makes of it."""
    shared = engine()
    one = shared.analyze_request(first, headers=CLAUDE)
    two = shared.analyze_request(second, headers=CLAUDE + headers(**more))
    assert two == engine().analyze_request(second, headers=CLAUDE + headers(**more))
    assert one == shared.analyze_request(first, headers=CLAUDE)
    return labels(one, words), labels(two, words)


def test_a_result_follows_its_call():
    """The same result under the same id, of another tool."""
    found = both(
        request(said(use("t", "Bash")), user(result("t", "planted"))),
        request(said(use("t", "mcp__docs__find")), user(result("t", "planted"))),
        "planted",
    )
    assert found == ({"Tool: Bash"}, {"MCP: docs"})


def test_a_turn_that_moves_keeps_its_meaning():
    """And the first turn is not any other."""
    turn = user(reminder("Today's date is 2026-11-23."), text("planted"))
    found = both(
        request(said(text("x")), turn), request(said(text("x")), user(text("y")), said(text("z")), turn), "planted"
    )
    assert found == ({"User"}, {"User"})
    summary = user(
        text("This session is being continued from a previous conversation that ran out of context. planted")
    )
    both(body(summary, tools=TOOLS), request(said(text("x")), summary), "planted")


def test_the_stated_class_counts():
    """Only the client knows whether the words are its own request for a summary."""
    asked = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools. planted " + "x" * 3000
    raw = request(said(text("x")), user(text(asked)))
    found = both(raw, raw, "planted", x_claude_code_request_class="main")
    assert found[1] == {"User"}


def test_a_notification_follows_the_call_that_it_names():
    """Which may stand anywhere before it."""
    note = system(
        "[SYSTEM NOTIFICATION - NOT USER INPUT]\nDone.\n\n<task-notification>\n<tool-use-id>t</tool-use-id>\n"
        "<result>planted</result>\n</task-notification>"
    )
    calls = [said(use("t", "Agent", subagent_type=name)) for name in ("botanist", "gardener")]
    found = both(
        *(request(call, user(result("t", "started"), text("on")), said(text("y")), note) for call in calls), "planted"
    )
    assert found == ({"Agent: botanist"}, {"Agent: gardener"})
