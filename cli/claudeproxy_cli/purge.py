"""``claudeproxy purge``: captures that are to be gone, from blocks, search index and freed pages too."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import ask, moment
from claudeproxy_cli.listing import local_now, open_captures
from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    output_format,
    reader_home,
)
from claudeproxy_cli.render import Column, emit, is_terminal, note, number, size
from claudeproxy_cli.times import duration

if TYPE_CHECKING:
    from claudeproxy.store.values import RetentionReport

app = typer.Typer(rich_markup_mode=None, add_completion=False)

REPORT_COLUMNS: Final = (
    Column(key="requests", title="requests", text=number, align="right"),
    Column(key="responses", title="responses", text=number, align="right"),
    Column(key="feedback", title="ratings", text=number, align="right"),
    Column(key="blocks", title="blocks", text=number, align="right"),
    Column(key="bytes_before", title="size before", text=size, align="right"),
    Column(key="bytes_after", title="after", text=size, align="right"),
    Column(key="seconds", title="took", text=lambda value: duration(float(str(value))), align="right"),
)

PLAN_COLUMNS: Final = (Column(key="requests", title="requests"), Column(key="dry_run", title="dry run"))


@app.command(epilog="Example: claudeproxy purge --project ~/clients/acme --dry-run")
def command(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One capture; a unique beginning will do.")] = None,  # noqa: A002
    session: Annotated[str | None, typer.Option(metavar="ID", help="All of a session; see `sessions`.")] = None,
    project: Annotated[
        str | None, typer.Option(metavar="DIR", help="All of a directory, by its path or its last parts.")
    ] = None,
    before: Annotated[
        str | None, typer.Option(metavar="TIME", help="All from before: 30d (ago), yesterday, ISO 8601.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed where nobody can answer.")] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Delete captures for good: texts, search index, freed pages.

    And what journals still hold of recorded exchanges. Several options together mean what all of them name. The sums in
    `sources` stay. What is in flight stays, too.
    """
    from dataclasses import replace
    from pathlib import Path

    from claudeproxy.capture.erase import JournalEraser
    from claudeproxy.errors import NotFoundError
    from claudeproxy.insight.sessions import Sessions
    from claudeproxy.store.retention import Retention
    from claudeproxy.store.values import RequestFilters

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    chosen = [one for one in (session, project, before) if one is not None]
    if bool(chosen) == (id is not None):
        raise typer.BadParameter("say what is to go: an ID, or --session, --project, --before")
    filters = RequestFilters(
        project=str(Path(project).expanduser()).rstrip("/") or None if project else None,
        until=moment("--before", before, local_now()),
    )
    place = reader_home(home, config)
    with open_captures(place, to_write=not dry_run) as storage:
        if session is not None:
            filters = replace(filters, session_id=Sessions(storage).find(session))
        planned = storage.query_requests(filters).total if id is None else len([storage.get_request(id)])
        if not planned:
            raise NotFoundError("no capture matches: nothing is deleted")
        if not dry_run and not yes:
            _confirm(planned)
        retention = Retention(storage)
        if not dry_run:
            JournalEraser(place.journal).erase(storage.cursors())
        report = (
            retention.delete_request(id, dry_run=dry_run)
            if id is not None
            else retention.delete_requests(filters, dry_run=dry_run)
        )
    write_report(report, output)


def write_report(report: RetentionReport, output: Format) -> None:
    """What was deleted, or would be: of that only the number of captures is known, and nothing else is written."""
    from dataclasses import asdict

    if report.dry_run and output in {Format.TABLE, Format.LINES}:
        print(f"{_captures(report.requests)} would go; nothing was deleted")
        return
    row = {"requests": report.requests, "dry_run": True} if report.dry_run else asdict(report)
    emit([row], PLAN_COLUMNS if report.dry_run else REPORT_COLUMNS, output, document=row)


def _captures(count: int) -> str:
    return f"{count:,} captures" if count != 1 else "1 capture"


def _confirm(planned: int) -> None:
    what = _captures(planned)
    if not sys.stdin.isatty():
        note(f"{what} would go; say --yes where nobody can be asked, or --dry-run to look")
        raise typer.Exit(2)
    ask(f"Delete {what} for good? [y/N] ")
