"""Containers in odd shapes, and the listings that old clients keep in tool descriptions."""

from __future__ import annotations

import pytest

from tests.attribution.bodies import (
    BILLING,
    DATE,
    IDENTITY,
    VERSION,
    analyze,
    body,
    holders,
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

INSTRUCTIONS = "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use them:"
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
    older = [{"type": "text", "text": BILLING.replace(VERSION, "2.0.76")}, {"type": "text", "text": IDENTITY}]
    found = analyze(body(user(text("go")), system(listed), system=older, tools=tools))
    assert {words: labels(found, words) for words in ("of-a", "of-b", "of-c")} == {
        "of-a": {"MCP: a"},
        "of-b": {"MCP: b"},
        "of-c": {"MCP: c"},
    }


def test_skills_may_have_any_name():
    """Letters of any script, blanks, and the spelling in brackets that the client adds where it changed the name."""
    listed = (
        "The following skills are available for use with the Skill tool:\n\n- café: of-cafe\n- two words: of-two\n"
        "- no-description\n- box:polish-it (box:polish.it): of-box - not: an entry"
    )
    found = analyze(body(user(text("go")), system(listed)))
    expected = {"of-cafe": "café", "of-two": "two words", "of-box": "box:polish-it", "no-description": "no-description"}
    assert {words: labels(found, words) for words in expected} == {w: {f"Skill: {n}"} for w, n in expected.items()}


def test_an_agents_description_may_hold_blank_lines():
    """In the description of the tool, as older clients list them."""
    words = (
        "Available agent types and the tools they have access to:\n- planner: of-planner\n\nExamples:\n- first: planned"
        " (Tools: *)\n- other: of-other (Tools: Read)\n\nWhen NOT to use the tool: never-mind"
    )
    found = analyze(body(user(text("go")), tools=[tool("Task", words)]))
    assert labels(found, "of-planner") == labels(found, "first: planned") == {"Agent: planner"}
    assert labels(found, "of-other") == {"Agent: other"}
    assert labels(found, "never-mind") == {"Tool: Task"}


def test_servers_can_fail_in_two_ways_at_once():
    """A notice for each way, one behind the other."""
    notices = (
        'The following MCP servers are configured but failed to connect - for this session:\none (CLOSED): "of-one"',
        'The following MCP servers are configured but failed to connect - for now:\ntwo: "of-two"',
    )
    for joined in (system("\n\n".join(notices)), user(reminder("\n\n".join(notices)))):
        found = analyze(body(user(text("go")), joined))
        assert labels(found, "of-one") == {"MCP: one"}
        assert labels(found, "of-two") == {"MCP: two"}


def test_notices_spell_the_servers_names():
    """Where no server has instructions, the notice about connections tells ``a__b`` from ``a``, and plugins' names."""
    notice = "The following MCP servers are still connecting:\na__b\nplugin:my-plug_in:srv-2\n\nIf the user's request"
    tools = [
        tool("mcp__a__b__c", "of-ab"),
        tool("mcp__a__x", "of-a"),
        tool("mcp__plugin_my-plug_in_srv-2__x", "of-plugin"),
    ]
    found = analyze(body(user(text("go")), system(notice), tools=tools))
    assert labels(found, "of-ab") == {"MCP: a__b"}
    assert {s.source.plugin for s in found.segments() if s.source.label == "MCP: srv-2"} == {"my-plug_in"}


@pytest.mark.parametrize("glues", [True, False])
def test_instructions_glued_to_a_result_spell_their_server(glues: bool):
    """In layout A only: elsewhere the client glues nothing, and a tool may print what it likes."""
    words = f"out\n\n<system-reminder>\n{INSTRUCTIONS}\n\n## a__b\nof-instructions\n</system-reminder>"
    turns = [user(text("go")), said(use("a", "Read", file_path="/x")), user(result("a", words))]
    found = analyze(body(*turns, *([] if glues else [system(DATE)]), tools=[tool("mcp__a__b__c", "of-ab")]))
    (segment,) = holders(found, "of-ab")
    assert (segment.source.name, segment.confidence) == (("a__b", 1.0) if glues else ("b", 0.8))
    assert labels(found, "of-instructions") == {"MCP: a__b" if glues else "Tool: Read"}


def test_a_call_of_a_server_that_nobody_spells_is_less_certain():
    """The name is cut at the first double underscore: schema, call and result say so."""
    turns = [user(text("go")), said(use("a", "mcp__a__b__c", q="of-call")), user(result("a", "of-result"))]
    found = analyze(body(*turns, tools=[tool("mcp__a__b__c", "of-schema"), tool("mcp__d__e", "of-other")]))
    assert {holders(found, words)[0].confidence for words in ("of-schema", "of-call", "of-result")} == {0.8}
    assert holders(found, "of-other")[0].confidence == 1.0


def test_agents_that_are_gone_are_named_one_by_one():
    """In a notice of their own, with the client's remark behind it."""
    notice = (
        "The following agent types are no longer available:\n- planner\n- box:helper\n\nThis is ambient context - hush."
    )
    found = analyze(body(user(text("go")), system(f"{notice}\n\n{DATE}")))
    assert owners(found, "- planner") == {("Agent: planner", "notice")}
    assert owners(found, "- box:helper") == {("Agent: box:helper", "notice")}
    assert owners(found, "hush.") == {("Framework: agents listing", "notice")}
