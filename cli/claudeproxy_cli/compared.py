"""What ``claudeproxy sources`` shows of change: ``--compare``, ``--trend`` and ``--kinds``.

Apart from `sources`, which lists, because these are other questions with other columns.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import typer

from claudeproxy_cli.options import Format
from claudeproxy_cli.render import Column, compact, dollars, emit, note, price, write_json
from claudeproxy_cli.times import NANO, iso, to_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.insight.comparison_values import KindTotals, SourceChange, SourceKinds, SourceTrend
    from claudeproxy.insight.values import SourceFilters
    from claudeproxy.store.storage import CaptureStorage

_BARS: Final = "▁▂▃▄▅▆▇█"


def _signed(value: object) -> str:
    """``+12%``, ``-3%``; ``new`` where there was nothing before."""
    return f"{value:+.0%}" if isinstance(value, float) else "new"


def _some(value: object) -> str:
    """A number, or a dash for none of it."""
    return compact(value) if value else "-"


def _average(value: object) -> str:
    return compact(round(float(str(value))))


_DAY: Final = 86_400 * NANO

COMPARED: Final = (
    Column(key="label", title="source", flexible=True, least=20),
    Column(key="total_tokens", title="tokens", text=compact, align="right"),
    Column(key="tokens_before", title="before", text=_some, align="right"),
    Column(key="tokens_change", title="change", text=_signed, align="right"),
    Column(key="average_tokens", title="each", text=_average, align="right"),
    Column(key="average_change", title="change", text=_signed, align="right"),
    Column(key="total_cost", title="cost", text=price, align="right"),
    Column(key="cost_before", title="before", text=price, align="right", optional=True),
    Column(key="usage_count", title="requests", text=compact, align="right", optional=True),
    Column(key="usage_before", title="before", text=compact, align="right", optional=True),
)
TREND: Final = (
    Column(key="label", title="source", flexible=True, least=20),
    Column(key="total_tokens", title="tokens", text=compact, align="right"),
    Column(key="total_cost", title="cost", text=price, align="right"),
    Column(key="tokens", title="by day", text=lambda value: _spark(value)),
)
KINDS: Final = (
    Column(key="label", title="source", flexible=True, least=20),
    Column(key="tokens", title="tokens", text=compact, align="right"),
    Column(key="schema", title="schema", text=_some, align="right"),
    Column(key="result", title="result", text=_some, align="right"),
    Column(key="kinds", title="made of", text=lambda value: _made_of(value), flexible=True),
)


class Asked(StrEnum):
    """The other questions about sources."""

    COMPARE = "--compare"
    TREND = "--trend"
    KINDS = "--kinds"

    @classmethod
    def of(cls, *, compare: bool, trend: bool, kinds: bool) -> Asked | None:
        """The one that the flags ask; None: the plain list. Raises typer.BadParameter when they ask several."""
        chosen = [one for one, on in ((cls.COMPARE, compare), (cls.TREND, trend), (cls.KINDS, kinds)) if on]
        if len(chosen) > 1:
            raise typer.BadParameter(f"give one of {', '.join(cls)}")
        return chosen[0] if chosen else None


_DAYS: Final = {Asked.COMPARE: 7, Asked.TREND: 14, Asked.KINDS: 36_500}  # where no beginning is given


def answer(
    storage: CaptureStorage,
    asked: Asked,
    filters: SourceFilters,
    source: str | None,
    output: Format,
    *,
    now: datetime,
    limit: int,
) -> None:
    """Answer one of them for the time and the sources that are meant. `source` is a label or a name.

    Raises typer.BadParameter when the time ends before it begins.
    """
    from claudeproxy.insight.comparison import Comparison

    comparison = Comparison(storage)
    until = to_ns(now) if filters.until is None else filters.until
    since = until - _DAYS[asked] * _DAY if filters.since is None else filters.since
    if since >= until:
        raise typer.BadParameter("it is not before the end of the time", param_hint="--since")

    def wanted(one: SourceChange | SourceTrend | SourceKinds) -> bool:
        named = _named(one.source_type, one.source_name)
        return filters.source_type in (None, one.source_type) and source in (None, named["label"], one.source_name)

    match asked:
        case Asked.COMPARE:
            changes = comparison.sources(since=since, until=until)
            title = f"{_minute(since)} to {_minute(until)}, and as long before"
            show_changes([one for one in changes if wanted(one)], output, limit=limit, title=title)
        case Asked.TREND:
            trend = comparison.trend(since=since, until=until)
            show_trend(trend.days, [one for one in trend.sources if wanted(one)], output, limit=limit)
        case Asked.KINDS:
            told = comparison.kinds(since=filters.since, until=filters.until)
            show_kinds([one for one in told.sources if wanted(one)], told, output, limit=limit)


def show_changes(changes: Sequence[SourceChange], output: Format, *, limit: int, title: str) -> None:
    """Write the sources of two periods, side by side."""
    rows = [change_row(one) for one in changes]
    if rows or output is not Format.TABLE:
        emit(rows[:limit], COMPARED, output, title=title)
    if not rows:
        note("no source matches in either period")
    elif output is Format.TABLE:
        if not any(one.before.requests for one in changes):
            note("nothing was captured in the time before: all of it is new")
        _more(rows, limit)


def show_trend(instants: Sequence[int], sources: Sequence[SourceTrend], output: Format, *, limit: int) -> None:
    """Write sources day by day: lists in JSON, a column a day in CSV, a row of bars in a table."""
    rows = [
        {
            **_named(one.source_type, one.source_name),
            "total_tokens": sum(one.tokens),
            "total_cost": dollars(_sum(one.costs)),
            "requests": list(one.requests),
            "tokens": list(one.tokens),
            "costs": [dollars(cost) for cost in one.costs],
        }
        for one in sources
    ]
    days = [_day(one) for one in instants]
    if output is Format.JSON:
        write_json({"days": days, "sources": rows})
        return
    if output is Format.TABLE and rows:
        emit(rows[:limit], TREND, output, title=f"{days[0]} to {days[-1]}, UTC: tokens by day")
        _more(rows, limit)
    elif output is Format.CSV:
        wide = [{**row, **dict(zip(days, one.tokens, strict=True))} for row, one in zip(rows, sources, strict=True)]
        emit(wide[:limit], (*TREND[:-1], *(Column(key=day, title=day) for day in days)), output)
    elif output is not Format.TABLE:
        emit([{**row, "days": days} for row in rows[:limit]], TREND, output)
    if not rows:
        note("no source was used in this time")


def show_kinds(rows: Sequence[SourceKinds], told: KindTotals, output: Format, *, limit: int) -> None:
    """Write what sources consist of: schema against result, and the rest."""
    found = [
        {
            **_named(one.source_type, one.source_name),
            "tokens": one.tokens,
            # A reference to a deferred tool brings its definition in, where it stands.
            "schema": one.kinds.get("schema", 0) + one.kinds.get("reference", 0),
            "result": one.kinds.get("result", 0),
            "kinds": dict(one.kinds),
        }
        for one in rows
        if one.tokens
    ]
    if output is Format.JSON:
        write_json({"requests": told.requests, "complete": told.complete, "sources": found})
    elif found or output is not Format.TABLE:
        emit(found[:limit], KINDS, output)
        _more(found, limit) if output is Format.TABLE else None
    if not found:
        note("no capture with sources in this time")
    elif not told.complete:
        note(f"of the latest {told.requests:,} requests; --since and --until choose others")


def _more(rows: Sequence[object], limit: int) -> None:
    if len(rows) > limit:
        note(f"{limit} of {len(rows):,}; --limit N shows more")


def change_row(one: SourceChange) -> dict[str, object]:
    """One source in two periods, as JSON can carry it; changes are relative, null where there is nothing before."""
    return {
        **_named(one.source_type, one.source_name),
        "usage_count": one.now.requests,
        "usage_before": one.before.requests,
        "usage_change": _rounded(one.requests_change),
        "total_tokens": one.now.tokens,
        "tokens_before": one.before.tokens,
        "tokens_change": _rounded(one.tokens_change),
        "average_tokens": one.now.average_tokens,
        "average_before": one.before.average_tokens,
        "average_change": _rounded(one.average_change),
        "total_cost": dollars(one.now.cost),
        "cost_before": dollars(one.before.cost),
        "cost_change": _rounded(one.cost_change),
    }


def _named(source_type: str, source_name: str) -> dict[str, object]:
    from claudeproxy.model import Source, SourceType

    kind = SourceType(source_type)
    nameless = kind in {SourceType.USER, SourceType.OVERHEAD} and source_name == source_type
    label = Source(type=kind, name=None if nameless else source_name).label
    return {"label": label, "source_type": source_type, "source_name": source_name}


def _rounded(change: float | None) -> float | None:
    return None if change is None else round(change, 6)


def _sum(costs: Sequence[int | None]) -> int | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _spark(values: object) -> str:
    """A bar for each day, the tallest for the most; a dot where there was nothing."""
    assert isinstance(values, list)
    most = max(values, default=0)
    return "".join("·" if not value else _BARS[(len(_BARS) - 1) * value // most] for value in values)


def _made_of(kinds: object) -> str:
    """``62% result, 30% schema``; a single one by its name."""
    assert isinstance(kinds, dict)
    if len(kinds) == 1:
        return str(next(iter(kinds)))
    whole = sum(kinds.values())
    return ", ".join(f"{part / whole:.0%} {kind}" for kind, part in list(kinds.items())[:3])


def _minute(ns: int) -> str:
    """In the person's zone."""
    return f"{datetime.fromtimestamp(ns / NANO, UTC).astimezone():%Y-%m-%d %H:%M}"


def _day(ns: int) -> str:
    return str(iso(ns))[:10]
