"""What Claude Code's own settings files say about its environment.

An ``env`` block there overrides the environment that a process is started with, so a proxy set by `run` can be undone
by a file that nobody thinks of. This module finds such blocks; it changes none, and reports names and hosts, never
values that may be secrets.

The files, by rising precedence (Claude Code documentation, "Settings"): user, project, project-local, managed.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# What decides where the client's requests go and whom it trusts.
ROUTING: Final = (
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_CERT_STORE",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A variable that a settings file sets."""

    path: Path
    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.path} sets {self.name} in its env block"


def settings_files(directory: Path, environment: Mapping[str, str]) -> list[Path]:
    """The settings files that a client started in `directory` would read, whether or not they exist."""
    user = environment.get("CLAUDE_CONFIG_DIR") or Path(environment.get("HOME") or Path.home()) / ".claude"
    managed = {
        "darwin": Path("/Library/Application Support/ClaudeCode"),
        "win32": Path("C:/Program Files/ClaudeCode"),
    }.get(sys.platform, Path("/etc/claude-code"))
    project = _project(directory)
    return [
        Path(user) / "settings.json",
        project / ".claude" / "settings.json",
        project / ".claude" / "settings.local.json",
        managed / "managed-settings.json",
    ]


def _project(directory: Path) -> Path:
    """The nearest directory upwards that has a ``.claude``, else `directory`; a home's own is the user's."""
    for candidate in (directory, *directory.parents):
        if (candidate / ".claude").is_dir() and candidate != Path.home():
            return candidate
    return directory


def find_shadows(directory: Path, environment: Mapping[str, str]) -> list[Shadow]:
    """Every routing variable that a settings file sets to another value than `environment` has.

    `environment` is the client's: what `run` sets, or the caller's own. A file that cannot be read shadows nothing:
    the client could not read it either.
    """
    found: dict[Path, list[Shadow]] = {}
    for path in settings_files(directory, environment):
        found[path] = [
            Shadow(path=path, name=name, value=value)
            for name, value in _env_block(path).items()
            if name in ROUTING and environment.get(name) != value
        ]
    return [shadow for shadows in found.values() for shadow in shadows]


def _env_block(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        return {}
    block = document.get("env") if isinstance(document, dict) else None
    return {str(k): str(v) for k, v in block.items()} if isinstance(block, dict) else {}
