"""The real Claude Code under `claudeproxy run`: it notices nothing, and every text is given to whom it came from."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from claudeproxy.model import State
from claudeproxy.testing import Replies, Reply, ToolUse, has_result, says, text, tool_use
from tests.support import claude_code
from tests.support.claude_code import DEAD_PROXY, World, needs, our_servers
from tests.support.service import captured, mocking
from tests.support.sources import Attributed, attributed

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.testing import MockUpstream, Script

pytestmark = [pytest.mark.heavy, needs("npm", "node")]

PROMPT = "planted-user-words: look up spline and read the note"
LOOKUP = "mcp__docs__lookup"


def _script() -> Script:
    """Load the MCP tool, call it beside Bash, and say a last word."""
    calls = Reply(
        content=(
            ToolUse(name=LOOKUP, input={"term": "spline"}, id="toolu_docs"),
            ToolUse(name="Bash", input={"command": "cat note.txt", "description": "Read the note"}, id="toolu_bash"),
        )
    )
    return (
        Replies()
        .on(has_result("toolu_docs"), text("Found it all."))
        .on(has_result("toolu_search"), calls)
        .on(says("planted-user-words"), tool_use("ToolSearch", {"query": f"select:{LOOKUP}"}, id="toolu_search"))
    )


async def _world(root: Path) -> World:
    client = await trio.to_thread.run_sync(claude_code.install, claude_code.chosen_version())
    world = World(client=client, root=root, mcp_servers=our_servers("docs", "issue_tracker"))
    (world.project / "note.txt").write_text("planted-bash-result\n")
    (world.project / "CLAUDE.md").write_text("planted-memory-words: be kind to moss.\n")
    return world


async def _run(world: World, mock: MockUpstream, home: Path, *flags: str) -> claude_code.Run:
    """`claudeproxy run [FLAGS] -- claude -p ...`.

    The caller's own proxy is a dead port: whatever is not for the mock ends there, straight or through our proxy.
    """
    client = world.command(PROMPT, "--allowedTools", "ToolSearch", "Bash", LOOKUP)
    route = {"CLAUDEPROXY_UPSTREAM": mock.url, "HTTPS_PROXY": DEAD_PROXY, "HTTP_PROXY": DEAD_PROXY}
    with trio.fail_after(world.timeout):
        done = await trio.run_process(
            [sys.executable, "-m", "claudeproxy_cli", "run", "--home", str(home), *flags, "--", *client],
            cwd=world.project,
            env=world.environment(route),
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    return claude_code.Run(returncode=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


@pytest.mark.parametrize(("flags", "mode"), [((), "connect"), (("--reverse",), "reverse")])
async def test_a_conversation_with_tools_is_captured_and_each_text_given_to_its_source(
    home: Path, tmp_path: Path, flags: tuple[str, ...], mode: str
) -> None:
    world = await _world(tmp_path)
    async with mocking(_script()) as mock:
        done = await _run(world, mock, home, *flags)
        assert done.returncode == 0, done
        assert done.result == "Found it all.", done
        assert mock.unanswered == []
        sent = [request.decoded for request in mock.messages]
    pairs = captured(home)
    messages = [pair for pair in pairs if "/v1/messages" in pair.request.url]
    assert [pair.body for pair in messages] == sent
    assert len(sent) == 3
    assert {pair.request.entry_mode for pair in pairs} == {mode}
    assert {pair.request.state for pair in pairs} == {State.COMPLETE}
    assert {pair.request.identity.session_id for pair in messages} == {done.json["session_id"]}
    assert {pair.request.identity.client_version for pair in messages} == {world.client.version}
    assert {pair.request.identity.request_class for pair in messages} == {"main"}
    for pair in messages:
        _check_prompt(attributed(home, pair.request.id), json.loads(pair.body), world.project)
    last = attributed(home, messages[-1].request.id)
    assert last.where("Handbook entry on spline: see chapter 7.") == {"MCP: docs"}
    assert last.where("planted-bash-result") == {"Tool: Bash"}
    assert last.where("Look a term up in the handbook.") == {"MCP: docs"}
    receipt = done.stderr.strip().splitlines()[-4:]
    assert receipt[0].startswith(f"claudeproxy: {len(pairs)} requests")
    assert receipt[1].startswith("  cost: $")
    assert receipt[2].startswith("  largest sources: ")
    assert receipt[3].startswith(f"  look closer: claudeproxy show --home {home} ")


def _check_prompt(found: Attributed, body: dict[str, list[dict[str, object]]], project: Path) -> None:
    """What every request of the conversation carries."""
    assert found.where("planted-user-words: look up spline and read the note") == {"User"}
    assert found.where("planted-memory-words: be kind to moss.") == {f"Memory: {project / 'CLAUDE.md'}"}
    assert found.where("The docs server knows this project.") == {"MCP: docs"}
    assert found.where("The issue_tracker server knows this project.") == {"MCP: issue_tracker"}
    assert {label.partition(":")[0] for label in found.under("$.system")} == {"Framework"}
    for number, tool in enumerate(body["tools"]):
        name = str(tool["name"])
        owner = f"MCP: {name.split('__')[1]}" if name.startswith("mcp__") else f"Tool: {name}"
        assert found.under(f"$.tools[{number}]") == {owner}, name


async def test_an_exit_code_and_an_error_of_the_api_pass_through(home: Path, tmp_path: Path) -> None:
    """A script that has no answer makes the mock say 400; the client ends with 1, and so does `run`."""
    world = await _world(tmp_path)
    async with mocking(Replies()) as mock:
        done = await _run(world, mock, home)
    assert done.returncode == 1, done
    assert done.json["is_error"] is True
    assert "failed)" in done.stderr
    assert {pair.request.status_code for pair in captured(home) if "/v1/messages" in pair.request.url} == {400}
