"""Options that several commands take, and what they mean together."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from claudeproxy.config.home import Home, find_home
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from claudeproxy.config import ClaudeProxyConfig

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Home of CA, captures, configuration. [~/.claude-proxy]"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration instead of config.yaml in the home."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document.")]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="CSV with a header line.")]


class Format(StrEnum):
    """How data is written."""

    TABLE = "table"  # for people: aligned, fitted to the terminal
    LINES = "lines"  # for pipes: tab-separated, no header
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


def output_format(*, as_json: bool, jsonl: bool, csv: bool, terminal: bool) -> Format:
    """The format that the flags ask for; without one, a table on a terminal and lines elsewhere.

    Raises typer.BadParameter when they contradict each other.
    """
    chosen = [kind for kind, on in ((Format.JSON, as_json), (Format.JSONL, jsonl), (Format.CSV, csv)) if on]
    if len(chosen) > 1:
        raise typer.BadParameter("give one of --json, --jsonl and --csv")
    return chosen[0] if chosen else Format.TABLE if terminal else Format.LINES


def load_config(home: Path | None, config: Path | None, **flags: object) -> ClaudeProxyConfig:
    """The whole configuration, for commands that need more than paths."""
    from claudeproxy.config import ClaudeProxyConfig

    return ClaudeProxyConfig.load(home, config, **flags)


# Keys that say how a server is reached, how it logs and where it is: no reason not to use another one.
_OF_SERVERS = frozenset({"home", "bind_address", "api_address", "api_token", "workers", "log_format", "log_level"})


def given(config: ClaudeProxyConfig, *origins: str) -> list[str]:
    """The keys that come from there (``env``, ``flag``) and decide where traffic goes and what is kept of it."""
    keys = (key for key in type(config).model_fields if key not in _OF_SERVERS)
    return [key for key in keys if config.origin(key).startswith(origins)]


def reader_home(home: Path | None, config: Path | None) -> Home:
    """The home for a command that only reads: no key changes where the captures are, so the file is not read.

    One named with --config is still checked to exist: a typing mistake must not pass unseen.
    """
    if config is not None and not config.expanduser().is_file():
        raise ConfigError(f"cannot read {config}: no such file")
    return find_home(home)


def program() -> str:
    """What to type for this command, in lines that we suggest: under ``uv run`` it may be on no other PATH."""
    return "uv run claudeproxy" if os.environ.get("UV_RUN_RECURSION_DEPTH") else "claudeproxy"


def home_flag(home: Home) -> str:
    """`` --home DIR`` for commands that we suggest, or nothing when the default finds it."""
    return "" if find_home() == home else f" --home {_shell(str(home.path))}"


def _shell(text: str) -> str:
    import shlex

    return text if os.name == "nt" else shlex.quote(text)
