"""What users write, made rules: every mistake is told with its remedy, and a bad document is left out whole."""

from __future__ import annotations

import dataclasses
import re

import pytest

from claudeproxy.attribution import DEFAULT, AttributionEngine
from claudeproxy.attribution.rules import Rule, Scope
from claudeproxy.attribution.userrules import FIELDS, extend, read_rules
from claudeproxy.model import RequestAttribution, SourceType
from tests.attribution.bodies import (
    CLAUDE,
    DATE,
    FINGERPRINTS,
    KNOWN,
    SYSTEM,
    body,
    check_partition,
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

GOOD: dict[str, object] = {
    "id": "team.banner",
    "starts_with": "Team notice:",
    "source": "Hook: banner",
    "example": "Team notice: be kind",
    "counter_example": "A Team notice: be kind",
}
GATEWAY: dict[str, object] = {
    "id": "gateway",
    "applies_to": "tools",
    "matches": "mcp__proxy__(?P<inner>[a-z0-9]+)__.+",
    "source": "MCP: {inner}",
    "via": "proxy",
    "example": "mcp__proxy__context7__get_docs",
    "counter_example": "mcp__context7__get_docs",
}
KNOWLEDGE: dict[str, object] = {
    "id": "knowledge",
    "applies_to": "system",
    "starts_with": "# Knowledge base",
    "source": "Memory: knowledge base",
    "extent": "item",
    "example": "# Knowledge base\nFacts.",
    "counter_example": "## Knowledge base",
}
RENAME: dict[str, object] = {
    "id": "rename",
    "applies_to": "names",
    "matches": "MCP: (?P<team>[a-z]+)_docs_v[0-9]",
    "source": "MCP: {team} docs",
    "example": "MCP: acme_docs_v2",
    "counter_example": "MCP: acme_docs",
}


def rules(*rows: dict[str, object]) -> list[Rule]:
    found, problems = read_rules("my.yaml", {"rules": list(rows)})
    assert problems == []
    return found


def analyze(request: bytes, *rows: dict[str, object], claude: bool = True) -> RequestAttribution:
    engine = AttributionEngine(rules=DEFAULT.extended(*rules(*rows)), fingerprints=FINGERPRINTS)
    found = engine.analyze_request(request, headers=CLAUDE if claude else None)
    check_partition(request, found)
    return found


# --- what rules do -------------------------------------------------------------------------------------------------


def test_a_text_rule_names_a_paragraph_that_the_client_injects():
    """In role:system texts and in reminders; what stands around it keeps its own."""
    found = analyze(
        body(user(reminder("Team notice: own-a"), text("q")), system(f"Team notice: own-b\nmore\n\n{DATE}")), GOOD
    )
    assert owners(found, "own-a") == owners(found, "own-b") == {("Hook: banner", "text")}
    assert labels(found, DATE) == {"Framework: date"}


def test_what_people_and_tools_write_is_never_the_rules():
    """A span starts only where the client itself writes."""
    found = analyze(
        body(
            user(text("Team notice: own-typed")),
            said(text("Team notice: own-said"), use("c", "Read", file_path="/f")),
            user(result("c", "Team notice: own-read")),
        ),
        GOOD,
    )
    assert labels(found, "own-typed") == {"User"}
    assert labels(found, "own-said") == {"Assistant: text"}
    assert labels(found, "own-read") == {"Tool: Read"}


def test_an_item_goes_on_to_the_next_that_a_rule_knows():
    """`extent: item` takes what has blank lines in it."""
    request = body(user(text("q")), system(f"Team notice: a\n\nown-more\n\n{DATE}"))
    assert labels(analyze(request, {**GOOD, "extent": "item"}), "own-more") == {"Hook: banner"}
    assert labels(analyze(request, GOOD), "own-more") == {"Framework: unclassified"}


def test_a_glued_rule_is_known_at_the_end_of_a_tools_result():
    """Layout A, where reminders stand inside results."""
    output = "own-output\n\n<system-reminder>\nTeam notice: own-glued\n</system-reminder>"
    request = body(user(text("q")), said(use("c", "Read", file_path="/f")), user(result("c", output)))
    assert labels(analyze(request, {**GOOD, "glued": True}), "own-glued") == {"Hook: banner"}
    assert labels(analyze(request, GOOD), "own-glued") == {"Tool: Read"}


def test_a_tool_rule_sees_through_a_gateway_everywhere():
    """Schemas, deferred names, calls and results are the inner server's."""
    name = "mcp__proxy__context7__get_docs"
    request = body(
        user(text("q")),
        system(f"The following deferred tools are now available via ToolSearch. Load:\n{name}\n\n{DATE}"),
        said(use("c", name, q="own-call")),
        user(result("c", "own-result")),
        tools=[tool(name, "own-schema"), tool("mcp__proxy__status", "own-status")],
    )
    found = analyze(request, GATEWAY)
    for words in ("own-call", "own-result", "own-schema", name):
        assert labels(found, words) == {"MCP: context7"}, words
    assert {segment.source.via for segment in found.segments() if segment.source.name == "context7"} == {"proxy"}
    assert labels(found, "own-status") == {"MCP: proxy"}


def test_a_tool_rule_may_give_a_programs_own_tool_to_a_server():
    """Names are whatever the program made of them."""
    row = {**GATEWAY, "matches": "ctx7_.+", "example": "ctx7_get", "source": "MCP: context7", "via": ""}
    found = analyze(body(user(text("q")), tools=[tool("ctx7_find", "own-schema")]), row, claude=False)
    assert owners(found, "own-schema") == {("MCP: context7", "schema")}


def test_a_system_rule_takes_its_paragraphs_from_a_programs_prompt():
    """`extent: item` up to the next rule's, `paragraph` one of them."""
    words = "own-role\n\n# Knowledge base\nown-fact\n\nown-second\n\nTeam notice: own-notice\n\nown-rest"
    notice = {**GOOD, "applies_to": "system"}
    found = analyze(body(user(text("q")), system=words), KNOWLEDGE, notice, claude=False)
    assert labels(found, "own-role") == labels(found, "own-rest") == {"User"}
    assert owners(found, "own-fact") == owners(found, "own-second") == {("Memory: knowledge base", "instructions")}
    assert labels(found, "own-notice") == {"Hook: banner"}


def test_a_system_rule_ends_where_the_client_goes_on():
    """The client's own paragraphs are not taken, however far an item might reach."""
    blocks = [*SYSTEM[:2], text(f"# Knowledge base\nown-fact\n\nown-second\n\n{KNOWN}\n\nown-appended")]
    found = analyze(body(user(text("q")), system=blocks, tools=[tool("Read")]), KNOWLEDGE)
    assert labels(found, "own-second") == {"Memory: knowledge base"}
    assert labels(found, KNOWN) == {"Framework: system prompt"}
    assert labels(found, "own-appended") == {"User"}


def test_a_rename_changes_the_label_and_nothing_else():
    """Wherever the source comes up."""
    request = body(user(text("q")), tools=[tool("mcp__acme_docs_v2__find", "own-schema"), tool("Read", "own-read")])
    found = analyze(request, RENAME)
    assert owners(found, "own-schema") == {("MCP: acme docs", "schema")}
    assert labels(found, "own-read") == {"Tool: Read"}


def test_the_kind_plugin_and_confidence_of_a_rule_are_its_segments():
    """With groups of the pattern where braces say so."""
    row = {
        **GOOD,
        "matches": r"(?x) Team \s (?P<who>\w++) : # whose it is",
        "source": "Plugin: notices",
        "plugin": "{who}",
        "kind": "notice",
        "confidence": 0.5,
        "layouts": "C",
        "note": "for people",
        "example": "Team blue: hello",
    }
    del row["starts_with"]
    found = analyze(body(user(text("q")), system("Team red: own-words")), row)
    (segment,) = (segment for segment in found.segments() if "own-words" in segment.text)
    assert (segment.source.type, segment.source.name, segment.source.plugin) == (SourceType.PLUGIN, "notices", "red")
    assert (segment.kind, segment.rule, segment.confidence) == ("notice", "team.banner", 0.5)


def test_user_rules_come_first_and_change_the_engines_version():
    """What was derived by other rules is derived again."""
    row = {**GOOD, "starts_with": "Today's date is ", "source": "User", "example": DATE, "counter_example": "x"}
    found = analyze(body(user(text("q")), system(DATE)), row)
    assert labels(found, DATE) == {"User"}
    versions = {AttributionEngine(rules=DEFAULT.extended(*rules(one))).version for one in (row, GOOD, GATEWAY, RENAME)}
    assert len({*versions, AttributionEngine().version}) == 5


# --- what is wrong with rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, "`id` is missing: name of the rule"),
        ({"id": "a b"}, "`id: a b` is no name"),
        ({"id": "date"}, "another rule has this id"),
        ({"soruce": "x"}, "unknown field `soruce`: did you mean `source`"),
        ({"zzz": "x"}, "unknown field `zzz`: one of id"),
        ({"applies_to": "mail"}, "`applies_to: mail` is unknown: write text or system or tools or names"),
        ({"applies_to": "system", "rank": 3}, "`rank` has no meaning for `applies_to: system`"),
        ({"applies_to": "tools", "kind": "call"}, "`kind` has no meaning for `applies_to: tools`"),
        ({"matches": "x"}, "give either `starts_with`"),
        ({"starts_with": None}, "`starts_with` must be text"),
        ({"starts_with": "a "}, "too short"),
        ({"source": "Hooks: x"}, "begins with no type of source: did you mean `Hook`"),
        ({"source": "xyz"}, "one of User, Framework"),
        ({"source": "Skill"}, "write `Skill: NAME`"),
        ({"source": "Overhead: x"}, "is for structure"),
        (
            {"source": "Hook: {who}"},
            "`source` names {who}, which is no group of `matches`: the pattern has no named group",
        ),
        ({"source": "Hook: {"}, "Braces stand around the name of a group"),
        ({"plugin": 3}, "`plugin` must be text"),
        ({"rank": 40}, "`rank` must be a number from 0 to 11"),
        ({"confidence": True}, "`confidence` must be a number from 0 to 1"),
        ({"layouts": "AX"}, "`layouts: AX` names no layout"),
        ({"example": "no notice"}, "the example does not match"),
        ({"example": "Team notice: a\n\nb"}, "write `extent: item`"),
        ({"counter_example": "Team notice: b"}, "the counter-example matches"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(changes: dict[str, object], message: str):
    """Which document, which rule, what to write instead."""
    found, problems = read_rules("my.yaml", [{**GOOD, **changes}], taken=["date"])
    assert found == []
    (problem,) = problems
    assert message in str(problem)
    assert str(problem).startswith(f"my.yaml: rule {changes.get('id', 'team.banner') or 'number 1'}: ")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is not a regular expression"),
        ("(a+)+b", "make the inner one possessive"),
        ("x?", "matches nothing at all, and so everything"),
        ("(?P<who>x)", "names {team}, which is no group of `matches`: {who}"),
    ],
)
def test_a_bad_pattern_is_named_with_its_remedy(pattern: str, message: str):
    """What `matches` may be."""
    row = {key: value for key, value in GOOD.items() if key != "starts_with"}
    _, problems = read_rules("my.yaml", [{**row, "matches": pattern, "source": "Hook: {team}", "example": "x"}])
    assert message in str(problems[0])


