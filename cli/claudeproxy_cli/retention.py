"""``claudeproxy retention run``: what the service does once a day, now."""

from __future__ import annotations

from typing import Annotated

import typer

from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    HomeOption,
    JsonlOption,
    JsonOption,
    load_config,
    output_format,
)
from claudeproxy_cli.render import is_terminal

app = typer.Typer(
    help="What is kept, and for how long.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)


@app.callback()
def _root() -> None:
    """What is kept, and for how long.

    `retention_days` and `max_database_size` of the configuration; a running service applies them once a day.
    """


@app.command("run", epilog="Example: claudeproxy retention run --dry-run")
def run_command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many would go, delete nothing.")] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete captures that are too old, and the oldest beyond the size.

    Their ratings go with them, the sums in `sources` stay. Capture goes on meanwhile.
    """
    from claudeproxy.errors import NotFoundError
    from claudeproxy.retaining import RetentionSettings, run_retention
    from claudeproxy_cli.listing import nothing_yet
    from claudeproxy_cli.purge import write_report

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    settings = load_config(home, config)
    if not settings.database_path.exists():
        raise NotFoundError(nothing_yet(settings.paths))
    report = run_retention(RetentionSettings.of(settings), dry_run=dry_run)
    write_report(report, output)
