"""``claudeproxy metrics rebuild``: the sums in `sources`, made again from what they are the sums of."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.listing import open_captures
from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    load_config,
    output_format,
    reader_home,
)
from claudeproxy_cli.render import Column, emit, is_terminal, note, number, write_json

if TYPE_CHECKING:
    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.store.storage import CaptureStorage

app = typer.Typer(help="The sums behind `sources`.", rich_markup_mode=None, no_args_is_help=True, add_completion=False)

REQUESTS: Final = Column(key="requests", title="requests", text=number, align="right")
COLUMNS: Final = (
    Column(key="sources", title="sources", text=number, align="right"),
    Column(key="corrected", title="corrected", text=number, align="right"),
)


@app.callback()
def _root() -> None:
    """The sums behind `sources`."""


@app.command("rebuild", epilog="Example: claudeproxy metrics rebuild")
def rebuild_command(
    tokens: Annotated[
        bool, typer.Option("--tokens", help="First settle tokens and cost of every stored request anew.")
    ] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Add them up again, from the captures and the history of what was deleted.

    Before that, what could not be derived from captures (see `doctor`) is tried again.

    They are kept up to date with every change: `corrected` is 0 unless something went wrong. Capture waits meanwhile.

    With --tokens all that was learned from bills is forgotten and learned again, in the order in which the answers
    came, with the prices of today's configuration; it takes some 20 ms a request, and a running proxy goes on.
    """
    from claudeproxy.insight.metrics import SourceMetrics

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    with open_captures(reader_home(home, config), to_write=True) as storage:
        if storage.unfinished():
            _finish(storage, load_config(home, config))
        row: dict[str, object] = {"requests": _settle(storage, load_config(home, config))} if tokens else {}
        row |= asdict(SourceMetrics(storage).rebuild())
    columns = (REQUESTS, *COLUMNS) if tokens else COLUMNS
    write_json(row) if output is Format.JSON else emit([row], columns, output)


def _finish(storage: CaptureStorage, config: ClaudeProxyConfig) -> None:
    """Try again what failed while captures were stored and explained; say how much of it is still missing."""
    from claudeproxy.finishing import Finisher
    from claudeproxy.recording import make_explainer
    from claudeproxy.translating import recording_settings

    explainer = make_explainer(storage, recording_settings(config))
    tried = Finisher(storage, explainer).finish_all()
    missing = sum(storage.unfinished().values())
    left = "nothing is missing now" if not missing else f"{missing} parts still cannot be derived"
    note(f"{tried} captures that lacked something were read again; {left}")


def _settle(storage: CaptureStorage, config: ClaudeProxyConfig) -> int:
    """Settle all requests anew by the rules and prices that the recorder uses; return how many."""
    from claudeproxy.recording import make_explainer
    from claudeproxy.translating import recording_settings

    explainer = make_explainer(storage, recording_settings(config))
    number_of = explainer.rebuild_accounts()
    if explainer.errors:
        note(f"{explainer.errors} requests could not be explained; they are kept as they are")
    return number_of
