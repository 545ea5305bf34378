"""``claudeproxy quota``: how full the account's limits are, and what ate them: by source, session or hour."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import choice, period
from claudeproxy_cli.listing import local_now, nothing_yet, open_captures
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
from claudeproxy_cli.render import Column, compact, emit, is_terminal, note, write_json
from claudeproxy_cli.times import NANO, duration, iso, local_time, to_ns

if TYPE_CHECKING:
    from claudeproxy.insight.quota_values import QuotaHour, QuotaState, QuotaUse

app = typer.Typer(rich_markup_mode=None, add_completion=False)


FORGOTTEN: Final = 31 * 86_400 * NANO  # a window that nobody has told of for longer is not shown: a key of last year


class By(StrEnum):
    """What is listed: shares of the use, or the windows themselves hour by hour."""

    SOURCE = "source"
    SESSION = "session"
    HOUR = "hour"
    HISTORY = "history"


def _percent(value: object) -> str:
    return f"{value:.1%}" if isinstance(value, float) else "-"


WINDOWS: Final = (
    Column(key="window", title="window", flexible=True),
    Column(key="used", title="used", text=_percent, align="right"),
    Column(key="remaining", title="left", text=compact, align="right"),
    Column(key="reset", title="resets", text=lambda value: _until(value)),
    Column(key="status", title="status", flexible=True),
    Column(key="timestamp", title="as of", text=local_time),
)
SHARES: Final = (
    Column(key="window", title="window"),
    Column(key="key", title="eaten by", flexible=True, least=24),
    Column(key="used", title="of the limit", text=_percent, align="right"),
    Column(key="share", title="share", text=_percent, align="right"),
    Column(key="requests", title="requests", text=compact, align="right"),
)
ACCOUNT: Final = Column(key="account", title="account", flexible=True, least=8)  # shown where there are several
HOURS: Final = (
    Column(key="start", title="hour", text=local_time),
    Column(key="window", title="window", flexible=True),
    Column(key="used", title="used", text=_percent, align="right"),
    Column(key="least", title="from", text=_percent, align="right"),
    Column(key="most", title="to", text=_percent, align="right"),
    Column(key="samples", title="answers", text=compact, align="right"),
    Column(key="rejected", title="rejected", text=compact, align="right"),
    Column(key="status", title="status", flexible=True, optional=True),
    Column(key="reset", title="resets", text=local_time, optional=True),
)


@app.command(epilog="Example: claudeproxy quota --since 5h --by session")
def command(
    since: Annotated[str, typer.Option(metavar="TIME", help="From: 5h, 2d, yesterday, ISO 8601.")] = "5h",
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    by: Annotated[
        str, typer.Option(metavar="BY", help="source, session, hour; history: how full it was, hour by hour.")
    ] = "source",
    window: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one: 5h, 7d, input-tokens.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many of each window at the most.")] = 15,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Show how full the account's limits are, and what ate them.

    Answers of the API tell how full each window is; a rise is laid on the requests in between by what they cost.
    """
    from claudeproxy.insight.quota import Quota
    from claudeproxy.insight.quota_values import QuotaBy

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    now = local_now()
    begin, end = period(since, until, now)
    what = By(choice("--by", by, [str(one) for one in By]))
    columns = HOURS if what is By.HISTORY else SHARES
    place = reader_home(home, config)
    if not place.database.exists():
        _emit([], [], columns, output)
        note(nothing_yet(place))
        return
    with open_captures(place) as storage:
        quota = Quota(storage)
        lately = min(begin or 0, to_ns(now) - FORGOTTEN)
        known = [one for one in quota.windows() if window in (None, one.window)]
        if what is By.HISTORY:
            rows = [hour_row(one) for one in quota.history(since=begin, until=end, window=window)]
        else:
            uses = quota.eaten(QuotaBy(what), since=begin, until=end, window=window)
            rows = [row for use in uses for row in share_rows(use, hours=what is By.HOUR)[:limit]]
    _emit([state_row(one) for one in known if one.at >= lately], rows, columns, output)
    if not known:
        note("no answer has told of a limit yet" if window is None else f"no answer has told of a limit {window!r}")
    elif not rows:
        note(f"nothing was eaten since {since}; --since goes further back")


def _emit(
    states: list[dict[str, object]], rows: list[dict[str, object]], columns: tuple[Column, ...], output: Format
) -> None:
    more = (ACCOUNT,) if len({row["account"] for row in states}) > 1 else ()
    if output is Format.JSON:
        write_json({"windows": states, "hours" if columns is HOURS else "eaten": rows})
    elif output is not Format.TABLE:
        emit(rows, (*columns, ACCOUNT), output)
    else:
        if states:
            emit(states, (*WINDOWS, *more), output)
        if rows:
            print()
            emit(rows, (*columns, *more), output)


def state_row(state: QuotaState) -> dict[str, object]:
    """A window as it was last seen, as JSON can carry it."""
    return {
        "account": state.account,
        "window": state.window,
        "used": state.used,
        "limit": state.limit,
        "remaining": state.remaining,
        "reset": iso(state.reset),
        "status": state.status,
        "timestamp": iso(state.at),
    }


def share_rows(use: QuotaUse, *, hours: bool) -> list[dict[str, object]]:
    """What ate a window, likewise; `used` is of the limit, `share` of what was eaten, `hours` says that keys are."""
    return [
        {
            "account": use.account,
            "window": use.window,
            "key": iso(int(one.key)) if hours else one.key,
            "used": one.used,
            "share": round(one.millionths / use.millionths, 6),
            "requests": one.requests,
        }
        for one in use.shares
    ]


def hour_row(hour: QuotaHour) -> dict[str, object]:
    """One hour of a window, likewise."""
    return {
        **state_row(hour.latest),
        "start": iso(hour.start),
        "least": hour.least,
        "most": hour.most,
        "samples": hour.samples,
        "rejected": hour.rejected,
    }


def _until(value: object) -> str:
    """How long it is until then."""
    if value is None:
        return "-"
    left = datetime.fromisoformat(str(value)).timestamp() - datetime.now(UTC).timestamp()
    return f"in {duration(left)}" if left > 0 else "over"
