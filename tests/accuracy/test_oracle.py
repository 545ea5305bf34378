"""The oracle knows whose a mark is by where it stands; it must be right before it may judge the engine."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from claudeproxy.model import SourceType
from tests.accuracy.check import Verdict
from tests.accuracy.oracle import Owner, occurrences
from tests.accuracy.plants import MARK, PLANTS, mark
from tests.accuracy.report import page
from tests.accuracy.session import MATRIX

NAMES = {"project": "/p", "home": "/h", "auto": "/h/auto"}
S = SourceType


def owners(body: dict[str, object], key: str) -> list[Owner]:
    data = json.dumps({"model": "m", **body}).encode()
    found = occurrences(data, NAMES)
    assert all(data[one.at :].startswith(mark(one.key).encode()) for one in found)
    return [one.owner for one in found if one.key == key]


def user(*content: object) -> dict[str, object]:
    return {"role": "user", "content": [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]}


def called(name: str, **given: str) -> dict[str, object]:
    use = {"type": "tool_use", "id": "a", "name": name, "input": given}
    return {"role": "assistant", "content": [use]}


def result(words: str) -> dict[str, object]:
    return user({"type": "tool_result", "tool_use_id": "a", "content": words})


def test_every_mark_reads_back_as_its_key():
    """Keys hold nothing that would end a mark."""
    assert [MARK.findall(mark(plant.key)) for plant in PLANTS] == [[plant.key] for plant in PLANTS]


def test_where_the_client_writes_the_plant_owns_its_text():
    (one,) = owners({"messages": [user("zz-memory-user-zz")]}, "memory-user")
    assert (one.type, one.names, one.kinds) == (S.MEMORY, ("/h/.claude/CLAUDE.md",), {"body"})
    (one,) = owners({"messages": [], "system": "zz-append-zz"}, "append")
    assert (one.type, one.names) == (S.USER, (None,))


@pytest.mark.parametrize(
    ("call", "call_owner", "result_owner"),
    [
        (called("Bash", command="zz-mention-zz"), (S.ASSISTANT, "tool calls"), (S.TOOL, "Bash")),
        (called("mcp__docs__lookup", q="zz-mention-zz"), (S.MCP_SERVER, "docs"), (S.MCP_SERVER, "docs")),
        (called("mcp__proxy__context7__x", q="zz-mention-zz"), (S.MCP_SERVER, "context7"), (S.MCP_SERVER, "context7")),
        (
            called("mcp__plugin_toolbox_bench__x", q="zz-mention-zz"),
            (S.MCP_SERVER, "bench"),
            (S.MCP_SERVER, "bench"),
        ),
        (called("Skill", skill="vectorize", args="zz-mention-zz"), (S.SKILL, "vectorize"), (S.SKILL, "vectorize")),
        (called("Agent", subagent_type="planner", prompt="zz-mention-zz"), (S.AGENT, "planner"), (S.AGENT, "planner")),
    ],
)
def test_calls_and_results_belong_to_whoever_was_called(call, call_owner, result_owner):
    """But what the model wrote to a built-in tool is the model's."""
    first, second = owners({"messages": [user("go"), call, result("zz-mention-zz")]}, "mention")
    assert (first.type, first.names[0]) == call_owner
    assert (second.type, second.names[0]) == result_owner


def test_what_the_client_glues_to_a_result_is_still_the_plants():
    """Unless the tool itself says it: a list of tasks it was given, a hook's bare reason for refusing it."""
    conversation = [user("go"), called("Read"), result("zz-memory-nested-zz zz-todo-zz")]
    assert owners({"messages": conversation}, "memory-nested")[0].type is S.MEMORY
    assert owners({"messages": conversation}, "todo")[0].type is S.FRAMEWORK
    assert owners({"messages": [called("TodoWrite"), result("zz-todo-zz")]}, "todo")[0].type is S.TOOL
    assert owners({"messages": [called("Bash"), result("zz-hook-pre-deny-zz")]}, "hook-pre-deny")[0].type is S.TOOL


def test_schemas_belong_to_their_tool_and_listings_in_them_to_the_listed():
    tools = [
        {"name": "Agent", "description": "zz-agent-desc-zz zz-mention-zz"},
        {"name": "mcp__docs__x", "d": "zz-mention-zz"},
    ]
    body: dict[str, object] = {"messages": [], "tools": tools}
    assert owners(body, "agent-desc")[0].type is S.AGENT
    assert [one.type for one in owners(body, "mention")] == [S.TOOL, S.MCP_SERVER]


def test_side_calls_keep_the_speaker_and_nothing_else():
    files = {"messages": [user("Command: cat zz-mention-zz\nOutput: zz-mention-zz")]}
    assert [(o.type, o.names[0]) for o in owners(files, "mention")] == [(S.ASSISTANT, "tool calls"), (S.TOOL, "Bash")]
    title = "Please write a 5-10 word title for it:\n\nUser: zz-mention-zz\n\nClaude: zz-mention-zz"
    assert [o.type for o in owners({"messages": [user(title)]}, "mention")] == [S.USER, S.ASSISTANT]


def test_outside_the_prompt_everything_is_overhead():
    assert owners({"messages": [], "metadata": {"x": "zz-mention-zz"}}, "mention")[0].type is S.OVERHEAD


def test_the_page_names_what_was_missed():
    """Rows for clients and source types, shares of those that can be decided."""
    verdict = Verdict(requests=2, seen=Counter({S.USER: 3}), right=Counter({S.USER: 2}), tokens=10, unclassified=1)
    verdict.undecidable[S.USER] = 1
    text = page({MATRIX[0]: verdict})
    assert f"| {MATRIX[0].version} | connect | {MATRIX[0].model} | 2 | 0 | 3 | 2 | 1 | 0 | 10.00% |" in text
    assert f"| {MATRIX[0].version} connect, {MATRIX[0].model} | 2 |" in text
    assert "## Misses\n\nNone." in text
