"""Where items begin in injected text."""

from __future__ import annotations

import pytest

from claudeproxy.attribution.names import Servers, tool
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.scene import Place, Role, Scene
from claudeproxy.attribution.segmenter import MAX_CANDIDATES, split_injected, split_reminder, split_result
from claudeproxy.attribution.spans import Claim
from tests.attribution.bodies import DATE, ENVIRONMENT, STYLE_REMINDER

PLACE = Place(role=Role.INJECTED)
HOOK = "UserPromptSubmit hook success: hook"
SKILLS = "The following skills are available for use with the Skill tool:\n\n- a: b"


def names(text: str) -> list[str]:
    spans = split_injected(text, 0, len(text), DEFAULT, Scene(), PLACE)
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    return [str(span.claim.source.name) for span in spans]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([ENVIRONMENT, HOOK, DATE], ["environment", "UserPromptSubmit", "date"]),
        ([HOOK, ENVIRONMENT, DATE], ["UserPromptSubmit", "date"]),
        ([HOOK, HOOK], ["UserPromptSubmit"]),
        ([STYLE_REMINDER, STYLE_REMINDER, HOOK], ["output style", "UserPromptSubmit"]),
        ([SKILLS, DATE, SKILLS, DATE], ["skills listing", "a", "date"]),
        (["", "", DATE], ["unclassified", "date"]),
        (["what", ENVIRONMENT, "more"], ["unclassified", "environment", "unclassified"]),
        ([f"{DATE}\nsecond line"], ["unclassified"]),
    ],
)
def test_the_reading_that_fits_the_order_is_taken(items, expected):
    """An open item keeps what would not stand there; a closed one keeps nothing."""
    assert names("\n\n".join(items)) in (expected, expected[1:] if expected[0] == "unclassified" else expected)


def test_more_candidates_than_are_searched_are_each_taken():
    """The search is quadratic: beyond the limit every candidate counts."""
    found = names("\n\n".join([HOOK, DATE] * MAX_CANDIDATES))
    assert len(found) == 2 * MAX_CANDIDATES


def test_a_reminder_is_one_item_between_its_tags():
    """Whatever tags stand inside."""
    text = f"<system-reminder>\n{HOOK}\n</system-reminder>\n<system-reminder>\n{DATE}\n</system-reminder>\n"
    spans = split_reminder(text, DEFAULT, Scene(), PLACE)
    assert [span.claim.kind for span in spans] == ["wrapper", "body", "wrapper"]
    assert text[spans[1].start : spans[1].end].endswith(DATE)


def test_an_empty_reminder_is_all_wrapper():
    """Nothing between the tags."""
    spans = split_reminder("<system-reminder>\n</system-reminder>", DEFAULT, Scene(), PLACE)
    assert [(span.start, span.end, span.claim.kind) for span in spans] == [(0, 36, "wrapper")]


def test_glued_reminders_are_cut_off_one_by_one():
    """The last first, until one does not fit."""
    claim = Claim(source=tool("Read"), kind="result", rule="result.call")
    place = Place(role=Role.RESULT, turn_tools=frozenset({"Read"}), turn_paths=frozenset({"/p/sub/x"}))
    nested = "Contents of /p/sub/CLAUDE.md:\n\ninner\n\n<system-reminder>\nquoted\n</system-reminder>"
    glue = "\n\n<system-reminder>\n{}\n</system-reminder>"
    text = "out" + "".join(glue.format(item) for item in (DATE, nested, STYLE_REMINDER))
    spans = split_result(text, claim, DEFAULT, Scene(glues=True), place)
    owners = [span.claim.source.name for span in spans if span.claim.kind != "wrapper"]
    assert owners == ["Read", "/p/sub/CLAUDE.md", "output style"]
    assert text[: spans[0].end] == "out" + glue.format(DATE)
    assert split_result(text, claim, DEFAULT, Scene(glues=False), place)[0].end == len(text)


def test_a_hook_that_quotes_several_items_keeps_them():
    """Two steps back in the order are no better than one; a listing of agents before the real one is a quotation."""
    mention = 'Called the Read tool with the following input: {"file_path":"/x"}'
    assert names(f"{SKILLS}\n\n{HOOK}\n\n{mention}\n\nPostToolUse:Bash hook success: q\n\n{DATE}") == [
        "skills listing",
        "a",
        "UserPromptSubmit",
        "date",
    ]
    agents = "Available agent types for the Agent tool:\n- {}: words (Tools: *)"
    start = f"SessionStart hook success: see\n\n{agents.format('x').removesuffix(' (Tools: *)')}"
    found = names(f"{start}\n\n{ENVIRONMENT}\n\n{agents.format('planner')}\n\n{DATE}")
    assert found == ["SessionStart", "environment", "agents listing", "planner", "agents listing", "date"]


