"""``claudeproxy tail``: a line for each exchange when it has ended and is explained, as `query` shows it.

Whether a server tells of it or the database is looked at, the line is read from the database: both print the same.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.filters import (
    ClassOption,
    MethodOption,
    ModelOption,
    PathOption,
    ProjectOption,
    SessionOption,
    SourceOption,
    StateOption,
    StatusOption,
    TypeOption,
    of_session,
    request_filters,
)
from claudeproxy_cli.following import POLL_SECONDS, ServerGoneError, from_database, from_server
from claudeproxy_cli.listing import (
    is_explained,
    local_now,
    nothing_yet,
    open_captures,
    request_columns,
    request_row,
    shown,
)
from claudeproxy_cli.options import ConfigOption, Format, HomeOption, load_config, output_format, reader_home
from claudeproxy_cli.render import emit, is_terminal, note, streaming, table_lines
from claudeproxy_cli.running import find_server

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.config.home import Home
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters
    from claudeproxy_cli.following import Told

# How long an exchange that ended is waited for to be explained. A recorder that is up needs some 50 ms.
EXPLAIN_SECONDS: Final = 3.0
MAKE_SECONDS: Final = 20.0  # that a new database may take to have its tables, on a machine that is on its knees
_REMEMBERED: Final = 10_000

# Cells of a line on a terminal, where the next row is not known yet.
_WIDTHS: Final = {
    "timestamp": 8,
    "id": 8,
    "outcome": 7,
    "who": 9,
    "model": 12,
    "total_tokens": 6,
    "response_tokens": 5,
    "latency_ms": 6,
    "cost_shown": 7,
    "content": 200,
}

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy tail --type McpServer --lines 0")
def command(
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=0, help="How many of the last ones first.")
    ] = 10,
    source: SourceOption = None,
    kind: TypeOption = None,
    request_class: ClassOption = None,
    method: MethodOption = None,
    path: PathOption = None,
    model: ModelOption = None,
    status: StatusOption = None,
    status_word: StateOption = None,
    session: SessionOption = None,
    project: ProjectOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON document for each.")] = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON object a line.")] = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Follow captures as they end.

    A line for each exchange, as `query` shows it, until Ctrl-C. Follows a running server, or the database when there is
    none. --state in_flight shows exchanges when they begin.
    """
    from dataclasses import replace

    from claudeproxy.store.changes import ChangeLog

    output = output_format(as_json=as_json, jsonl=jsonl, csv=False, terminal=is_terminal())
    filters = request_filters(
        source=source,
        kind=kind,
        request_class=request_class,
        method=method,
        path=path,
        model=model,
        status=status,
        status_word=status_word,
        project=project,
    )
    place = reader_home(home, config)
    storage = _open(place)
    try:
        filters = replace(filters, session_id=of_session(storage, session))
        printer = _Printer(storage, output, at_once=filters.state == "in_flight")
        after = ChangeLog(storage).newest()
        with streaming():
            printer.last(filters, lines)
            _follow(place, config, storage, filters, after, printer)
    finally:
        storage.close()


def _open(place: Home) -> CaptureStorage:
    """The captures, when there are any."""
    if place.database.exists():
        return open_captures(place)
    note(f"{nothing_yet(place)}\nwaiting for the first")
    while not place.database.exists():
        time.sleep(POLL_SECONDS)
    return _just_made(place)


def _just_made(place: Home) -> CaptureStorage:
    """The captures of a database that somebody has begun to make: its file is there before its tables are."""
    from claudeproxy.errors import StorageError

    deadline = time.monotonic() + MAKE_SECONDS
    while True:
        try:
            return open_captures(place)
        except StorageError:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def _follow(
    place: Home, config: Path | None, storage: CaptureStorage, filters: RequestFilters, after: int, printer: _Printer
) -> None:
    """Print what comes, for ever: told by the server as long as there is one, then by the database."""
    server = find_server(place.state_file)
    if server is not None and server.api_url is not None:
        token = load_config(place.path, config).api_token
        printer.number = after
        try:
            secret = None if token is None else token.get_secret_value()
            from_server(server.api_url, secret, filters, after, printer.tell)
        except ServerGoneError as gone:
            note(f"the server cannot be followed ({gone}); following the database")
            after = printer.number
    for told in from_database(storage, filters, after):
        printer.tell(told)


class _Printer:
    """Prints each exchange once. `number` is that of the last change that it was told."""

    def __init__(self, storage: CaptureStorage, output: Format, *, at_once: bool) -> None:
        self._storage = storage
        self._output = output
        self._at_once = at_once
        self._waiting: dict[str, float] = {}  # ended and not explained: until when
        self._printed: dict[str, None] = {}
        self._titled = output is not Format.TABLE
        self.number = 0

    def last(self, filters: RequestFilters, count: int) -> None:
        """Print the last ones that have ended, the oldest first."""
        from claudeproxy_cli.query import read

        requests, _ = read(self._storage, filters, count) if count else ([], 0)
        for request in reversed(requests):
            if self._at_once or is_explained(request):
                self._print(request.id)
            elif request.state != "in_flight":
                self._waiting.setdefault(request.id, time.monotonic() + EXPLAIN_SECONDS)

    def tell(self, told: Told | None) -> None:
        """Take a change, or the lack of one."""
        now = time.monotonic()
        if told is not None:
            self.number = told.number
            if told.final or self._at_once:
                self._print(told.request_id)
            elif told.ended:
                self._waiting.setdefault(told.request_id, now + EXPLAIN_SECONDS)
        for request_id in [one for one, until in self._waiting.items() if until <= now]:
            self._print(request_id)

    def _print(self, request_id: str) -> None:
        from claudeproxy.errors import NotFoundError

        self._waiting.pop(request_id, None)
        if request_id in self._printed:
            return
        self._printed[request_id] = None
        if len(self._printed) > _REMEMBERED:
            del self._printed[next(iter(self._printed))]
        try:
            row = request_row(self._storage.get_request(request_id), self._storage.sources(request_id))
        except NotFoundError:  # deleted since
            return
        columns = request_columns(local_now(), self._output)
        match self._output:
            case Format.JSON:
                emit([row], columns, self._output, document=row)
            case Format.JSONL:
                emit([row], columns, self._output)
            case Format.TABLE:
                header, line = table_lines(shown([row]), columns, _WIDTHS)
                print(line if self._titled else f"{header}\n{line}")
                self._titled = True
            case _:
                emit(shown([row]), columns, self._output)
        sys.stdout.flush()
