"""`Sessions`: captures put together as the client's conversations, with their agents and turns.

Reads only, and keeps nothing: a session is what its requests say, so it shrinks when retention takes some of them and
is gone with the last. Requests of a client that names no session belong to none, and are not here.

What counts once: attempts at one request send one context, so `tokens` are those of the last attempt; output and cost
are what each attempt was billed. Counting tokens (`count_tokens`) sends nothing to a model and adds no `tokens`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from claudeproxy.errors import NotFoundError
from claudeproxy.insight.session_values import (
    SessionAgent,
    SessionDetail,
    SessionFilters,
    SessionPage,
    SessionSummary,
    SessionTotals,
)
from claudeproxy.insight.turns import COUNTS, NAMELESS, divide, show

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from claudeproxy.store.storage import CaptureStorage

_BEYOND = "\U0010ffff"  # sorts after every id that begins with a prefix

_PROJECT = "(project = :project OR substr(project, -length(:inside)) = :inside)"
# Sessions with a request in the time asked for; the last one active comes first. By the index on session and instant.
MATCHING = """
SELECT session_id, max(request_initiated) AS last FROM requests WHERE session_id IN (
  SELECT session_id FROM requests WHERE session_id IS NOT NULL AND {condition})
GROUP BY session_id
"""
_FAILED = """
(q.state NOT IN ('complete', 'in_flight') OR ifnull(p.status_code, 0) >= 400 OR p.error_type IS NOT NULL)
"""
_TOTALS = f"""
SELECT q.session_id, q.agent_id, {NAMELESS} AS nameless, max(q.parent_agent_id) AS parent_agent_id,
  max(q.agent_type) AS agent_type, count(*) AS requests, count(q.retry_of) AS retries, sum({_FAILED}) AS failed,
  sum(q.state = 'in_flight') AS in_flight, ifnull(sum(iif({COUNTS}, q.total_tokens, 0)), 0) AS tokens,
  ifnull(sum(p.output_tokens), 0) AS output_tokens,
  ifnull(sum(ifnull(p.input_tokens, 0) + ifnull(p.cache_creation_input_tokens, 0)
    + ifnull(p.cache_read_input_tokens, 0)), 0) AS billed_tokens,
  ifnull(sum(p.cache_read_input_tokens), 0) AS cache_read_tokens, sum(q.cost) AS cost,
  min(q.request_initiated) AS started, max(ifnull(q.delivered, q.request_initiated)) AS ended,
  json_group_array(DISTINCT q.model) FILTER (WHERE q.model IS NOT NULL) AS models,
  count(DISTINCT q.agent_id) AS agents, max(q.prompt_index) FILTER (WHERE q.agent_id IS NULL) AS prompts,
  count(DISTINCT iif(q.turn_index IS NULL, NULL, ifnull(q.agent_id, '') || ' ' || q.turn_index)) AS turns
FROM requests q LEFT JOIN responses p ON p.request = q.n
WHERE q.session_id IN (SELECT value FROM json_each(:sessions)) GROUP BY {{key}}
"""  # noqa: S608 - nothing here comes from outside
BY_SESSION = _TOTALS.format(key="q.session_id")
BY_AGENT = _TOTALS.format(key="q.agent_id, nameless") + " ORDER BY started"
_CLIENT = """
SELECT (SELECT project FROM requests WHERE session_id = :session AND project IS NOT NULL
    ORDER BY request_initiated DESC LIMIT 1) AS project,
  client, client_version FROM requests WHERE session_id = :session AND client IS NOT NULL
