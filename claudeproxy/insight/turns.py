"""A session's requests put together as turns: which belong together of all, and the values of those that are shown.

Apart from `sessions`, which adds up, because a session may have ten thousand requests of which a page shows a hundred:
where each belongs is read of all, in a few columns, and everything else of those on the page.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from claudeproxy.insight.session_values import SessionRequest, SessionTurn
from claudeproxy.model import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

# Requests that are known to be a subagent's although nothing names the agent (it was called before we listened).
NAMELESS = "iif(q.agent_id IS NULL AND q.request_class = 'subagent', ifnull(q.agent_type, 'unknown'), NULL)"
# Whether this attempt's context is the one that counts: it was explained, and no later attempt was.
COUNTS = """
(q.total_tokens IS NOT NULL AND q.request_class IS NOT 'count_tokens' AND NOT EXISTS (
  SELECT 1 FROM requests r WHERE r.retry_of = ifnull(q.retry_of, q.n) AND r.n > q.n AND r.total_tokens IS NOT NULL))
"""
PLACES = f"""
SELECT q.n, q.state, q.request_class, q.agent_id, {NAMELESS}, q.prompt_index, q.turn_index
FROM requests q WHERE q.session_id = ? ORDER BY q.request_initiated, q.n
"""  # noqa: S608 - nothing here comes from outside
# First the number, then the fields of a `SessionRequest` in their order, then what tells its turn.
REQUESTS = f"""
SELECT q.n, q.id, q.request_initiated, q.state, q.request_class, q.model, p.status_code,
  ifnull(p.error_type, q.error), p.stop_reason, q.total_tokens, p.output_tokens, q.cost,
  (SELECT r.id FROM requests r WHERE r.n = q.retry_of),
  q.agent_id, {NAMELESS}, q.agent_type, q.prompt_index, q.turn_index, {COUNTS}
FROM requests q LEFT JOIN responses p ON p.request = q.n
WHERE q.n IN (SELECT value FROM json_each(?))
"""  # noqa: S608
_FIELDS = tuple(field.name for field in fields(SessionRequest))
_ABOUT_TURN, _STATE = 1 + len(_FIELDS), 1 + _FIELDS.index("state")

_Values = tuple[Any, ...]  # of a row of REQUESTS


@dataclass(frozen=True, slots=True)
class Divided:
    """Numbers of a session's requests: of each turn, in order of first attempts, and of those that are no turn."""

    turns: Sequence[Sequence[int]]
    others: Sequence[int]
    states: Mapping[str, int]
    request_classes: Mapping[str, int]


def divide(connection: sqlite3.Connection, session_id: str) -> Divided:
    """Say where each request of a session belongs."""
    turns: dict[tuple[object, ...], list[int]] = {}
    others = []
    rows = [tuple(row) for row in connection.execute(PLACES, (session_id,))]
    for number, _, _, *place in rows:
        if place[-1] is None:
            others.append(number)
        else:
            turns.setdefault(tuple(place), []).append(number)
    return Divided(list(turns.values()), others, _counted(row[1] for row in rows), _counted(row[2] for row in rows))


def show(
    connection: sqlite3.Connection, turns: Sequence[Sequence[int]], others: Sequence[int]
) -> tuple[tuple[SessionTurn, ...], tuple[SessionRequest, ...]]:
    """Return turns and other requests, by their numbers. What was deleted meanwhile is left out."""
    wanted = [*others, *(number for made in turns for number in made)]
    rows = {row[0]: tuple(row) for row in connection.execute(REQUESTS, (json.dumps(wanted),))}
    attempts = ([rows[number] for number in made if number in rows] for made in turns)
    return (
        tuple(_turn(made) for made in attempts if made),
        tuple(_request(rows[number]) for number in others if number in rows),
    )


def _counted(names: Iterable[str | None]) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names if name is not None).items()))


def _request(values: _Values) -> SessionRequest:
    named = dict(zip(_FIELDS, values[1:], strict=False))
    return SessionRequest(**{**named, "state": State(values[_STATE])})


def _turn(made: Sequence[_Values]) -> SessionTurn:
    requests = tuple(_request(values) for values in made)
    costs = [request.cost for request in requests if request.cost is not None]
    counted = [request.tokens for request, values in zip(requests, made, strict=True) if values[-1]]
    agent_id, nameless, agent_type, prompt, turn, _ = made[0][_ABOUT_TURN:]
    return SessionTurn(
        agent_id=agent_id,
        agent_type=nameless or agent_type,
        prompt_index=prompt,
        turn_index=turn,
        started=requests[0].timestamp,
        state=requests[-1].state,
        tokens=counted[-1] if counted else None,
        output_tokens=sum(request.output_tokens or 0 for request in requests),
        cost=sum(costs) if costs else None,
        requests=requests,
    )
