"""``claudeproxy sessions``: the client's conversations, and one of them with its agents and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import period
from claudeproxy_cli.carried import show_carried
from claudeproxy_cli.listing import SHORT_ID, local_now, nothing_yet, open_captures
from claudeproxy_cli.money import UNKNOWN, payment_note
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
from claudeproxy_cli.render import (
    Column,
    compact,
    dollars,
    dump,
    emit,
    is_terminal,
    note,
    number,
    plain,
    price,
    write_json,
)
from claudeproxy_cli.times import duration, iso, local_time

if TYPE_CHECKING:
    from claudeproxy.insight.session_values import (
        SessionAgent,
        SessionDetail,
        SessionRequest,
        SessionSummary,
        SessionTotals,
        SessionTurn,
    )

app = typer.Typer(rich_markup_mode=None, add_completion=False)

COLUMNS: Final = (
    Column(key="ended", title="last active", text=local_time),
    Column(key="session_id", title="id", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="project", title="project", text=lambda value: str(value or "-"), flexible=True),
    Column(key="prompt_count", title="prompts", text=compact, align="right", optional=True),
    Column(key="requests", title="requests", text=compact, align="right"),
    Column(key="agent_count", title="agents", text=compact, align="right"),
    Column(key="tokens", title="tokens", text=compact, align="right"),
    Column(key="output_tokens", title="out", text=compact, align="right"),
    Column(key="cost", title="cost", text=price, align="right"),
)
TURN_COLUMNS: Final = (
    Column(key="started", title="time", text=local_time),
    Column(key="id", title="id", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="agent", title="agent", flexible=True),
    Column(key="prompt_index", title="prompt", text=number, align="right"),
    Column(key="turn_index", title="turn", text=number, align="right"),
    Column(key="attempts", title="tries", text=number, align="right", optional=True),
    Column(key="state", title="state"),
    Column(key="tokens", title="tokens", text=compact, align="right"),
    Column(key="output_tokens", title="out", text=compact, align="right"),
    Column(key="cost", title="cost", text=price, align="right"),
)
AGENT_COLUMNS: Final = (
    Column(key="shown", title="agent", flexible=True),
    Column(key="requests", title="requests", text=number, align="right"),
    Column(key="tokens", title="tokens", text=compact, align="right"),
    Column(key="output_tokens", title="out", text=compact, align="right"),
    Column(key="cost", title="cost", text=price, align="right"),
)


@app.command(epilog="Example: claudeproxy sessions 8f21c0de")
def command(
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One in full; a unique beginning will do.")] = None,  # noqa: A002
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Active from: 1h, 2d, yesterday, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    project: Annotated[
        str | None, typer.Option(metavar="DIR", help="The client's directory, or its last parts.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 20,
    carried: Annotated[
        bool, typer.Option("--carried", help="With an ID: what its context cost, fetched once and carried along.")
    ] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """List sessions, or show one with agents and turns.

    Tokens count once, however many attempts a request took; cost is of all of them.
    """
    from claudeproxy.insight.carrying import Carrying
    from claudeproxy.insight.payment import payment
    from claudeproxy.insight.session_values import SessionFilters
    from claudeproxy.insight.sessions import Sessions

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    now = local_now()
    begin, end = period(since, until, now)
    filters = SessionFilters(
        since=begin,
        until=end,
        project=project,
        limit=limit,
    )
    place = reader_home(home, config)
    if id is not None:
        if since or until or project:
            raise typer.BadParameter("--since, --until and --project choose from the list: leave them out with an ID")
        with open_captures(place) as storage:
            if carried:
                show_carried(Carrying(storage).session(id), output, limit=limit)
            else:
                detail = Sessions(storage).get(id)
                paid = payment(storage, session_id=detail.summary.session_id)
                show(detail, output, paid=_PAID[paid])
        return
    if carried:
        raise typer.BadParameter("it is told of one session: give its ID, too", param_hint="--carried")
    if not place.database.exists():
        emit([], COLUMNS, output) if output is not Format.TABLE else None
        note(nothing_yet(place))
        return
    with open_captures(place) as storage:
        if output is Format.TABLE:
            payment_note(storage, since=filters.since, until=filters.until)
        page = Sessions(storage).list(filters)
    if page.rows or output is not Format.TABLE:
        rows = [session_row(one) for one in page.rows]
        raw = output in {Format.JSON, Format.JSONL}
        emit(
            rows if raw else [{**row, **_totals(one.totals)} for row, one in zip(rows, page.rows, strict=True)],
            COLUMNS,
            output,
        )
    if not page.rows:
        note("no session matches")
    elif page.total > len(page.rows) and is_terminal():
        note(f"{len(page.rows)} of {page.total:,}; --limit N shows more, `{program()} sessions ID` one in full")


def show(detail: SessionDetail, output: Format, *, paid: str = "") -> None:
    """Write one session: whole as JSON, its turns as lines and CSV, agents and turns as tables. `paid` says what its
    dollars are where they are not the API's bill."""
    if output in {Format.JSON, Format.JSONL}:
        document = {
            **session_row(detail.summary),
            "agents": [agent_row(one) for one in detail.agents],
            "turns": [turn_row(one) for one in detail.turns],
            "others": [request_row(one) for one in detail.others],
        }
        write_json(document) if output is Format.JSON else print(dump(document, indent=None))
        return
    if output is Format.TABLE:
        for line in facts(detail.summary, paid=paid):
            print(line)
        print()
        emit([row for agent in detail.agents for row in _tree(agent)], AGENT_COLUMNS, output)
        print()
    emit([_shown(one) for one in detail.turns], TURN_COLUMNS, output)
    if output is Format.TABLE and detail.others:
        note(f"and {len(detail.others)} that are no turn: side calls, counts, compactions")


