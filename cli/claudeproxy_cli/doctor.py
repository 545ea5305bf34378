"""``claudeproxy doctor``: every check, what it found, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from claudeproxy.errors import ClaudeProxyError, ConfigError
from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    load_config,
    output_format,
)
from claudeproxy_cli.render import Column, emit, is_terminal, plain, use_color

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy_cli.findings import Check, Context

COLUMNS: Final = (
    Column(key="status", title="status"),
    Column(key="name", title="check"),
    Column(key="detail", title="found"),
    Column(key="remedy", title="remedy"),
)
_COLORS: Final = {"ok": "32", "warn": "33", "fail": "31"}
_INDENT: Final = 20


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy doctor")
def command(
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Check the installation and a real handshake.

    And what may lead a client past the proxy. Exits with 1 when a check fails.
    """
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    found = []
    for check in _checks(home, config):
        found.append(check)
        if output is Format.TABLE:
            print(as_text(check, color=use_color(), width=shutil.get_terminal_size((80, 24)).columns), flush=True)
    if output is not Format.TABLE:
        rows = [{"name": c.name, "status": str(c.status), "detail": c.detail, "remedy": c.remedy} for c in found]
        emit(rows, COLUMNS, output)
    if any(check.status == "fail" for check in found):
        raise typer.Exit(1)


def _checks(home: Path | None, config: Path | None) -> Iterator[Check]:
    from claudeproxy.config import ClaudeProxyConfig, find_home
    from claudeproxy_cli.findings import Check, Context, Status

    try:
        settings = load_config(home, config)
        yield Check(name="configuration", status=Status.OK, detail=_source(settings, config))
    except ConfigError as error:
        detail = "; ".join(str(error).splitlines())
        yield Check(
            name="configuration", status=Status.FAIL, detail=detail, remedy="mend it; below, the defaults are used"
        )
        try:
            settings, config = ClaudeProxyConfig.isolated(home=find_home(home).path), None
        except ConfigError:  # no home: there is nothing to look at
            return
    yield from run_checks(Context(config=settings, config_file=config, environment=os.environ, directory=Path.cwd()))


def run_checks(context: Context) -> Iterator[Check]:
    """Every finding, in an order in which one explains the next."""
    from claudeproxy_cli import attribution_checks as attribution
    from claudeproxy_cli import machine_checks as machine
    from claudeproxy_cli import proxy_checks as proxy
    from claudeproxy_cli import record_checks
    from claudeproxy_cli.findings import Check, Status

    for check in (
        machine.versions,
        machine.permissions,
        machine.descriptors,
        proxy.authority,
        proxy.trust,
        proxy.ports,
        proxy.handshake,
        machine.clock,
        machine.disk,
        machine.database,
        machine.capture,
        record_checks.record,
        attribution.rules,
        attribution.unclassified,
        proxy.settings,
        proxy.bypass,
    ):
        try:
            yield check(context)
        except (ClaudeProxyError, OSError, sqlite3.Error) as error:
            yield Check(name=check.__name__, status=Status.FAIL, detail=" ".join(str(error).split()))


def _source(settings: object, config: Path | None) -> str:
    from claudeproxy.config import ClaudeProxyConfig

    assert isinstance(settings, ClaudeProxyConfig)
    changed = [key for key in type(settings).model_fields if settings.origin(key) != "default" and key != "home"]
    path = config or settings.paths.config_file
    where = str(path) if path.exists() else "no file"
    return f"{where}; {'set: ' + ', '.join(changed) if changed else 'every key at its default'}"


def as_text(check: Check, *, color: bool, width: int) -> str:
    """A finding for a person: status and name before it, the remedy below it."""
    status = f"{check.status:<5}"
    if color:
        status = f"\x1b[{_COLORS[check.status]}m{status}\x1b[0m"
    room = max(width - _INDENT, 20)
    lines = textwrap.wrap(plain(check.detail), room, break_on_hyphens=False)
    if check.remedy and check.status != "ok":
        lines += textwrap.wrap(f"-> {plain(check.remedy)}", room, subsequent_indent="   ", break_on_hyphens=False)
    name = f"{check.name:<{_INDENT - 6}}"
    return f"{status} {name}" + ("\n" + " " * _INDENT).join(lines or [""])
