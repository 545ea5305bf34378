"""``claudeproxy secrets``: which secret left the machine, when, through which source, how often since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy.insight.secrets_values import sighting_fields, use_fields
from claudeproxy_cli.arguments import period
from claudeproxy_cli.listing import SHORT_ID, local_now, nothing_yet, open_captures
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
from claudeproxy_cli.render import Column, compact, emit, is_terminal, note, write_json
from claudeproxy_cli.times import iso, local_time

if TYPE_CHECKING:
    from claudeproxy.insight.secrets_values import SecretSighting, SecretUse

app = typer.Typer(rich_markup_mode=None, add_completion=False)


def _through(value: object) -> str:
    assert isinstance(value, list)
    return ", ".join(f"{one['label']} ({one['requests']:,})" for one in value) or "-"


COLUMNS: Final = (
    Column(key="rule", title="kind", flexible=True, least=12),
    Column(key="hash", title="hash", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="sent", title="sent", text=compact, align="right"),
    Column(key="received", title="back", text=compact, align="right"),
    Column(key="first_seen", title="first", text=local_time, optional=True),
    Column(key="last_seen", title="last", text=local_time),
    Column(key="sources", title="through", text=_through, flexible=True, least=16),
    Column(key="masked", title="masked", text=compact, align="right", optional=True),
)
PLACES: Final = (
    Column(key="timestamp", title="time", text=local_time),
    Column(key="request_id", title="request", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="direction", title="way"),
    Column(key="source", title="through", text=lambda value: str(value or "-"), flexible=True, least=12),
    Column(key="json_path", title="place", text=lambda value: str(value or "-"), flexible=True, least=16),
    Column(key="masked", title="masked", text=lambda value: "yes" if value else "no", optional=True),
)


@app.command(epilog="Example: claudeproxy secrets --since 7d --sent")
def command(
    hash: Annotated[  # noqa: A002 - what it is
        str | None, typer.Argument(metavar="HASH", help="Show where this one stands; a beginning will do.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Seen from: 1h, 2d, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="KIND", help="Of this kind: anthropic-key, jwt, ...")] = None,
    source: Annotated[
        str | None, typer.Option(metavar="LABEL", help="Through this source, as it is listed: 'MCP: docs'.")
    ] = None,
    sent: Annotated[bool, typer.Option("--sent", help="Only those that left this machine.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 100,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Show which secrets left the machine, through which source.

    When first and last, how often, and which came back in answers. Secrets are told by kind and keyed hash, never by
    what they are. Nothing is looked for unless the configuration says `secrets: report` or `secrets: redact`.
    """
    from claudeproxy.insight.secrets import Secrets

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    begin, end = period(since, until, local_now())
    place = reader_home(home, config)
    mode = load_config(home, config).secrets
    if not place.database.exists():
        _emit([], mode, output)
        note(nothing_yet(place))
    else:
        with open_captures(place) as storage:
            secrets = Secrets(storage)
            if hash is not None:
                found = secrets.use(hash)
                _show(found, secrets.sightings(found.hash, limit=limit), output)
                return
            rows = [
                use_fields(one, iso)
                for one in secrets.uses(since=begin, until=end, rule=rule, source=source, sent=sent)
            ]
        _emit(rows[:limit], mode, output)
        if len(rows) > limit:
            note(f"{limit} of {len(rows):,}; --limit N shows more")
        elif not rows and mode != "off":
            note("no secret was found")
    if mode == "off":
        note(
            "detection is off: bodies are not looked through. Write `secrets: report` (tell only) or `secrets: redact` "
            f"(mask before the disk) into {place.config_file}, then restart `claudeproxy serve`"
        )


def _emit(rows: list[dict[str, object]], mode: str, output: Format) -> None:
    if output is Format.JSON:
        write_json({"mode": mode, "secrets": rows})
    elif rows or output is not Format.TABLE:
        emit(rows, COLUMNS, output)


def _show(found: SecretUse, places: list[SecretSighting], output: Format) -> None:
    rows = [sighting_fields(one, iso) for one in places]
    if output is Format.JSON:
        write_json({**use_fields(found, iso), "sightings": rows})
        return
    if output is Format.TABLE:
        emit([use_fields(found, iso)], COLUMNS, output)
        print()
    if rows or output is not Format.TABLE:
        emit(rows, PLACES, output)
    else:
        note("the captures that held it are gone")
