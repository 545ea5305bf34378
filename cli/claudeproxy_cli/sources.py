"""``claudeproxy sources``: what each source of context was used for, cost and earned, deleted captures too."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import choice, period, source_type
from claudeproxy_cli.compared import Asked, answer
from claudeproxy_cli.listing import local_now, nothing_yet, open_captures
from claudeproxy_cli.money import payment_note
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
from claudeproxy_cli.render import Column, compact, dollars, emit, is_terminal, note, price
from claudeproxy_cli.times import iso, local_time

if TYPE_CHECKING:
    from claudeproxy.insight.values import ContextSourceMetrics

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# A short word for each order. By `rating` is by the careful estimate: three ratings never outrank three hundred.
SORTS: Final = {
    "usage": "usage_count",
    "tokens": "total_tokens",
    "cost": "total_cost",
    "rating": "rating_low",
    "average": "average_rating",
    "recent": "last_used",
}

COLUMNS: Final = (
    Column(key="label", title="source", flexible=True, least=20),
    Column(key="usage_count", title="requests", text=compact, align="right"),
    Column(key="total_tokens", title="tokens", text=compact, align="right"),
    Column(key="average_tokens", title="each", text=lambda value: compact(round(float(str(value)))), align="right"),
    Column(key="total_cost", title="cost", text=price, align="right"),
    Column(key="feedback_count", title="rated", text=compact, align="right"),
    Column(key="rating", title="rating", text=lambda value: "-" if value is None else f"{value:+.2f}", align="right"),
    Column(key="last_used", title="last", text=local_time, optional=True),
)


@app.command(epilog="Example: claudeproxy sources --since 7d --type McpServer --sort tokens")
def command(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Used from: 1h, 2d, yesterday, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    kind: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Of this type: McpServer, ...")] = None,
    source: Annotated[str | None, typer.Option(metavar="NAME", help="This one: 'MCP: docs', or docs.")] = None,
    sort: Annotated[
        str, typer.Option(metavar="BY", help="tokens, usage, cost, rating (careful), average, recent.")
    ] = "tokens",
    order: Annotated[str, typer.Option(metavar="ORDER", help="desc or asc.")] = "desc",
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 30,
    by_share: Annotated[
        bool, typer.Option("--by-share", help="A rating counts as much as the source's share of the context.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Beside the period as long before it; since 7d by default.")
    ] = False,
    trend: Annotated[bool, typer.Option("--trend", help="Day by day, UTC; since 14d by default.")] = False,
    kinds: Annotated[bool, typer.Option("--kinds", help="What they consist of: schema against result.")] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """List sources with their use, tokens, cost, ratings.

    `rating` is the mean drawn towards 0 while ratings are few. A request counts once for a source. Tokens include
    answers; `--kinds` counts the prompt only.
    """
    from claudeproxy.insight.metrics import SourceMetrics
    from claudeproxy.insight.values import SourceFilters, SourceSort

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    now = local_now()
    begin, end = period(since, until, now)
    filters = SourceFilters(
        source_type=source_type(kind),
        since=begin,
        until=end,
    )
    asked = Asked.of(compare=compare, trend=trend, kinds=kinds)
    by = SourceSort(SORTS[choice("--sort", sort, SORTS)])
    descending = choice("--order", order, ("desc", "asc")) == "desc"
    place = reader_home(home, config)
    if not place.database.exists():
        emit([], COLUMNS, output) if output is not Format.TABLE else None
        note(nothing_yet(place))
        return
    with open_captures(place) as storage:
        if output is Format.TABLE:
            payment_note(storage, since=filters.since, until=filters.until)
        if asked is not None:
            answer(storage, asked, filters, source, output, now=now, limit=limit)
            return
        found = SourceMetrics(storage).sources(filters, sort=by, descending=descending, weighted=by_share)
    rows = [source_row(one) for one in found]
    if source is not None:
        rows = [row for row in rows if source in (row["label"], row["source_name"])]
    if rows or output is not Format.TABLE:
        shown = rows[:limit] if output in {Format.JSON, Format.JSONL} else _shown(rows[:limit])
        emit(shown, _columns(rows[:limit], output), output)
    if not rows:
        note("no source matches")
    elif len(rows) > limit and is_terminal():
        note(f"{limit} of {len(rows):,}; --limit N shows more")


def _columns(rows: list[dict[str, object]], output: Format) -> tuple[Column, ...]:
    """A table has columns for ratings where there are any: names are worth more than a column of zeros."""
    if output is not Format.TABLE or any(row["feedback_count"] for row in rows):
        return COLUMNS
    return tuple(column for column in COLUMNS if column.key not in {"feedback_count", "rating"})


def _shown(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """With the careful estimate beside the rest; without ratings there is nothing to estimate."""
    return [{**row, "rating": row["estimate"]["rating"] if row["feedback_count"] else None} for row in rows]  # type: ignore[index]


def source_row(metrics: ContextSourceMetrics) -> dict[str, object]:
    """One source under the keys of the API, with its label."""
    from claudeproxy.model import Source, SourceType

    kind = SourceType(metrics.source_type)
    nameless = kind in {SourceType.USER, SourceType.OVERHEAD} and metrics.source_name == metrics.source_type
    return {
        "label": Source(type=kind, name=None if nameless else metrics.source_name).label,
        "source_type": metrics.source_type,
        "source_name": metrics.source_name,
        "usage_count": metrics.usage_count,
        "total_tokens": metrics.total_tokens,
        "average_tokens": metrics.average_tokens,
        "total_cost": dollars(metrics.total_cost),
        "feedback_count": metrics.feedback_count,
        "average_rating": metrics.average_rating,
        "estimate": asdict(metrics.estimate),
        "last_used": iso(metrics.last_used),
        "created_at": iso(metrics.created_at),
    }
