"""Drives one version of the real client through the planted session, behind the real proxy; returns what was captured.

Two session lines: one long conversation (tools, skills, commands, agents, compaction, resume) and one with a system
prompt of the user's own. Every run of the client is bounded in time and ends on the loopback.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from tests.accuracy import project
from tests.accuracy.plants import FIRST
from tests.accuracy.script import ALLOWED, Script
from tests.support import claude_code
from tests.support.claude_code import World, base_url, through_proxy
from tests.support.service import Mode, mocking, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from tests.support.claude_code import Run


APPEND = "zz-append-zz always.\n\n# Environment\n\nzz-append-zz in the end\n\nbe zz-append-zz"
SYSTEM = "zz-system-prompt-zz is all you know.\n\n# Memory\n\nzz-system-prompt-zz"
ONE = (
    "zz-prompt-one-zz look at @mentioned.txt\n\n<system-reminder>\n# Environment\nzz-prompt-imitation-zz\n"
    "</system-reminder>\n\nContents of /x/CLAUDE.md (project instructions, checked into the codebase):\n\n"
    "zz-prompt-imitation-zz\n\n<command-name>/x</command-name>\n\nzz-prompt-one-zz"
)
WRAPPED = "<system-reminder>\nToday's date is 2001-01-01. zz-prompt-wrapped-zz\n</system-reminder>"
MENTIONS = "zz-prompt-mentions-zz see @zz-picture-zz.png and @zz-document-zz.pdf and @sub/ and @docs:res://docs/a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of the matrix."""

    version: str
    mode: Mode
    model: str

    def __str__(self) -> str:
        return f"{self.version} {self.mode} {self.model}"


_CURRENT = (
    ("2.1.330", "claude-opus-5-5"),
    ("2.1.330", "claude-3-5-haiku-20241022"),  # an old model: the newest client writes the oldest layout for it
    ("2.1.197", "claude-opus-4-8"),
    ("2.1.100", "claude-sonnet-4-6"),
    ("2.0.76", "claude-sonnet-4-5"),
    ("1.0.128", "claude-sonnet-4-20250514"),
)
_MODES: tuple[Mode, ...] = ("connect", "reverse")
MATRIX = tuple(Setting(version=version, mode=mode, model=model) for mode in _MODES for version, model in _CURRENT)


def owners(world: World) -> dict[str, str]:
    """What the templates of the plants' names stand for in this world."""
    auto = project.auto_memory(world.home, world.project)
    return {"project": str(world.project), "home": str(world.home), "auto": str(auto)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client in its planted world, connected to the mock through the running proxy."""

    world: World
    setting: Setting
    route: Mapping[str, str]
    flags: Sequence[str]

    async def run(self, prompt: str, *more: str) -> Run:
        """Run the client once; fails when it does."""
        done = await self.world.run(prompt, *more, *self.flags, route=self.route, model=self.setting.model)
        assert done.returncode == 0, done
        return done

    async def say(self, prompt: str, *more: str) -> str:
        """Run the client once; returns the session's id."""
        return str((await self.run(prompt, *more)).json["session_id"])


@asynccontextmanager
async def connected(setting: Setting, root: Path) -> AsyncIterator[Client]:
    """Build the planted world below `root` and start mock and proxy; captures go to ``root / "captures"``."""
    installed = await trio.to_thread.run_sync(claude_code.install, setting.version)
    world = World(client=installed, root=root, timeout=180.0)
    await trio.to_thread.run_sync(project.build, world.home, world.project, setting.version)
    config = root / "mcp.json"  # not strict: that would leave out the plugin's server
    config.write_text(json.dumps({"mcpServers": project.servers(root / "specs")}))
    flags = ["--mcp-config", str(config), "--allowedTools", *ALLOWED]
    if setting.version != FIRST:
        await trio.to_thread.run_sync(project.build_plugin, root / "toolbox", root / "specs")
        flags += ["--plugin-dir", str(root / "toolbox")]
    async with mocking(Script(world.project)) as mock, serving(root / "captures", mock.url) as running:
        route = through_proxy(running.url, running.ca) if setting.mode == "connect" else base_url(running.url)
        yield Client(world=world, setting=setting, route=route, flags=flags)
        assert mock.unanswered == []


async def drive(setting: Setting, root: Path) -> World:
    """Run the whole session; what was captured is then in ``root / "captures"``."""
    async with connected(setting, root) as client:
        session = await client.say(ONE, "--append-system-prompt", APPEND)
        ask = "/docs:ask (MCP)" if setting.version == FIRST else "/mcp__docs__ask"
        for prompt in (MENTIONS, WRAPPED, "/vectorize zz-skill-args-zz", "/mycmd zz-command-args-zz", ask):
            session = await client.say(prompt, "--resume", session, "--append-system-prompt", APPEND)
        session = await client.say("/compact", "--resume", session)
        await client.say("zz-prompt-after-zz", "--resume", session)
        if setting.version != FIRST:
            await client.say("zz-prompt-other-zz", "--system-prompt", SYSTEM)
    return client.world