def test_what_an_entry_of_a_closed_listing_quotes_begins_no_item():
    """Also behind a file, which might hold all of it: as after a compaction (2.1.197), without a skills listing."""
    mention = (
        'Called the Read tool with the following input: {"file_path":"/p/m.txt"}\nResult of calling the Read tool:\n1'
    )
    servers = "# MCP Server Instructions\n\nThe following MCP servers have provided instructions:\n\n## docs\nAsk."
    hook = "SessionStart:compact hook success: done"
    for quoted in (SKILLS, DATE, servers, HOOK, f"{SKILLS}\n\n{DATE}"):
        entries = f"- long: words\n\n{quoted} (Tools: *)\n- planner: plans (Tools: *)"
        agents = f"Available agent types for the Agent tool:\n{entries}\n\nWhen you launch multiple agents, do."
        expected = ["agents listing", "long", "planner", "agents listing"]
        for before, after in ((mention, servers), ("", DATE)):
            text = "\n\n".join(item for item in (before, agents, after, hook) if item)
            found = names(text)
            assert found[found.index(expected[0]) :][:4] == expected, (quoted, before, found)


def test_nested_memory_stands_between_the_listings():
    """Behind agents and servers' instructions, before skills: where a file that is read brings it (2.1.197)."""
    agents = "Available agent types for the Agent tool:\n- planner: words (Tools: *)"
    servers = "# MCP Server Instructions\n\nThe following MCP servers have provided instructions:\n\n## docs\nAsk."
    nested = "Contents of /p/sub/CLAUDE.md:\n\nnested\n\nContents of /p/.claude/rules/x.md:\n\nrule"
    assert names(f"{servers}\n\n{nested}")[-2:] == ["/p/sub/CLAUDE.md", "/p/.claude/rules/x.md"]
    found = names(f"{agents}\n\nContents of /p/sub/CLAUDE.md:\n\nnested\n\n{SKILLS}\n\n{HOOK}")
    listed = ["agents listing", "planner", "agents listing"]
    assert found == [*listed, "/p/sub/CLAUDE.md", "skills listing", "a", "UserPromptSubmit"]


def test_servers_that_are_gone_stand_where_their_instructions_did():
    """Behind the agents that are gone, and those behind the other notices about servers."""
    items = [
        'Called the Read tool with the following input: {"file_path":"/p/m.txt"}',
        "Result of calling the Read tool:\n1\ttext",
        "The following tools are no longer available:\nmcp__docs__find",
        "The following MCP servers are still connecting:\ndocs",
        "The following agent types are no longer available:\n- planner",
        "The following MCP servers have disconnected. Their instructions above no longer apply:\ndocs",
        HOOK,
    ]
    text = "\n\n".join(items)
    spans = split_injected(text, 0, len(text), DEFAULT, Scene(), PLACE)
    rules = list(dict.fromkeys(span.claim.rule for span in spans))
    notices = ["tools.changed", "mcp.notice", "agents.removed", "mcp.disconnected"]
    assert rules == ["file.mention", "file.content", *notices, "hook.prompt"]


def test_queued_prompts_are_notifications_each_with_its_hooks():
    """They stand before all else but the hooks of tools, in turn."""
    notice = "[SYSTEM NOTIFICATION - NOT USER INPUT]\nAn event."
    tools = "PostToolUse:Bash hook additional context: done"
    found = names("\n\n".join([tools, *[notice, HOOK] * 3, STYLE_REMINDER]))
    cycle = ["task notification", "UserPromptSubmit"]
    assert found == ["PostToolUse:Bash", *cycle * 3, "output style"]


def test_a_reminder_may_hold_several_items_that_are_known_whole():
    """And what no rule knows behind them stays unknown."""
    text = f"<system-reminder>\n{DATE}\n\n{STYLE_REMINDER}\n\nNews.\n</system-reminder>"
    found = [str(span.claim.source.name) for span in split_reminder(text, DEFAULT, Scene(), PLACE)]
    assert found == ["system reminder", "date", "output style", "unclassified", "system reminder"]


def test_servers_instructions_may_quote_any_item():
    """What another server's heading follows is no item of its own; a hook's heading behind the skills is a hook's."""
    head = "# MCP Server Instructions\n\nThe following MCP servers have provided instructions:\n\n## docs\nAsk."
    scene = Scene(servers=Servers(known=frozenset({"docs", "wiki"})))
    for quoted in (DATE, SKILLS, f"{DATE}\n\n{SKILLS}\n\nso far"):
        text = f"{head}\n\n{quoted}\n\n## wiki\nRead.\n\n{SKILLS}\n\n{HOOK}\n\n## wiki\n\n{DATE}"
        found = [str(span.claim.source.name) for span in split_injected(text, 0, len(text), DEFAULT, scene, PLACE)]
        assert found == ["MCP instructions", "docs", "wiki", "skills listing", "a", "UserPromptSubmit", "date"]
