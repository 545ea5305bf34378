"""``claudeproxy resume``: the end of a pause."""

from __future__ import annotations

import typer

from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    HomeOption,
    JsonlOption,
    JsonOption,
    output_format,
    reader_home,
)
from claudeproxy_cli.render import is_terminal

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy resume")
def command(
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Capture again after `pause`."""
    from claudeproxy.capture.pause import PauseFile
    from claudeproxy_cli.pause import write

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    file = PauseFile(reader_home(home, config).pause_file)
    paused = file.read() is not None
    file.resume()
    write(None, output, said="capture goes on" if paused else "capture was not paused")
