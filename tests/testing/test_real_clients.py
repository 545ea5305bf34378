"""The mock satisfies real clients: curl, the SDKs and Claude Code from npm, straight and without a proxy.

What they do through a proxy is tested in tests/end_to_end, with the same helpers (tests/support).
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.testing import (
    MockUpstream,
    Replies,
    Reply,
    Script,
    Text,
    Thinking,
    ToolUse,
    has_result,
    overloaded,
    says,
    text,
    tool_use,
)
from tests.support import claude_code, clients
from tests.support.claude_code import OLDER, PINNED, World, base_url, our_servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from claudeproxy.testing import ReceivedRequest

needs_curl = claude_code.needs("curl")
needs_npm = claude_code.needs("npm", "node")


@asynccontextmanager
async def running(script: Script) -> AsyncIterator[MockUpstream]:
    mock = MockUpstream(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(mock.run)
        yield mock
        nursery.cancel_scope.cancel()


@needs_curl
async def test_curl_gets_a_document() -> None:
    body = json.dumps(clients.MESSAGE).encode()
    async with running(Replies([text("for curl")])) as mock:
        url = f"{mock.url}/v1/messages"
        done = await clients.curl("-H", "x-api-key: k", "--data-binary", "@-", url, stdin=body)
    assert done.json["content"] == [{"type": "text", "text": "for curl"}]


@pytest.mark.heavy
@pytest.mark.parametrize("stream", [False, True])
async def test_pythons_sdk_understands_both_forms(stream: bool) -> None:
    thought = Reply(content=(Thinking(thinking="hm"), Text(text="for the SDK")))
    async with running(Replies([thought])) as mock:
        done = await clients.python_sdk({"ANTHROPIC_BASE_URL": mock.url}, {"stream": stream})
    assert done.json["text"] == "for the SDK"
    assert done.json["id"] == "msg_mock_000001"


@pytest.mark.heavy
@needs_npm
async def test_the_node_sdk_understands_both_forms() -> None:
    directory = await trio.to_thread.run_sync(clients.install_node_sdk)
    for stream in (False, True):
        async with running(Replies([text("for node")])) as mock:
            done = await clients.node_sdk(directory, {"ANTHROPIC_BASE_URL": mock.url}, {"stream": stream})
        assert done.json["text"] == "for node"


async def world(root: Path, version: str = PINNED, *servers: str) -> World:
    client = await trio.to_thread.run_sync(claude_code.install, version)
    return World(client=client, root=root, mcp_servers=our_servers(*servers))


def system_texts(request: ReceivedRequest) -> str:
    """Everything a request says, to look for our own words in."""
    return json.dumps(request.json)


@pytest.mark.heavy
@needs_npm
@pytest.mark.parametrize("version", [PINNED, *OLDER])
async def test_every_version_says_hello(version: str, tmp_path: Path) -> None:
    script = Replies().on(lambda _: True, text("Hello from the mock"))
    async with running(script) as mock:
        done = await (await world(tmp_path, version)).run(
            "hello", route=base_url(mock.url), model=claude_code.OLD_MODEL
        )
        assert done.result == "Hello from the mock", done
    request = next(r for r in mock.messages if "hello" in r.prompt)
    assert (request.header("user-agent") or "").startswith(f"claude-cli/{version}")


@pytest.mark.heavy
@needs_npm
async def test_a_tool_is_called_and_its_result_comes_back(tmp_path: Path) -> None:
    place = await world(tmp_path)
    (place.project / "note.txt").write_text("the ninth word\n")
    script = Replies(
        [tool_use("Bash", {"command": "cat note.txt", "description": "Show it"}, id="toolu_1"), text("Read.")]
    )
    async with running(script) as mock:
        done = await place.run("What does the note say?", "--allowedTools", "Bash", route=base_url(mock.url))
    assert done.result == "Read.", done
    assert mock.messages[-1].tool_results["toolu_1"] == "the ninth word"
    assert mock.unanswered == []


@pytest.mark.heavy
@needs_npm
async def test_mcp_servers_are_loaded_and_called_side_by_side(tmp_path: Path) -> None:
    names = ("mcp__docs__lookup", "mcp__issue_tracker__find_issue")
    calls = Reply(
        content=(
            ToolUse(name=names[0], input={"term": "spline"}, id="toolu_docs"),
            ToolUse(name=names[1], input={"words": "spline"}, id="toolu_issue"),
        )
    )
    script = (
        Replies()
        .on(has_result("toolu_docs"), text("Both answered."))
        .on(has_result("toolu_search"), calls)
        .on(says("spline"), tool_use("ToolSearch", {"query": f"select:{','.join(names)}"}, id="toolu_search"))
    )
    async with running(script) as mock:
        place = await world(tmp_path, PINNED, "docs", "issue_tracker")
        done = await place.run("Look up spline", "--allowedTools", "ToolSearch", *names, route=base_url(mock.url))
    assert done.result == "Both answered.", done
    assert mock.messages[-1].tool_results == {
        "toolu_docs": "Handbook entry on spline: see chapter 7.",
        "toolu_issue": "ISSUE-17 mentions spline",
    }
    assert "The docs server knows this project." in system_texts(mock.messages[0])
    assert "tool_reference" in system_texts(mock.messages[1])


@pytest.mark.heavy
@needs_npm
async def test_an_overloaded_api_is_asked_again_and_a_session_goes_on(tmp_path: Path) -> None:
    place = await world(tmp_path)
    async with running(Replies([overloaded(), text("First."), text("Second.")])) as mock:
        first = await place.run("one", route=base_url(mock.url))
        assert first.result == "First.", first
        second = await place.run("two", "--resume", str(first.json["session_id"]), route=base_url(mock.url))
        assert second.result == "Second.", second
    sessions = {request.header("x-claude-code-session-id") for request in mock.messages}
    assert sessions == {first.json["session_id"]}
    assert [request.prompt for request in mock.messages[:2]] == ["one", "one"]
