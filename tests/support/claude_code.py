"""The real Claude Code from npm, installed once and run in a world of its own.

Isolation is by environment: an empty home, a dummy key, nonessential traffic off, and a proxy variable for every
request: ours, or (where the client talks to a base URL on the loopback) a dead port, so that nothing it might send
elsewhere leaves the machine. A network namespace would be stricter, but our proxy and mock would have to live in it.

Installed packages are kept in ``$TEST_CLIENTS_CACHE``, else in the user's cache directory.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PINNED = "2.1.330"
OLDER = ("2.1.197", "2.1.100", "2.0.76", "1.0.128")  # each writes a layout of its own
DUMMY_KEY = "sk-ant-api03-dummy"
DEAD_PROXY = "http://127.0.0.1:9"  # the discard port: refused at once
MODEL = "claude-opus-5-5"  # 2.1.330 writes layout C with it (role "system"), layout A with OLD_MODEL
OLD_MODEL = "claude-sonnet-4-6"
MCP_SERVER = Path(__file__).with_name("mcp_server.py")


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip a test where a program is not on PATH; with REQUIRE_REAL_CLIENTS=1 it runs, and fails there."""
    missing = [program for program in programs if shutil.which(program) is None]
    required = os.environ.get("REQUIRE_REAL_CLIENTS") == "1"
    return pytest.mark.skipif(bool(missing) and not required, reason=f"needs {' and '.join(missing)} on PATH")


def cache_directory() -> Path:
    """Where installed clients are kept between runs."""
    chosen = os.environ.get("TEST_CLIENTS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "claudeproxy-tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeCode:
    """An installed client: its version and how it is called."""

    version: str
    command: tuple[str, ...]


def chosen_version() -> str:
    """The version to test with: the pinned one, or what TEST_CLAUDE_CODE says (a version, or ``latest``)."""
    wanted = os.environ.get("TEST_CLAUDE_CODE", PINNED)
    if wanted != "latest":
        return wanted
    asked = ["npm", "view", "@anthropic-ai/claude-code", "version"]
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def install(version: str = PINNED) -> ClaudeCode:
    """Install a version, or find it installed. Safe against other processes that do the same: rename decides."""
    target = cache_directory() / f"claude-code-{version}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            fresh = Path(scratch) / "client"
            fresh.mkdir()
            (fresh / "package.json").write_text("{}")
            install_package(fresh, f"@anthropic-ai/claude-code@{version}")
            try:
                fresh.rename(target)
            except OSError:
                if not target.exists():
                    raise
    return ClaudeCode(version=version, command=_command(target / "node_modules" / "@anthropic-ai"))


def install_package(directory: Path, package: str) -> None:
    """Run npm in a directory, without install scripts."""
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", package]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"npm install {package} failed:\n{done.stderr[-2000:]}")


def _command(packages: Path) -> tuple[str, ...]:
    """From 2.1.113 or so a native binary in a package of its own, before that a script for node."""
    for binary in sorted(packages.glob("claude-code-*/claude*")):
        return (str(binary),)
    node = shutil.which("node")
    script = packages / "claude-code" / "cli.js"
    if node is None or not script.exists():
        raise RuntimeError(f"no Claude Code for this platform under {packages}")
    return (node, str(script))


def base_url(url: str, *, first_party: bool = False) -> dict[str, str]:
    """Environment for reverse mode; `first_party` asks for the behaviour of a direct connection to the API."""
    route = {"ANTHROPIC_BASE_URL": url, "NO_PROXY": "127.0.0.1,localhost"}
    route |= dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), DEAD_PROXY)
    return route | ({"_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL": "1"} if first_party else {})


def through_proxy(proxy_url: str, ca_file: Path) -> dict[str, str]:
    """Environment for CONNECT through a proxy whose certificates `ca_file` vouches for."""
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY"), proxy_url)
    return proxies | {"NODE_EXTRA_CA_CERTS": str(ca_file), "NO_PROXY": "127.0.0.1,localhost"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run of the client in print mode."""

    returncode: int
    stdout: str
    stderr: str

    @cached_property
    def json(self) -> dict[str, object]:
        """What `--output-format json` printed; fails with everything that was printed if it is no JSON."""
        try:
            value = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"not JSON: {self!r}") from None
        # Some versions print the list of all events, the result last.
        result = value[-1] if isinstance(value, list) else value
        assert isinstance(result, dict)
        return result

    @property
    def result(self) -> str:
        """The client's last words."""
        return str(self.json.get("result"))


@dataclass(kw_only=True)
class World:
    """A home, a project directory and MCP servers for one client; runs in it share the history."""

    client: ClaudeCode
    root: Path
    mcp_servers: Mapping[str, Sequence[str]] = field(default_factory=dict)  # name -> command line
    timeout: float = 90.0  # seconds for a run

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.project.mkdir(parents=True, exist_ok=True)

    @property
    def home(self) -> Path:
        """The client's home directory."""
        return self.root / "home"

    @property
    def project(self) -> Path:
        """The client's working directory."""
        return self.root / "project"

    def environment(self, route: Mapping[str, str]) -> dict[str, str]:
        """Everything the client's process is told; nothing is inherited but PATH."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "ANTHROPIC_API_KEY": DUMMY_KEY,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
            "DISABLE_AUTOUPDATER": "1",
            "TERM": "dumb",
            **route,
        }

    def command(self, prompt: str, *args: str, model: str = MODEL) -> list[str]:
        """The client's command line in print mode."""
        command = [*self.client.command, "-p", prompt, "--output-format", "json", "--model", model]
        if self.mcp_servers:
            config = self.root / "mcp.json"
            servers = {name: {"command": line[0], "args": list(line[1:])} for name, line in self.mcp_servers.items()}
            config.write_text(json.dumps({"mcpServers": servers}))
            command += ["--mcp-config", str(config), "--strict-mcp-config"]
        return [*command, *args]

    async def run(self, prompt: str, *args: str, route: Mapping[str, str], model: str = MODEL) -> Run:
        """Run `claude -p PROMPT ARGS` to its end; TimeoutError after `timeout` seconds (the process is ended)."""
        with trio.move_on_after(self.timeout):
            done = await trio.run_process(
                self.command(prompt, *args, model=model),
                cwd=self.project,
                env=self.environment(route),
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                stdin=b"",
            )
            return Run(returncode=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())
        raise TimeoutError(f"claude {self.client.version} did not end within {self.timeout:.0f} s")


def our_servers(*names: str) -> dict[str, list[str]]:
    """Commands for our own MCP servers (support/mcp_server.py): ``docs`` and ``issue_tracker``."""
    return {name: [sys.executable, str(MCP_SERVER), name] for name in names}
