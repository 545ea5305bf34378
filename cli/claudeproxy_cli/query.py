"""``claudeproxy query``: what was captured, newest first, and which sources filled it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import amount, period, source_type, state
from claudeproxy_cli.filters import of_session
from claudeproxy_cli.listing import local_now, nothing_yet, open_captures, request_columns, request_row, shown
from claudeproxy_cli.money import subscription_note
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
from claudeproxy_cli.pause import paused_note
from claudeproxy_cli.render import emit, is_terminal, note

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, RequestFilters

PAGE: Final = 100  # rows a query: what the API gives at the most, too


app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy query --since 1d --grep 'connection refused' --type McpServer")
def command(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From: 1h, 2d, yesterday, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="With this source: 'MCP: docs', or docs.")] = None,
    kind: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="With a source of this type.")] = None,
    request_class: Annotated[str | None, typer.Option("--class", metavar="CLASS", help="main, subagent, ...")] = None,
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="GET, POST, ...")] = None,
    path: Annotated[str | None, typer.Option(metavar="PATH", help="URL path; * at its end for a prefix.")] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The model that was asked for.")] = None,
    status: Annotated[int | None, typer.Option(metavar="CODE", min=100, max=599, help="HTTP status.")] = None,
    status_word: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="complete, in_flight, aborted_by_client, ...")
    ] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="The client's session; see `sessions`.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="The subagent's id; see `show`.")] = None,
    project: Annotated[
        str | None, typer.Option(metavar="DIR", help="The client's directory, or its last parts.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="TEXT", help="That brought these words: in a prompt, a result, the answer.")
    ] = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="With --grep: every request that carried them.")
    ] = False,
    over: Annotated[str | None, typer.Option(metavar="DOLLARS", help="That cost more: 0.50.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 20,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """List captures and their largest sources.

    Newest first. Reads the database alone: no server need run. Piped, it writes tab-separated lines.
    """
    from dataclasses import replace

    from claudeproxy.store.values import RequestFilters

    if everywhere and grep is None:
        raise typer.BadParameter("it says where --grep looks: give --grep TEXT, too", param_hint="--everywhere")
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    now = local_now()
    begin, end = period(since, until, now)
    filters = RequestFilters(
        since=begin,
        until=end,
        source=source,
        source_type=source_type(kind),
        request_class=request_class,
        method=method.upper() if method else None,
        path=path,
        model=model,
        status=status,
        state=state(status_word),
        agent_id=agent,
        project=project,
        over=None if over is None else amount("--over", over),
        q=grep,
        everywhere=everywhere,
    )
    place = reader_home(home, config)
    if (paused := paused_note(place)) is not None:
        note(paused)
    if not place.database.exists():
        emit([], request_columns(now, output), output) if output is not Format.TABLE else None
        note(nothing_yet(place))
        return
    storage = open_captures(place)
    try:
        filters = replace(filters, session_id=of_session(storage, session))
        requests, total = read(storage, filters, limit)
        rows = [request_row(request, storage.sources(request.id)) for request in requests]
        if rows or output is not Format.TABLE:
            emit(
                shown(rows) if output not in {Format.JSON, Format.JSONL} else rows, request_columns(now, output), output
            )
        if output is Format.TABLE:
            subscription_note(rows)
        if not rows:
            everything = storage.query_requests(RequestFilters(limit=1)).total
            note(f"nothing matches; {everything:,} captured in all" if everything else nothing_yet(place))
        elif total > len(rows) and is_terminal():
            note(f"{len(rows)} of {total:,}; --limit N shows more, `{program()} show ID` one in full")
    finally:
        storage.close()


def read(storage: CaptureStorage, filters: RequestFilters, limit: int) -> tuple[list[CapturedRequest], int]:
    """The newest `limit` captures that match, page by page of one moment, and how many match in all."""
    from dataclasses import replace

    found: list[CapturedRequest] = []
    page = storage.query_requests(replace(filters, limit=min(limit, PAGE)))
    found += page.rows
    while len(found) < min(limit, page.total) and page.rows:
        rest = min(limit - len(found), PAGE)
        page = storage.query_requests(replace(filters, limit=rest, offset=len(found), as_of=page.as_of))
        found += page.rows
    return found, page.total
