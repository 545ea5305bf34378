"""Containers in odd shapes, and the listings that old clients keep in tool descriptions."""

from __future__ import annotations

from tests.attribution.bodies import DATE, analyze, body, labels, owners, reminder, system, text, tool, user

TAGGED = (
    "Do it.\n\n<available_skills>\n<skill>\n<name>\nvectorize\n</name>\n<description>\nplanted-skill\n</description>\n"
    "</skill>\n<skill>\n<name>\ntidy\n</name>\n<description>\nplanted-tidy\n</description>\n</skill>\n</available_skills>\n"
)
LISTED = (
    "Launch it.\n\nAvailable agent types and the tools they have access to:\n- planner: planted-planner (Tools: *)\n"
    "- box:helper: planted-helper (Tools: Read)\n\nUsage notes."
)


def test_listings_in_tool_descriptions():
    """Layout A: agents in `Task`, skills in `Skill`."""
    found = analyze(body(user(reminder(DATE), text("go")), tools=[tool("Task", LISTED), tool("Skill", TAGGED)]))
    assert owners(found, "planted-planner") == {("Agent: planner", "listing")}
    assert owners(found, "planted-helper") == {("Agent: box:helper", "listing")}
    assert owners(found, "Usage notes.") == {("Tool: Task", "schema")}
    assert owners(found, "planted-skill") == {("Skill: vectorize", "listing")}
    assert owners(found, "planted-tidy") == {("Skill: tidy", "listing")}
    assert owners(found, "Do it.") == {("Tool: Skill", "schema")}


def test_a_servers_tool_may_quote_a_listing():
    """Only the client's own tools hold listings."""
    found = analyze(body(user(text("go")), tools=[tool("mcp__docs__find", LISTED)]))
    assert owners(found, "planted-planner") == {("MCP: docs", "schema")}


def test_an_agents_listing_of_an_unknown_form():
    """Entries without their tools: the last ends at the first blank line."""
    words = "Available agent types for the Agent tool:\n- planner: planted-planner\n\nplanted-rest"
    found = analyze(body(user(text("go")), system(words)))
    assert labels(found, "planted-planner") == {"Agent: planner"}
    assert labels(found, "planted-rest") == {"Framework: agents listing"}
    nobody = "New agent types are now available:\nnone"
    assert labels(analyze(body(user(text("go")), system(nobody))), "none") == {"Framework: agents listing"}


def test_a_context_block_with_all_sections():
    """Memory, then sections of the client's, then its closing line; a quoted section stays memory."""
    words = (
        "As you answer the user's questions, you can use the following context:\n# claudeMd\n"
        "Codebase and user instructions are shown below.\n\n"
        "Contents of /p/CLAUDE.md (project instructions, checked into the codebase):\n\nmine\n"
        f"# currentDate\n{DATE} quoted\n\nmore-of-mine\n# gitStatus\nThis is the git status of planted-git\n"
        f"# currentDate\n{DATE}\n\n      IMPORTANT: this context may or may not be relevant to your tasks. planted-end"
    )
    found = analyze(body(user(reminder(words), text("go")), tools=[tool("Read")]))
    assert labels(found, "more-of-mine") == {"Memory: /p/CLAUDE.md"}
    assert labels(found, "planted-git") == {"Framework: git status"}
    assert labels(found, "planted-end") == {"Framework: context"}
    assert labels(found, "Codebase and user") == {"Framework: memory preamble"}
    assert ("Framework: date", "text") in owners(found, DATE)


def test_mentions_that_name_no_file():
    """A directory, or a line that cannot be read."""
    called = reminder('Called the Bash tool with the following input: {"command":"ls"}')
    content = reminder("Result of calling the Bash tool:\nplanted-list")
    found = analyze(body(user(called, content, text("go")), tools=[tool("Read")]))
    assert labels(found, "planted-list") == {"Attachment: file"}


def test_unknown_reminders_are_unclassified():
    """A reminder of tomorrow is the framework's, and shows up as unknown."""
    found = analyze(body(user(reminder("Something that no rule knows."), text("go")), system(f"News.\n\n{DATE}")))
    assert labels(found, "no rule knows") == {"Framework: unclassified"}
    assert labels(found, "News.") == {"Framework: unclassified"}


def test_a_closed_item_that_goes_on_is_not_taken_whole():
    """What follows a known sentence in the same reminder is unknown, not part of it."""
    found = analyze(body(user(reminder(f"{DATE}\n\nplanted-more"), text("go")), tools=[tool("Read")]))
    assert labels(found, "planted-more") == {"Framework: unclassified"}
    assert labels(found, DATE) == {"Framework: date"}


def test_lists_without_lines_are_the_clients():
    """A listing's head alone."""
    heads = [
        "The following deferred tools are now available via ToolSearch. None.",
        "The following MCP servers require authentication: x",
    ]
    found = analyze(body(user(text("go")), system("\n\n".join(heads))))
    assert labels(found, "None.") == {"Framework: deferred tools"}
    assert labels(found, "require authentication") == {"Framework: MCP availability"}


def test_a_server_that_quotes_another_servers_heading_keeps_its_text():
    """The client sorts servers by name: a heading out of that order is a quotation, before it and behind it."""
    head = (
        "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their tools:"
    )
    parts = ["## a\nof-a", "## b\nquoted-in-a", "## b\nof-b", "## c\nof-c", "## b\nquoted-in-c"]
    tools = [tool(f"mcp__{name}__x") for name in "abc"]
    found = analyze(body(user(text("go")), system("\n\n".join([head, *parts])), tools=tools))
    expected = {"of-a": "a", "quoted-in-a": "a", "of-b": "b", "of-c": "c", "quoted-in-c": "c"}
    assert {words: labels(found, words) for words in expected} == {w: {f"MCP: {n}"} for w, n in expected.items()}


def test_servers_in_any_order_have_their_own_text():
    """Older clients list them as they connected."""
    head = (
        "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their tools:"
    )
    tools = [tool(f"mcp__{name}__x") for name in "abc"]
    listed = f"{head}\n\n## c\nof-c\n\n## a\nof-a\n\n## b\nof-b"
    found = analyze(body(user(text("go")), system(listed), tools=tools))
    assert {words: labels(found, words) for words in ("of-a", "of-b", "of-c")} == {
        "of-a": {"MCP: a"},
        "of-b": {"MCP: b"},
        "of-c": {"MCP: c"},
    }
