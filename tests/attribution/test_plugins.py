"""A plugin's skill and a command in a folder are spelled alike: what else the request shows decides."""

from __future__ import annotations

import pytest

from claudeproxy.attribution.plugins import is_foreign, listed_plugins, listed_skills
from tests.attribution.bodies import analyze, body, holders, result, said, system, text, tool, use, user

SKILLS = (
    "The following skills are available for use with the Skill tool:\n\n- box:polish: own-listed\n- tidy: sweeps\n"
    "- docs:nested: own-nested"
)
AGENTS = "Available agent types for the Agent tool:\n- box:guide: guides\nwell (Tools: Read)\n- other: x (Tools: *)"
CALLED = said(use("a", "Skill", skill="box:polish"))
LIST_OF_2_0 = (
    "<available_skills>\n<skill>\n<name>\nbox:polish.it\n</name>\n<description>\nown-listed (plugin:box@inline)\n"
    "</description>\n<location>\nplugin\n</location>\n</skill>\n<skill>\n<name>\ndocs:nested\n</name>\n<description>\n"
    "own-nested (project)\n</description>\n<location>\nmanaged\n</location>\n</skill>\n</available_skills>"
)


def plugins(request: bytes, words: str) -> set[tuple[str, str | None]]:
    return {(segment.source.label, segment.source.plugin) for segment in holders(analyze(request), words)}


def base(folder: str) -> dict[str, object]:
    return text(f"Base directory for this skill: {folder}\n\nown-body")


@pytest.mark.parametrize(
    "shown",
    [
        body(user(text("q")), system(f"{AGENTS}\n\n{SKILLS}")),
        body(user(text("q")), system(SKILLS), tools=[tool("mcp__plugin_box_db__get")]),
        body(user(text("q")), system(SKILLS), CALLED, user(result("a", "Launching"), base("/x/box/skills/polish"))),
        body(
            user(text("<command-name>/box:polish</command-name>"), base("/x/box/skills/polish")),
            system(SKILLS),
        ),
        body(
            user(text("q")),
            system(f"{SKILLS}\n\n# MCP Server Instructions\n\nThe following MCP servers have\n\n## plugin:box:db\nx"),
        ),
    ],
    ids=["agent", "server", "called", "typed", "instructions"],
)
def test_a_plugin_that_the_request_shows_is_carried_and_no_other(shown: bytes):
    assert plugins(shown, "own-listed") == {("Skill: box:polish", "box")}
    assert plugins(shown, "own-nested") == {("Skill: docs:nested", None)}


@pytest.mark.parametrize("folder", ["/p/.claude/skills/polish", "/x/box/skills/another"])
def test_without_evidence_no_plugin_is_claimed(folder: str):
    """The name stays whole: it is the client's. A skill in the project's own folders, or another skill, shows none."""
    request = body(user(text("q")), system(SKILLS), CALLED, user(result("a", "Launching"), base(folder)))
    assert plugins(request, "own-listed") == {("Skill: box:polish", None)}


def test_a_command_in_a_folder_is_no_plugins():
    typed = text("<command-message>docs:nested</command-message>\n<command-name>/docs:nested</command-name>")
    request = body(user(typed, text("own-command")), system(f"{AGENTS}\n\n{SKILLS}"))
    assert plugins(request, "own-command") == {("Command: docs:nested", None)}


def test_a_plugins_skill_that_is_named_without_its_plugin_is_found_in_the_list_of_2_0():
    """Only when it lies outside the project's own folders, and only one has this name."""
    typed = text("<command-message>loading</command-message>\n<command-name>polish.it</command-name>")
    listing = [tool("Skill", LIST_OF_2_0)]
    foreign = body(user(typed, base("/x/box/skills/polish.it")), tools=listing)
    assert plugins(foreign, "own-body") == {("Skill: box:polish.it", "box")}
    assert plugins(foreign, "own-listed") == {("Skill: box:polish.it", "box")}
    assert plugins(foreign, "own-nested") == {("Skill: docs:nested", None)}
    own = body(user(typed, base("/p/.claude/skills/polish.it")), tools=listing)
    assert plugins(own, "own-body") == {("Skill: polish.it", None)}


def test_what_a_person_or_a_tool_writes_shows_no_plugin():
    request = body(user(text(AGENTS)), system(SKILLS), said(use("a", "Bash")), user(result("a", AGENTS)))
    assert plugins(request, "own-listed") == {("Skill: box:polish", None)}


def test_listings_are_read_for_names_with_a_colon():
    assert listed_plugins(AGENTS) == ("box",)
    assert listed_plugins("- box:guide: no tools\n- other: x (Tools: *)") == ()
    assert listed_plugins(LIST_OF_2_0) == ("box",)
    assert listed_skills(LIST_OF_2_0) == ("box:polish.it", "docs:nested")
    assert is_foreign("Base directory for this skill: C:\\box\\skills\\x\n\ny")
    assert not is_foreign("Base directory for this skill: C:\\p\\.claude\\skills\\x\n\ny")
    assert not is_foreign("/x/box/skills/x")


def test_a_skill_that_lies_beside_another_of_a_plugin_is_that_plugins():
    """Where the request lists nothing, as one for a summary does in 2.0."""
    typed = text("<command-message>loading</command-message>\n<command-name>tune.it</command-name>")
    request = body(
        user(text("q")),
        CALLED,
        user(result("a", "Launching"), text("Base directory for this skill: /x/tools/skills/polish\n\nother")),
        said(text("done")),
        user(typed, base("/x/tools/skills/tune.it")),
    )
    assert plugins(request, "own-body") == {("Skill: box:tune.it", "box")}


def test_instructions_glued_to_a_result_show_a_plugin():
    """In layout A, with the listing glued beside them."""
    servers = "# MCP Server Instructions\n\nThe following MCP servers have provided instructions\n\n## plugin:box:db\nx"
    glued = "".join(f"\n\n<system-reminder>\n{words}\n</system-reminder>" for words in (servers, SKILLS))
    turns = (user(text("q")), said(use("a", "Read", file_path="/x")), user(result("a", f"out{glued}")))
    assert plugins(body(*turns, tools=[tool("mcp__plugin_box_db__get")]), "own-listed") == {
        ("Skill: box:polish", "box")
    }