@pytest.mark.parametrize("content", ["rules", {"rules": 3}, {"rule": []}, 7])
def test_a_document_without_a_list_of_rules_says_so(content: object):
    """Not a silent nothing."""
    assert "write a list under the key `rules:`" in str(read_rules("my.yaml", content)[1][0])


@pytest.mark.parametrize("content", [None, {"rules": None}, [], {"rules": []}])
def test_an_empty_document_has_no_rules_and_no_problem(content: object):
    """Everything may be commented out."""
    assert read_rules("my.yaml", content) == ([], [])


def test_a_row_that_is_no_mapping_is_named_by_its_number():
    """There is no other name."""
    assert str(read_rules("my.yaml", ["x"])[1][0]).startswith("my.yaml: rule number 1: a rule is a mapping")


def test_a_narrow_rule_behind_a_wide_one_is_told():
    """It would never match: the first wins."""
    narrow = {**GOOD, "id": "narrow", "starts_with": "Team notice: be"}
    assert "rule team.banner stands before it" in str(read_rules("my.yaml", [GOOD, narrow])[1][0])
    assert read_rules("my.yaml", [narrow, {**GOOD, "example": "Team notice: x"}])[1] == []


def test_rules_made_in_python_are_held_to_the_same():
    """A package may offer `Rule` values."""
    (rule,) = rules(GOOD)
    wrong = [
        dataclasses.replace(rule, id="never", pattern=re.compile("never")),
        dataclasses.replace(rule, id="for-ever", pattern=re.compile("(a+)+")),
        dataclasses.replace(rule, id="divided", divide="cake"),
    ]
    found, problems = read_rules("entry point x", [rule, *wrong])
    assert found == [rule]
    starts = [
        "rule never: the example does not match",
        "rule for-ever: `matches` repeats",
        "rule divided: `divide: cake`",
    ]
    for problem, start in zip(problems, starts, strict=True):
        assert str(problem).startswith(f"entry point x: {start}")


