"""``claudeproxy pause`` and ``resume``: capture, for every proxy of a home, without a word to any of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    output_format,
    program,
    reader_home,
)
from claudeproxy_cli.render import Column, emit, is_terminal
from claudeproxy_cli.times import NANO, iso, local_time, seconds_of

if TYPE_CHECKING:
    from claudeproxy.capture.pause import Pause
    from claudeproxy.config.home import Home

app = typer.Typer(rich_markup_mode=None, add_completion=False)

COLUMNS: Final = (
    Column(key="paused", title="paused"),
    Column(key="since", title="since"),
    Column(key="until", title="until"),
)


@app.command(epilog="Example: claudeproxy pause --for 1h")
def command(
    how_long: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="End by itself: 30m, 1h, 2d. [until resume]")
    ] = None,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Capture nothing for a time; traffic is passed on as ever.

    Holds for every proxy that uses this home, running or started later. What had begun before is still captured.
    """
    from claudeproxy.capture.pause import PauseFile

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    seconds = None if how_long is None else seconds_of(how_long)
    if how_long is not None and not seconds:
        raise typer.BadParameter(f"{how_long!r} is no length of time: write 30m, 1h, 2d", param_hint="--for")
    place = reader_home(home, config)
    place.create()
    now = time.time_ns()
    pause = PauseFile(place.pause_file).pause(now=now, until=None if seconds is None else now + round(seconds * NANO))
    write(pause, output, said=_sentence(pause))


def write(pause: Pause | None, output: Format, *, said: str) -> None:
    """Whether capture is paused: `said` for people, a row for programs."""
    if output in {Format.TABLE, Format.LINES}:
        print(said)
        return
    row = {
        "paused": pause is not None,
        "since": iso(pause.since) if pause else None,
        "until": iso(pause.until) if pause else None,
    }
    emit([row], COLUMNS, output, document=row)


def paused_note(home: Home) -> str | None:
    """One line for people when capture is paused; None when it is not."""
    from claudeproxy.capture.pause import PauseFile

    pause = PauseFile(home.pause_file).read()
    return None if pause is None else _sentence(pause)


def _sentence(pause: Pause) -> str:
    until = "" if pause.until is None else f" until {local_time(iso(pause.until))}"
    return f"capture is paused{until}; `{program()} resume` ends it"
