"""The blocks of `system`: parts of the client's prompt, and what was put into it."""

from __future__ import annotations

from claudeproxy.attribution import AttributionEngine
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    IDENTITY,
    KNOWN,
    KNOWN_PART,
    SUBAGENT_BILLING,
    VERSION,
    analyze,
    body,
    check_partition,
    labels,
    owners,
    reminder,
    text,
    tool,
    user,
)

TOOLS = [tool("Read"), tool("mcp__docs__find")]


def prompt(*paragraphs: str) -> bytes:
    blocks = [text(BILLING), text(IDENTITY), text("\n\n".join(paragraphs))]
    return body(user(reminder("Today's date is 2026-11-22."), text("go")), system=blocks, tools=TOOLS)


def test_billing_identity_and_parts_have_names():
    """A known paragraph belongs to the part whose heading stands above it."""
    found = analyze(prompt(KNOWN, KNOWN_PART, "You have a persistent file-based memory at `/m/`. Use it."))
    assert owners(found, "cc_entrypoint") == {("Framework: billing header", "metadata")}
    assert labels(found, IDENTITY) == {"Framework: identity"}
    assert labels(found, KNOWN) == {"Framework: system prompt"}
    assert labels(found, KNOWN_PART) == {"Framework: harness"}
    assert labels(found, "persistent file-based") == {"Framework: memory"}


def test_appended_text_is_the_users():
    """It carries no marker: it is what the version's prompt does not contain."""
    found = analyze(prompt(KNOWN, KNOWN_PART, "Appended by somebody, at length.", "short", "# Title of mine", "end"))
    for words in ("Appended by", "short", "# Title of mine", "end"):
        assert owners(found, words) == {("User", "instructions")}


def test_short_paragraphs_have_no_fingerprint():
    """A heading goes with what it heads; of other short text the client's prompt has next to none."""
    memory = "You have a persistent file-based memory at `/m/`."
    found = analyze(prompt(KNOWN, "Examples:", "tiny", "# Memory", memory, KNOWN, "# Mine", "mine", "# Own", KNOWN))
    assert labels(found, "Examples:") == {"Framework: system prompt"}
    assert labels(found, "# Memory") == {"Framework: memory"}
    assert {label for words in ("tiny", "# Mine", "mine") for label in labels(found, words)} == {"User"}
    assert analyze(prompt("tiny", KNOWN)) is not None


def test_appended_text_behind_an_open_container_is_left_undecided_where_nothing_parts_them():
    """2.0 and older: one line break before git status says that something was appended, but not where it begins."""
    servers = [
        "# MCP Server Instructions",
        "The following MCP servers have provided instructions for how to use their tools:",
        "## docs\nplanted-instructions",
        "planted-either",
    ]
    git = "gitStatus: This is the git status at the start of the conversation.\nMain"
    appended = analyze(prompt(KNOWN, *servers, f"planted-appended\n{git}"))
    assert owners(appended, "planted-instructions") == {("MCP: docs", "instructions")}
    assert labels(appended, "planted-either") == {"Framework: unclassified"}
    assert owners(appended, "planted-appended") == {("User", "instructions")}
    bare = analyze(prompt(KNOWN, *servers, git))
    assert labels(bare, "planted-either") == {"MCP: docs"}
    short = analyze(prompt(KNOWN, *servers[:3], f"planted-appended\n{git}"))
    assert labels(short, "planted-instructions") == {"MCP: docs"}
    assert labels(short, "planted-appended") == {"User"}
    without_git = prompt(KNOWN, *servers[:3], "planted-appended")
    assert labels(analyze(without_git), "planted-appended") == {"MCP: docs"}
    old = analyze(without_git.replace(VERSION.encode(), b"2.0.76"))
    assert labels(old, "planted-appended") == {"Framework: unclassified"}  # the user's, where the version is known
    alone = analyze(prompt(KNOWN, f"# Output Style: Curt\nplanted-style\n{git}"))
    assert labels(alone, "planted-style") == {"Framework: output style"}