ORDER BY request_initiated DESC LIMIT 1
"""
_AgentKey = tuple[str | None, str | None]  # id, and the type of one without
_MAIN: _AgentKey = (None, None)
_MAX_DEPTH = 32  # of agents that call agents; the ids are whatever a client says


class Sessions:
    """Sessions in an open `CaptureStorage`, which may be read-only. Cheap to make."""

    def __init__(self, storage: CaptureStorage) -> None:
        self._storage = storage

    def list(self, filters: SessionFilters | None = None) -> SessionPage:
        """Return a page of sessions, the last active first, with the number of all that match.

        Times choose sessions that had a request then; what is told of one is told of the whole session.
        """
        filters = filters or SessionFilters()
        condition, parameters = _condition(filters)
        matching = MATCHING.format(condition=condition)
        with self._storage.reading() as connection:
            found = [
                str(row["session_id"])
                for row in connection.execute(
                    f"{matching} ORDER BY last DESC, session_id LIMIT :limit OFFSET :offset", parameters
                )
            ]
            total = int(connection.execute(f"SELECT count(*) FROM ({matching})", parameters).fetchone()[0])  # noqa: S608
            rows = connection.execute(BY_SESSION, {"sessions": json.dumps(found)}).fetchall()
            known = {row["session_id"]: _summary(connection, row) for row in rows}
        return SessionPage(rows=tuple(known[one] for one in found if one in known), total=total)

    def find(self, session_id: str) -> str:
        """Return the whole id of a session, from an unambiguous beginning of it.

        :raises NotFoundError: with near ids.
        """
        with self._storage.reading() as connection:
            return _find(connection, session_id)

    def get(self, session_id: str, *, limit: int | None = None, offset: int = 0) -> SessionDetail:
        """Return one session by its id, or an unambiguous beginning of one.

        :param limit: turns, and other requests, on a page; None: all. There may be thousands.
        :param offset: how many of each to skip.
        :raises NotFoundError: with near ids.
        """
        with self._storage.reading() as connection:
            found = _find(connection, session_id)
            parameters = {"sessions": json.dumps([found])}
            whole = connection.execute(BY_SESSION, parameters).fetchone()
            agents = connection.execute(BY_AGENT, parameters).fetchall()
            if whole is None:
                raise NotFoundError(f"no session {session_id!r}")  # deleted between two statements
            summary = _summary(connection, whole)
            divided = divide(connection, found)
            page = slice(offset, None if limit is None else offset + limit)
            turns, others = show(connection, divided.turns[page], divided.others[page])
        return SessionDetail(
            summary=summary,
            states=divided.states,
            request_classes=divided.request_classes,
            agents=_tree(agents),
            turns=turns,
            turns_total=len(divided.turns),
            others=others,
            others_total=len(divided.others),
        )


def _condition(filters: SessionFilters) -> tuple[str, dict[str, object]]:
    where, parameters = ["true"], {"limit": filters.limit, "offset": filters.offset}
    given: dict[str, object] = {}
    if filters.since is not None:
        where.append("request_initiated >= :since")
        given["since"] = filters.since
    if filters.until is not None:
        where.append("request_initiated < :until")
        given["until"] = filters.until
    if filters.project is not None:
        where.append(_PROJECT)
        given |= {"project": filters.project, "inside": "/" + filters.project.strip("/")}
    return " AND ".join(where), parameters | given


def _find(connection: sqlite3.Connection, wanted: str) -> str:
    """Return the id that is meant. Ids are whatever the client says: no case is folded, and a whole one wins."""
    name = wanted.strip()
    between = "SELECT DISTINCT session_id FROM requests WHERE session_id >= ? AND session_id < ? LIMIT 6"
    found = [str(row[0]) for row in connection.execute(between, (name, name + _BEYOND))] if name else []
    if name in found or len(found) == 1:
        return name if name in found else found[0]
    if found:
        raise NotFoundError(f"{wanted!r} is the beginning of several session ids", near=tuple(found))
    near: list[str] = []
    for length in (4, 2):
        begin = name[:length]
        near = near or [str(row[0]) for row in connection.execute(between, (begin, begin + _BEYOND))] if begin else []
    raise NotFoundError(f"no session {wanted!r}", near=tuple(near))


# --- rows as values ------------------------------------------------------------------------------------------------


def _totals(row: sqlite3.Row) -> SessionTotals:
    return SessionTotals(
        requests=row["requests"],
        retries=row["retries"],
        failed=row["failed"],
        in_flight=row["in_flight"],
        tokens=row["tokens"],
        output_tokens=row["output_tokens"],
        billed_tokens=row["billed_tokens"],
        cache_read_tokens=row["cache_read_tokens"],
        cost=row["cost"],
        started=row["started"],
        ended=row["ended"],
        models=tuple(sorted(json.loads(row["models"]))),
    )


def _summary(connection: sqlite3.Connection, row: sqlite3.Row) -> SessionSummary:
    client = connection.execute(_CLIENT, {"session": row["session_id"]}).fetchone()
    return SessionSummary(
        session_id=row["session_id"],
        project=client["project"] if client else None,
        client=client["client"] if client else None,
        client_version=client["client_version"] if client else None,
        agents=row["agents"],
        prompts=row["prompts"] or 0,
        turns=row["turns"],
        totals=_totals(row),
    )


def _tree(rows: Sequence[sqlite3.Row]) -> tuple[SessionAgent, ...]:
    """Lay the agents under those that called them. What the client says of parents need not be a tree: an agent whose
    line never reaches the main conversation is put there."""
    by_key: dict[_AgentKey, sqlite3.Row] = {(row["agent_id"], row["nameless"]): row for row in rows}
    parents: dict[_AgentKey, _AgentKey] = {
        key: named if (named := (row["parent_agent_id"], None)) in by_key else _MAIN
        for key, row in by_key.items()
        if key != _MAIN
    }
    children: dict[_AgentKey, list[_AgentKey]] = {}
    for key in parents:
        seen, above = {key}, parents[key]
        while above != _MAIN and above not in seen and len(seen) < _MAX_DEPTH:
            seen.add(above)
            above = parents[above]
        if above != _MAIN:
            parents[key] = _MAIN
    for key, above in parents.items():
        children.setdefault(above, []).append(key)

    def grow(key: _AgentKey) -> SessionAgent:
        row = by_key[key]
        return SessionAgent(
            agent_id=key[0],
            parent_agent_id=row["parent_agent_id"],
            agent_type=row["nameless"] or row["agent_type"],
            totals=_totals(row),
            children=tuple(grow(child) for child in children.get(key, ())),
        )

    return (grow(_MAIN),) if _MAIN in by_key else tuple(grow(key) for key in children.get(_MAIN, ()))
