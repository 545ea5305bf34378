"""``claudeproxy export``: captures as a file for other tools.

The file holds prompts, so it is made for its owner alone; it takes its name when it is whole.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path  # noqa: TC003  (typer reads the annotations when it runs)
from typing import TYPE_CHECKING, Annotated

import typer

from claudeproxy.errors import ClaudeProxyError, ConfigError
from claudeproxy_cli.arguments import choice, period
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
from claudeproxy_cli.listing import local_now, open_captures
from claudeproxy_cli.options import ConfigOption, HomeOption, reader_home
from claudeproxy_cli.render import note, size, streaming

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import BinaryIO

    from claudeproxy.export import ExportFormat

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog="Example: claudeproxy export --since 1d --format har -o day.har")
def command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output without it.")
    ] = None,
    format_name: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="jsonl or har. [by the file's name; jsonl]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From: 1h, 2d, yesterday, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
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
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Write captures as JSON lines or HAR.

    All that match, the oldest first, with bodies and sources; HAR (HTTP archive) is for browsers and mitmproxy. Needs
    no server.
    """
    from dataclasses import replace

    from claudeproxy.export import export

    chosen = _format(format_name, output)
    now = local_now()
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
    begin, end = period(since, until, now)
    filters = replace(filters, since=begin, until=end)
    storage = open_captures(reader_home(home, config))
    try:
        filters = replace(filters, session_id=of_session(storage, session))
        if output is None:
            with streaming():
                exchanges, length = _copy(export(storage, filters, chosen), sys.stdout.buffer)
                sys.stdout.buffer.flush()
            note(_told(exchanges, length))
            return
        with _private_file(output, replacing=force) as file:
            exchanges, length = _copy(export(storage, filters, chosen), file)
        note(f"{_told(exchanges, length)} to {output}, readable by you only")
    finally:
        storage.close()


def _copy(pieces: Generator[bytes, None, int], file: BinaryIO) -> tuple[int, int]:
    """Write an export. Returns how many exchanges and how many bytes that was."""
    length = 0
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return end.value, length
        length += file.write(piece)


def _told(exchanges: int, length: int) -> str:
    if not exchanges:
        return "nothing matches: no exchange written"
    return f"{exchanges:,} exchange{'s' if exchanges > 1 else ''}, {size(length)} written"


def _format(name: str | None, output: Path | None) -> ExportFormat:
    from claudeproxy.export import ExportFormat

    if name is None:
        return ExportFormat.HAR if output is not None and output.suffix.lower() == ".har" else ExportFormat.JSONL
    return ExportFormat(choice("--format", name, [str(one) for one in ExportFormat]))


@contextmanager
def _private_file(path: Path, *, replacing: bool) -> Iterator[BinaryIO]:
    """A new file of that name for its owner alone, there when it is whole. Raises ConfigError when it cannot be had."""
    if path.exists() and not replacing:
        raise ConfigError(f"{path} is there already; give another name, or --force to replace it")
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            partial.replace(path)
        except OSError as error:
            raise ClaudeProxyError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
