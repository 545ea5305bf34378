"""The conversations have the form of the real client's, and send the same bytes every time."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any

import httpx
import pytest
import trio

from claudeproxy.testing import Layout, MockUpstream, Turn, demo_conversation, long_conversation, script_for, text

BOTH = pytest.mark.parametrize("layout", list(Layout))


def body(turn: Turn) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(turn.body)
    return value


def canonical(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [{k: v for k, v in block.items() if k != "cache_control"} for block in blocks]


def main(turns: list[Turn]) -> list[dict[str, Any]]:
    return [body(turn) for turn in turns if turn.agent is None]


def whole_text(turns: list[Turn]) -> str:
    return json.dumps([body(turn) for turn in turns])


@BOTH
def test_the_bytes_are_the_same_every_time(layout: Layout) -> None:
    assert demo_conversation(layout) == demo_conversation(layout)


@BOTH
def test_each_request_extends_the_one_before(layout: Layout) -> None:
    for earlier, later in itertools.pairwise(main(demo_conversation(layout))):
        before = [canonical(m) for m in earlier["messages"]]
        assert [canonical(m) for m in later["messages"]][: len(before)] == before


@BOTH
def test_there_is_one_moving_breakpoint_and_it_is_on_the_last_block(layout: Layout) -> None:
    for turn in demo_conversation(layout):
        marked = [(i, j) for i, m in enumerate(body(turn)["messages"]) for j, b in enumerate(m["content"])
                  if isinstance(b, dict) and "cache_control" in b]  # fmt: skip
        last = body(turn)["messages"][-1]["content"]
        assert marked == [(len(body(turn)["messages"]) - 1, len(last) - 1)]


def test_the_current_layout_injects_as_system_and_the_classic_one_as_reminders() -> None:
    current, classic = whole_text(demo_conversation(Layout.CURRENT)), whole_text(demo_conversation(Layout.CLASSIC))
    assert '"role": "system"' in current
    assert '"role": "system"' not in classic
    assert "<system-reminder>\\nPostToolUse:Bash hook" in classic
    assert "<system-reminder>\\nPostToolUse:Bash hook" not in current
    assert "<system-reminder>\\nCodebase and user instructions" in current


@BOTH
def test_every_kind_of_source_is_in_it(layout: Layout) -> None:
    text_of_all = whole_text(demo_conversation(layout))
    for marker in (
        "x-anthropic-billing-header:",
        "Contents of /home/robin/.claude/CLAUDE.md",
        "SessionStart:startup hook success:",
        "The following deferred tools are now available via ToolSearch.",
        "## issue_tracker",
        "mcp__atlas__accepted_name",
        "tool_reference",
        "Launching skill: press-labels",
        "Base directory for this skill:",
        "[Subagent hand-back]",
        "cc_is_subagent=true;",
        "Today's date is",
    ):
        assert marker in text_of_all, marker


def test_loaded_tools_stay_deferred_and_two_mcp_calls_come_side_by_side() -> None:
    bodies = main(demo_conversation())
    loaded = [t["name"] for t in bodies[3]["tools"] if t.get("defer_loading")]
    assert loaded == ["mcp__atlas__accepted_name", "DeferredToolPlaceholder", "mcp__issue_tracker__find_issue"]
    results = [m for m in bodies[3]["messages"] if m["role"] == "user"][-1]["content"]
    calls = [b["id"] for b in bodies[3]["messages"][-2]["content"] if b["type"] == "tool_use"]
    assert [b["tool_use_id"] for b in results] == calls
    assert len(calls) == 2


def test_a_subagent_has_its_own_prompt_tools_and_headers() -> None:
    agents = [turn for turn in demo_conversation() if turn.agent]
    assert len(agents) == 2
    for turn in agents:
        headers = dict(turn.headers)
        assert headers[b"x-claude-code-agent-id"].decode() == turn.agent
        assert headers[b"x-claude-code-request-class"] == b"subagent"
        assert [t["name"] for t in body(turn)["tools"]] == ["Bash", "Read"]


@BOTH
async def test_the_mock_bills_a_demo_conversation_as_a_cached_one(layout: Layout) -> None:
    turns = demo_conversation(layout)
    mock = MockUpstream(script_for(turns))
    usages = []
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        async with httpx.AsyncClient(base_url=mock.url, trust_env=False) as http:
            for turn in turns:
                response = await http.post(turn.target, content=turn.body, headers=list(turn.headers))
                assert response.status_code == 200
                start = response.text.partition("data: ")[2].partition("\n")[0]
                message = json.loads(start)["message"]
                assert message["id"] == turn.reply.message_id
                usages.append(message["usage"])
        nursery.cancel_scope.cancel()
    assert usages[0]["cache_creation_input_tokens"] > 1024
    assert all(usage["cache_read_input_tokens"] > 0 for usage in usages[1:5])
    assert mock.unanswered == []


async def test_a_body_that_was_altered_on_the_way_has_no_reply() -> None:
    turn = demo_conversation()[0]
    mock = MockUpstream(script_for([turn]))
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        async with httpx.AsyncClient(base_url=mock.url, trust_env=False) as http:
            response = await http.post(turn.target, content=turn.body + b" ", headers=list(turn.headers))
        nursery.cancel_scope.cancel()
    assert response.status_code == 400
    assert "that no turn of the conversation has" in response.text


def test_a_body_that_comes_twice_is_answered_twice() -> None:
    turn = demo_conversation()[0]
    retried = Turn(label="again", agent=None, headers=turn.headers, body=turn.body, reply=text("second"))
    script = script_for([turn, retried])

    class Request:
        decoded = turn.body

    assert [script(Request()) for _ in range(3)] == [turn.reply, text("second"), text("second")]  # type: ignore[arg-type]


@pytest.mark.heavy
def test_a_long_conversation_grows_to_the_size_of_a_working_day() -> None:
    seen: set[bytes] = set()
    sent = distinct = largest = 0
    for turn in long_conversation():
        sent += len(turn.body)
        largest = max(largest, len(turn.body))
        request = body(turn)
        blocks = [*request["tools"], *request["system"], *(b for m in request["messages"] for b in canonical(m))]
        for block in blocks:
            block.pop("cache_control", None)
            raw = json.dumps(block, ensure_ascii=False).encode()
            digest = hashlib.sha256(raw).digest()
            if digest not in seen:
                seen.add(digest)
                distinct += len(raw)
    assert 1.25e6 < largest < 1.35e6
    assert 1.33e8 < sent < 1.41e8
    assert 1.6e6 < distinct < 1.8e6