def facts(summary: SessionSummary, *, paid: str = "") -> list[str]:
    """A session, a line a fact; safe to print."""
    totals = summary.totals
    said: list[tuple[str, object]] = [
        ("session", summary.session_id),
        ("project", summary.project),
        ("client", " ".join(filter(None, (summary.client, summary.client_version)))),
        ("models", ", ".join(totals.models)),
        ("time", f"{iso(totals.started)}, {duration((totals.ended - totals.started) / 1_000_000_000)}"),
        ("requests", f"{number(totals.requests)}, of which {totals.retries} again, {totals.failed} failed"),
        (
            "turns",
            f"{number(summary.turns)}, {_counted(summary.prompts, 'prompt')}, {_counted(summary.agents, 'agent')}",
        ),
        ("context", f"{number(totals.tokens)} tokens, {number(totals.output_tokens)} out"),
        ("cache", totals.billed_tokens and f"{totals.cache_share:.0%} of {number(totals.billed_tokens)} billed"),
        ("cost", f"{price(dollars(totals.cost))}{paid}" if totals.cost is not None else _no_cost(totals)),
    ]
    return [f"{name:<13}{plain(str(value))}" for name, value in said if value]


_PAID: Final = {"api": "", "subscription": " (API equivalent)", "mixed": " (some of it API equivalent)"}


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _no_cost(totals: SessionTotals) -> str:
    return UNKNOWN if totals.billed_tokens else ""


def session_row(summary: SessionSummary) -> dict[str, object]:
    """One session under the keys of the API."""
    return {
        "session_id": summary.session_id,
        "project": summary.project,
        "client": summary.client,
        "client_version": summary.client_version,
        "agent_count": summary.agents,
        "prompt_count": summary.prompts,
        "turn_count": summary.turns,
        "totals": _totals(summary.totals),
    }


def agent_row(agent: SessionAgent) -> dict[str, object]:
    """One agent with those that it called."""
    return {
        "agent_id": agent.agent_id,
        "parent_agent_id": agent.parent_agent_id,
        "agent_type": agent.agent_type,
        "totals": _totals(agent.totals),
        "children": [agent_row(child) for child in agent.children],
    }


def turn_row(turn: SessionTurn) -> dict[str, object]:
    """One turn."""
    return {
        "agent_id": turn.agent_id,
        "agent_type": turn.agent_type,
        "prompt_index": turn.prompt_index,
        "turn_index": turn.turn_index,
        "started": iso(turn.started),
        "state": str(turn.state),
        "tokens": turn.tokens,
        "output_tokens": turn.output_tokens,
        "cost": dollars(turn.cost),
        "requests": [request_row(one) for one in turn.requests],
    }


def request_row(request: SessionRequest) -> dict[str, object]:
    """One attempt."""
    return {
        "id": request.id,
        "timestamp": iso(request.timestamp),
        "state": str(request.state),
        "request_class": request.request_class,
        "model": request.model,
        "status_code": request.status_code,
        "error": request.error,
        "stop_reason": request.stop_reason,
        "tokens": request.tokens,
        "output_tokens": request.output_tokens,
        "cost": dollars(request.cost),
        "retry_of": request.retry_of,
    }


def _totals(totals: SessionTotals) -> dict[str, object]:
    return {
        "requests": totals.requests,
        "retries": totals.retries,
        "failed": totals.failed,
        "in_flight": totals.in_flight,
        "tokens": totals.tokens,
        "output_tokens": totals.output_tokens,
        "billed_tokens": totals.billed_tokens,
        "cache_read_tokens": totals.cache_read_tokens,
        "cache_share": totals.cache_share,
        "cost": dollars(totals.cost),
        "started": iso(totals.started),
        "ended": iso(totals.ended),
        "models": list(totals.models),
    }


def _shown(turn: SessionTurn) -> dict[str, object]:
    """A turn as a line: the id is that of its last attempt, which is the one to look at."""
    made = {"id": turn.requests[-1].id, "agent": _name(turn.agent_id, turn.agent_type), "attempts": len(turn.requests)}
    return {**turn_row(turn), **made}


def _tree(agent: SessionAgent, depth: int = 0) -> list[dict[str, object]]:
    row = {**_totals(agent.totals), "shown": "  " * depth + _name(agent.agent_id, agent.agent_type)}
    return [row, *(line for child in agent.children for line in _tree(child, depth + 1))]


def _name(agent_id: str | None, agent_type: str | None) -> str:
    return " ".join(filter(None, (agent_type, agent_id and agent_id[:SHORT_ID]))) or "main"