def test_a_document_with_a_mistake_is_left_out_whole_and_the_others_count():
    """Half a set of rules would attribute in a way that nobody wrote down."""
    bad = [{**GATEWAY}, {**GOOD, "example": "x"}]
    found = extend(DEFAULT, [("bad.yaml", bad), ("good.yaml", [RENAME]), ("twice.yaml", [RENAME])])
    assert found.origins == {"rename": "good.yaml"}
    assert [problem.origin for problem in found.problems] == ["bad.yaml", "twice.yaml"]
    assert [rule.id for rule in found.rules][:2] == ["rename", DEFAULT.rules[0].id]
    assert found.rules.of(Scope.NAMES) == (found.rules.rules[0],)


def test_without_rules_the_set_is_the_built_in_one():
    """And has its version."""
    assert extend(DEFAULT, []).rules is DEFAULT


def test_every_field_is_explained():
    """The reference is made of it."""
    assert all(FIELDS.values())


def test_a_tool_rule_answers_the_small_question_too():
    """What the contract names."""
    row = {**GATEWAY, "matches": "ctx_.+", "source": "MCP: x", "example": "ctx_a"}
    engine = AttributionEngine(rules=DEFAULT.extended(*rules(row)))
    assert engine.identify_source_type("ctx_find") is SourceType.MCP_SERVER
    assert engine.identify_source_type("Read") is SourceType.TOOL
