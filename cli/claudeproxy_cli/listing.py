"""Captures as rows and documents: what `query`, `show`, `demo` and the receipt of `run` have in common.

The keys are those of the REST API, so that a script can change from one to the other.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from claudeproxy_cli.money import cost_cell, fine_price
from claudeproxy_cli.options import Format
from claudeproxy_cli.render import Column, compact, dollars, number
from claudeproxy_cli.times import iso, milliseconds, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.config.home import Home
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, SourceTotal

SHORT_ID: Final = 8  # hex digits: unique among ten thousand captures with 99 %; longer prefixes are always accepted

_STATES: Final = {
    "in_flight": "running",
    "aborted_by_client": "aborted",
    "cut_by_upstream": "cut",
    "upstream_error": "failed",
    "interrupted": "lost",
}


def open_captures(home: Home, *, to_write: bool = False) -> CaptureStorage:
    """The captures, to read. Raises StorageError; NotFoundError with what to do when there are none yet."""
    from claudeproxy.errors import NotFoundError
    from claudeproxy.store.storage import CaptureStorage

    if not home.database.exists():
        raise NotFoundError(nothing_yet(home))
    return CaptureStorage(home.database, read_only=not to_write)


def nothing_yet(home: Home) -> str:
    """What to say, and what to do, when nothing was ever captured."""
    from claudeproxy_cli.options import home_flag, program

    return (
        f"nothing has been captured in {home.path} yet\n"
        f"  capture something:     {program()} run{home_flag(home)} -- claude\n"
        f"  see it without a key:  {program()} demo"
    )


def is_explained(request: CapturedRequest) -> bool:
    """Whether its context is known, or there is none to know."""
    return request.total_tokens is not None or str(request.body_kept) != "whole"


def source_row(total: SourceTotal, whole: int) -> dict[str, object]:
    """One source's part of one request's context."""
    return {
        "label": total.source.label,
        "source_type": str(total.source.type),
        "source_name": total.source.name,
        "token_count": total.token_count,
        "share": round(total.token_count / whole, 4) if whole else 0.0,
        "accuracy": str(total.accuracy),
        "cost": dollars(total.cost),
    }


def source_rows(totals: Sequence[SourceTotal]) -> list[dict[str, object]]:
    """All sources of one request, the largest first."""
    whole = sum(total.token_count for total in totals)
    return [source_row(total, whole) for total in sorted(totals, key=lambda total: -total.token_count)]


def with_tokens(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """The rows that a person wants to see: a source may have brought punctuation only, which counts as no token."""
    return [row for row in rows if row["token_count"]]


def request_row(request: CapturedRequest, sources: Sequence[SourceTotal]) -> dict[str, object]:
    """One request with its sources, as JSON can carry it."""
    who = request.identity
    return {
        "id": request.id,
        "correlation_id": request.correlation_id,
        "timestamp": iso(request.timestamp),
        "method": request.method,
        "url": request.url,
        "state": str(request.state),
        "status_code": request.status_code,
        "model": request.model,
        "request_class": who.request_class,
        "session_id": who.session_id,
        "agent_id": who.agent_id,
        "parent_agent_id": who.parent_agent_id,
        "agent_type": who.agent_type,
        "project": who.project,
        "retry_of": request.lineage.retry_of,
        "parent_request_id": request.lineage.parent_request_id,
        "prompt_index": request.lineage.prompt_index,
        "turn_index": request.lineage.turn_index,
        "total_tokens": request.total_tokens,
        "accuracy": None if request.accuracy is None else str(request.accuracy),
        "expected_error": request.expected_error,
        "response_tokens": request.response_tokens,
        "cost": dollars(request.cost),
        "cost_note": request.cost_note,
        "subscription": request.subscription,
        "latency_ms": request.latency_ms,
        "proxy_latency_ms": request.proxy_latency_ms,
        "sources": source_rows(sources),
    }


def outcome(row: object) -> str:
    """A state and a status code in a word: ``200``, ``aborted``, ``running``."""
    assert isinstance(row, dict)
    word = _STATES.get(str(row["state"]))
    return word or str(row["status_code"] or "-")


def who(row: dict[str, object]) -> str | None:
    """Who asked: ``main``, an agent by its name, a further attempt as such (``main, retry``); None: nobody knows."""
    name = row["agent_type"] or row["request_class"]
    return f"{name or '-'}, retry" if row["retry_of"] else None if name is None else str(name)


def top_sources(sources: object, *, count: int = 3) -> str:
    """``45% Framework, 20% MCP: docs``: the largest sources, their shares first, which a narrow table still shows."""
    assert isinstance(sources, list)
    return ", ".join(f"{row['share']:.0%} {row['label']}" for row in sources[:count] if row["share"] >= 0.005)


def request_columns(now: datetime, output: Format) -> tuple[Column, ...]:
    """The columns of requests; as a table they fit 80 columns, and what has no context shows what it asked for."""
    common = (
        Column(key="timestamp", title="time", text=lambda value: _local(value, now)),
        Column(key="id", title="id", text=lambda value: str(value)[:SHORT_ID]),
        Column(key="outcome", title="status"),
        Column(key="who", title="class", text=_or_dash, flexible=True, optional=True),
        Column(key="model", title="model", text=_model, flexible=True, optional=True),
        Column(key="total_tokens", title="tokens", text=compact, align="right", label="accuracy"),
        Column(key="response_tokens", title="out", text=compact, align="right", optional=True),
        Column(key="latency_ms", title="first", text=_latency, align="right", optional=True),
    )
    if output is Format.TABLE:
        cost = Column(key="cost_shown", title="cost", align="right", optional=True, late=True)
        return (*common, cost, Column(key="content", title="largest sources", flexible=True, least=22))
    piped = (
        *common,
        Column(key="top_sources", title=""),
        Column(key="method", title=""),
        Column(key="path", title=""),
        Column(key="cost" if output is Format.CSV else "cost_shown", title=""),
    )
    if output is Format.CSV:
        return (*piped, *(Column(key=key, title="") for key in ("cost_note", "accuracy", "expected_error")))
    return piped


SOURCE_COLUMNS: Final = (
    Column(key="label", title="source", flexible=True),
    Column(key="token_count", title="tokens", text=number, align="right", label="accuracy"),
    Column(key="share", title="share", text=lambda value: f"{value:.1%}", align="right"),
    Column(key="cost", title="cost", text=fine_price, align="right"),
    Column(key="accuracy", title="accuracy"),
)

# Beside each source what its part consists of; how accurate the counts are goes without saying where all are alike.
SHOWN_COLUMNS: Final = (*SOURCE_COLUMNS[:-1], Column(key="parts", title="made of", flexible=True, least=9))

KIND_COLUMNS: Final = (
    Column(key="label", title="source", flexible=True),
    Column(key="kind", title="kind", flexible=True),
    *SOURCE_COLUMNS[1:],
)

OUTPUT_COLUMNS: Final = (
    Column(key="label", title="answer", flexible=True),
    *(column for column in SOURCE_COLUMNS[1:] if column.key != "share"),
)


def shown(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """Rows with the cells that are made of others."""
    return [
        {
            **row,
            "outcome": outcome(row),
            "who": who(row),
            "path": (path := urlsplit(str(row["url"])).path),
            "cost_shown": cost_cell(row),
            "top_sources": (top := top_sources(row["sources"])),
            "content": top or f"{row['method']} {path}",
        }
        for row in rows
    ]


def _local(value: object, now: datetime) -> str:
    moment = datetime.fromisoformat(str(value))
    return short(int(moment.timestamp() * 1_000_000_000), now=now)


def _model(value: object) -> str:
    """Without what every name has in common and without a date: ``opus-4-5``."""
    name = str(value or "-").removeprefix("claude-")
    head, _, tail = name.rpartition("-")
    return head if head and len(tail) == 8 and tail.isdecimal() else name


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _latency(value: object) -> str:
    return milliseconds(value if isinstance(value, int | float) else None)


def local_now() -> datetime:
    """The time, aware, in the person's zone."""
    return datetime.now(UTC).astimezone()
