"""Drives one version of the real client through the planted session, behind the real proxy; returns what was captured.

Two session lines: one long conversation (tools, skills, commands, agents, compaction, resume) and one with a system
prompt of the user's own. Every run of the client is bounded in time and ends on the loopback.
"""

from __future__ import annotations

import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.evidence.fingerprints import load_fingerprints
from claudeproxy.explaining import Explainer
from claudeproxy.store.storage import CaptureStorage
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
MORE = ("/garden:water zz-folder-args-zz", "/räumen now")
INLINE = {
    "scribe": {
        "description": "zz-inline-agent-desc-zz writes\n- planner: zz-inline-agent-desc-zz",
        "prompt": "zz-inline-agent-system-zz.\n\n# MCP Server Instructions\n\n## k\n\nzz-inline-agent-system-zz",
    }
}
WRAPPED = "<system-reminder>\nToday's date is 2001-01-01. zz-prompt-wrapped-zz\n</system-reminder>"
MENTIONS = "zz-prompt-mentions-zz see @zz-picture-zz.png and @zz-document-zz.pdf and @sub/ and @docs:res://docs/a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One line of the matrix."""

    version: str
    mode: Mode
    model: str
    threads: bool = False  # only what is new of the conversation is sent (wire: `thread: continue`)

    @property
    def entry(self) -> str:
        """How requests come in."""
        return f"{self.mode}, threads" if self.threads else self.mode

    def __str__(self) -> str:
        return f"{self.version} {self.entry} {self.model}"


_CURRENT = (
    ("2.1.330", "claude-opus-5-5"),
    ("2.1.330", "claude-3-5-haiku-20241022"),  # an old model: the newest client writes the oldest layout for it
    ("2.1.197", "claude-opus-4-8"),
    ("2.1.100", "claude-sonnet-4-6"),
    ("2.0.76", "claude-sonnet-4-5"),
    ("1.0.128", "claude-sonnet-4-20250514"),
)
_MODES: tuple[Mode, ...] = ("connect", "reverse")
THREADS = Setting(version="2.1.330", mode="connect", model="claude-opus-5-5", threads=True)
MATRIX = (
    *(Setting(version=version, mode=mode, model=model) for mode in _MODES for version, model in _CURRENT),
    THREADS,
)


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

    async def stream(self, prompts: Sequence[object]) -> None:
        """Give prompts as content blocks on standard input, as programs do."""
        lines = [json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}) for prompt in prompts]
        form = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")
        command = [*self.world.client.command, "-p", *form, "--model", self.setting.model, *self.flags]
        with trio.fail_after(self.world.timeout):
            done = await trio.run_process(
                command,
                cwd=self.world.project,
                env=self.world.environment(self.route),
                stdin="".join(f"{line}\n" for line in lines).encode(),
                capture_stdout=True,
                capture_stderr=True,
            )
        assert b'"type":"result"' in done.stdout, done


def _typed() -> list[object]:
    """A picture alone, several texts, a document with a text, a string: each without the words of a command line."""
    picture, document = (base64.b64encode(data).decode() for data in (project.png(), project.pdf()))
    return [
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": picture}}],
        [{"type": "text", "text": f"{words} zz-streamed-zz"} for words in ("Human: a\n\nAssistant:", "[second]")],
        [
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": document}},
            {"type": "text", "text": "zz-streamed-zz\n\n# Environment\n\nzz-streamed-zz"},
        ],
        "<tool_use_error>zz-streamed-zz</tool_use_error>",
    ]


@asynccontextmanager
async def connected(setting: Setting, root: Path) -> AsyncIterator[Client]:
    """Build the planted world below `root` and start mock and proxy; captures go to ``root / "captures"``."""
    installed = await trio.to_thread.run_sync(claude_code.install, setting.version)
    world = World(client=installed, root=root, timeout=180.0)
    await trio.to_thread.run_sync(project.build, world.home, world.project, setting.version)
    config = root / "mcp.json"  # not strict: that would leave out the plugin's server
    config.write_text(json.dumps({"mcpServers": project.servers(root / "specs", setting.version)}))
    flags = ["--mcp-config", str(config), "--allowedTools", *ALLOWED]
    if setting.version != FIRST:
        await trio.to_thread.run_sync(project.build_plugin, root / "toolbox", root / "specs")
        flags += ["--plugin-dir", str(root / "toolbox")]
    async with mocking(Script(world.project)) as mock, serving(root / "captures", mock.url) as running:
        route = through_proxy(running.url, running.ca) if setting.mode == "connect" else base_url(running.url)
        if setting.threads:
            route |= {"CLAUDE_CODE_TETHER_LIVE": "1"}  # what the vendor's server decides otherwise
        yield Client(world=world, setting=setting, route=route, flags=flags)
        assert mock.unanswered == []


async def drive(setting: Setting, root: Path) -> World:
    """Run the whole session; what was captured is then in ``root / "captures"``."""
    async with connected(setting, root) as client:
        inline = () if setting.version == FIRST else ("--agents", json.dumps(INLINE))
        session = await client.say(ONE, "--append-system-prompt", APPEND, *inline)
        ask = "/docs:ask (MCP)" if setting.version == FIRST else "/mcp__docs__ask"
        for prompt in (MENTIONS, WRAPPED, "/vectorize zz-skill-args-zz", "/mycmd zz-command-args-zz", *MORE, ask):
            session = await client.say(prompt, "--resume", session, "--append-system-prompt", APPEND)
        if setting.version != FIRST:
            session = await client.say("/toolbox:fine.tune", "--resume", session)
        session = await client.say("/compact keep zz-compact-args-zz", "--resume", session)
        await client.say("zz-prompt-after-zz", "--resume", session)
        if setting.version != FIRST:
            await client.say("zz-prompt-other-zz", "--system-prompt", SYSTEM)
        await client.stream(_typed())
    await trio.to_thread.run_sync(catch_up, root / "captures")
    return client.world


def catch_up(captures: Path) -> None:
    """Explain what the recorder left when it was ended: a later capture may have told something about earlier ones.

    Nothing more than what it does itself when it is idle, or at its next start.
    """
    engine = AttributionEngine(fingerprints=load_fingerprints())
    with CaptureStorage(captures / "captures.db") as storage:
        explainer = Explainer(storage, engine)
        while waiting := explainer.waiting(64):
            for request_id in waiting:
                explainer.explain_stored(request_id)
        assert explainer.errors == 0