def test_an_agents_text_in_an_unknown_version_is_the_agents():
    """Its file stands before the client's notes, which have a marker."""
    blocks = [text(SUBAGENT_BILLING), text(IDENTITY), text(f"planted-agent\n\n\nNotes:\n- Be absolute.\n\n{KNOWN}")]
    request = body(user(text("go")), system=blocks, tools=TOOLS).replace(VERSION.encode(), b"9.9.999")
    found = analyze(request, x_claude_code_agent_type="Explore")
    assert owners(found, "planted-agent") == {("Agent: Explore", "instructions")}
    assert labels(found, "Be absolute.") == {"Framework: agent notes"}


def test_appended_text_stands_before_git_status():
    """2.1.197 and older: git status is last; in 2.0 only one line break parts it from appended text."""
    git = "gitStatus: This is the git status at the start of the conversation.\nMain\n\nStatus:\nplanted-file"
    found = analyze(prompt(KNOWN, f"Appended by somebody, at length.\n{git}"))
    assert labels(found, "Appended by") == {"User"}
    assert labels(found, "planted-file") == {"Framework: git status"}


def test_output_style_and_server_instructions_are_containers():
    """Layout A keeps both in the prompt; they end where the client's own words go on."""
    servers = [
        "# MCP Server Instructions",
        "The following MCP servers have provided instructions for how to use their tools:",
        "## docs\nplanted-instructions",
        "planted-second paragraph of theirs",
    ]
    found = analyze(
        prompt(
            KNOWN,
            "# Output Style: Curt\nplanted-style",
            "planted-more of the style",
            *servers,
            KNOWN_PART,
            "by user, long",
        )
    )
    assert labels(found, "planted-style") == {"Framework: output style"}
    assert labels(found, "planted-more") == {"Framework: output style"}
    assert owners(found, "planted-instructions") == {("MCP: docs", "instructions")}
    assert labels(found, "planted-second") == {"MCP: docs"}
    assert labels(found, "have provided instructions") == {"Framework: MCP instructions"}
    assert labels(found, "by user, long") == {"User"}


def test_in_an_unknown_version_nothing_is_blamed_on_the_user():
    """A paragraph that no fingerprint knows is unclassified then; known ones are still known."""
    request = prompt(KNOWN, "Something new in the prompt of tomorrow.").replace(VERSION.encode(), b"9.9.999")
    found = analyze(request)
    assert labels(found, "Something new") == {"Framework: unclassified"}
    assert labels(found, KNOWN) == {"Framework: system prompt"}


def test_without_fingerprints_nothing_is_blamed_on_the_user():
    """An engine made bare still partitions."""
    request = prompt(KNOWN)
    found = AttributionEngine().analyze_request(request, headers=CLAUDE)
    check_partition(request, found)
    assert labels(found, KNOWN) == {"Framework: unclassified"}


def test_an_applications_system_prompt_is_the_users():
    """String or blocks."""
    for system in ("planted-own", [text("planted-own")]):
        request = body(user(text("go")), system=system)
        found = AttributionEngine().analyze_request(request)
        check_partition(request, found)
        assert owners(found, "planted-own") == {("User", "instructions")}


def test_odd_system_blocks_are_covered():
    """A block without text, blank paragraphs, nothing at all."""
    blocks = [text(BILLING), {"type": "odd", "x": 1}, text(""), text("\n\n\n"), text(f"\n\n\n{KNOWN}\n\n")]
    found = analyze(body(user(text("go")), system=blocks, tools=TOOLS))
    assert labels(found, KNOWN) == {"Framework: system prompt"}


def test_a_heading_of_servers_without_the_clients_introduction_is_an_ordinary_one():
    """An agent's file may have a part of that name."""
    found = analyze(prompt(KNOWN, "# MCP Server Instructions", "planted-words that are written by somebody"))
    assert labels(found, "planted-words") == {"User"}
    assert labels(found, "# MCP Server Instructions") == {"User"}
