"""The main job on the service as it runs: captured, attributed, queryable; in every hosting and both common modes."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Literal

import pytest

from claudeproxy.model import State
from claudeproxy.testing import Replies, demo_conversation, script_for, text
from tests.support.service import KEY, ask, captured, mocking, raw, send, serving
from tests.support.sources import attributed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.service import Mode


@pytest.mark.parametrize("recorder", ["thread", "process"])
async def test_a_conversation_is_captured_and_attributed_in_both_modes(
    home: Path, recorder: Literal["thread", "process"]
) -> None:
    """Half of the turns come in reverse mode, half through CONNECT and TLS; ending the service stores everything."""
    turns = demo_conversation()
    answers: list[bytes] = []
    modes: list[Mode] = []
    async with mocking(script_for(turns)) as mock, serving(home, mock.url, recorder=recorder) as running:
        async with running.client("reverse") as reverse, running.client("connect") as connect:
            for number, turn in enumerate(turns):
                client = connect if number % 2 else reverse
                modes.append("connect" if number % 2 else "reverse")
                headers = {name.decode(): value.decode() for name, value in turn.headers}
                response = await send(client, "POST", turn.target, turn.body, **headers)
                assert response.status_code == 200, raw(response)
                answers.append(raw(response))
        assert [request.body for request in mock.received] == [turn.body for turn in turns]
    pairs = captured(home)
    assert [pair.request.state for pair in pairs] == [State.COMPLETE] * len(turns)
    assert [pair.request.entry_mode for pair in pairs] == modes
    assert [pair.body for pair in pairs] == [turn.body for turn in turns]
    assert [pair.answer for pair in pairs] == answers
    assert {pair.request.url for pair in pairs} == {f"https://api.anthropic.com{turn.target}" for turn in turns}
    for pair in pairs:
        assert pair.whole.correlation_id == pair.request.correlation_id
        assert pair.request.body_sha256 == hashlib.sha256(pair.body).hexdigest()
        assert pair.request.total_tokens == sum(pair.sources.values()) > 0
        assert pair.request.identity.session_id
        assert pair.request.api_key_hash not in {None, KEY}
        moments = pair.request.instants
        order = [
            moments.request_initiated,
            moments.proxy_received or 0,
            moments.forwarded or 0,
            moments.response_received or 0,
            moments.delivered or 0,
        ]
        assert order == sorted(order)
    labels = {label for pair in pairs for label in pair.sources}
    kinds = {label.partition(":")[0] for label in labels}
    assert {"Framework", "User", "MCP", "Skill", "Memory", "Tool", "Assistant"} <= kinds, labels


async def test_each_planted_text_is_given_to_its_source(home: Path) -> None:
    """System prompt, built-in tool, MCP tool, its result by `tool_use_id`, user text and a reminder, told apart."""
    body = {
        "model": "claude-opus-5-5",
        "max_tokens": 64,
        "system": [{"type": "text", "text": "planted-system-words"}],
        "tools": [
            {"name": "Bash", "description": "planted-builtin-tool", "input_schema": {"type": "object"}},
            {"name": "mcp__herbs__find", "description": "planted-mcp-tool", "input_schema": {"type": "object"}},
        ],
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "text",
                        "text": "<system-reminder>\nCodebase and user instructions are shown below.\n\n"
                        "Contents of /home/robin/CLAUDE.md (project instructions, checked into the codebase):\n\n"
                        "planted-memory-words\n</system-reminder>",
                    },
                    {"type": "text", "text": "planted-user-words"},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "planted-assistant-words"},
                    {"type": "tool_use", "id": "toolu_a", "name": "mcp__herbs__find", "input": {"q": "thyme"}},
                    {"type": "tool_use", "id": "toolu_b", "name": "Bash", "input": {"command": "ls"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_b", "content": "planted-bash-result"},
                    {"type": "tool_result", "tool_use_id": "toolu_a", "content": "planted-mcp-result"},
                ],
            },
        ],
    }
    agent = {"user-agent": "claude-cli/2.1.330 (external, sdk-cli)"}
    async with mocking(Replies([text("ok")])) as mock, serving(home, mock.url) as running:
        async with running.client("connect") as client:
            assert (await ask(client, json.dumps(body).encode(), **agent)).status_code == 200
    (pair,) = captured(home)
    found = attributed(home, pair.request.id)
    assert found.where("planted-system-words") == {"User"}  # a known version's prompt does not have them
    assert found.where("planted-builtin-tool") == {"Tool: Bash"}
    assert found.where("planted-mcp-tool") == {"MCP: herbs"}
    assert found.where("planted-memory-words") == {"Memory: /home/robin/CLAUDE.md"}
    assert found.where("planted-user-words") == {"User"}
    assert found.where("planted-assistant-words") == {"Assistant: text"}
    assert found.where("planted-bash-result") == {"Tool: Bash"}
    assert found.where("planted-mcp-result") == {"MCP: herbs"}
