"""``claudeproxy config show``: what is in force, and where each value came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

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
from claudeproxy_cli.render import Column, emit, is_terminal

if TYPE_CHECKING:
    from claudeproxy.config import ClaudeProxyConfig

app = typer.Typer(help="The configuration.", rich_markup_mode=None, no_args_is_help=True, add_completion=False)

SIZES: Final = frozenset(
    {"max_database_size", "max_body_bytes", "journal_max_bytes", "max_head_bytes", "max_decoded_bytes"}
    | {"max_message_bytes"}
)
COLUMNS: Final = (
    Column(key="key", title="key"),
    Column(key="value", title="value", flexible=True),
    Column(key="origin", title="from", flexible=True),
)


@app.callback()
def _root() -> None:
    """The configuration: YAML file, then CLAUDEPROXY_* variables, then flags."""


@app.command("show", epilog="Example: claudeproxy config show --explain")
def show_command(
    home: HomeOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each key means.")] = False,
) -> None:
    """Show every key, its value and its origin.

    The origin is default, file, env or flag. Secrets are masked.
    """
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    settings = load_config(home, config)
    if explain:
        for key, field in type(settings).model_fields.items():
            print(f"{key}: {_text(settings, key)}  ({settings.origin(key)})\n    {field.description}")
        return
    raw = output in {Format.JSON, Format.JSONL}
    rows = [
        {
            "key": key,
            "value": settings.shown(key) if raw else _text(settings, key),
            "origin": settings.origin(key),
            "description": field.description,
        }
        for key, field in type(settings).model_fields.items()
    ]
    emit(rows, COLUMNS, output)


def _text(settings: ClaudeProxyConfig, key: str) -> str:
    """A value as the file would have it."""
    from claudeproxy.config.values import format_size

    value = settings.shown(key)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(none)"
    if isinstance(value, dict):
        return ", ".join(f"{name}={item}" for name, item in value.items()) or "(none)"
    if key in SIZES and isinstance(value, int):
        return format_size(value)
    return "(none)" if value is None else str(value)
