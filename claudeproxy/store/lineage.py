"""What a request follows, repeats and was started by, found among the requests before it.

Apart from `explained` because it looks at other requests and not at blocks. Derived from what is stored and nothing
else, so it may be deleted and made again; a request is derived when it is explained, and once more when it has ended,
because relays record side by side and an earlier request may have come later.

The words: a *retry* is the same context again after an attempt that failed (or that the client's own counter tells);
the *predecessor* is the request whose messages, in canonical form, are the longest beginning of this one's; *turns*
count requests of a conversation, *prompts* those of its turns that a person began. Side calls and counts are neither.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from claudeproxy.model import AgentCall, State
from claudeproxy.store.places import ROLE_SHIFT
from claudeproxy.store.text import clean

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from claudeproxy.model import Answer
    from claudeproxy.store.skeleton import PathStep
    from claudeproxy.store.tree import BlockTree

AGENT_TOOLS = frozenset({"Task", "Agent"})  # wire.md 3.2: up to 2.0, and since 2.1
OUTSIDE = frozenset({"count_tokens", "auxiliary", "side_reply", "compaction"})  # classes that are no turn
RETRY_WINDOW = 3600 * 10**9  # ns; clients give up within minutes, the same job tomorrow is no retry
ASSISTANT = 3  # in table roles
_BATCH = 64
_FAILED = (State.ABORTED_BY_CLIENT, State.CUT_BY_UPSTREAM, State.UPSTREAM_ERROR, State.INTERRUPTED)

_REQUEST = """
SELECT n, request_initiated, session_id, agent_id, api_key_hash, request_class, path AS url_path, model, retry_count,
  begins_prompt, previous_message_id, ifnull(context_node, node) AS context, node, body_sha256
FROM requests WHERE n = ?
"""
_SENDER = "q.agent_id IS :agent_id AND q.api_key_hash IS :api_key_hash"
_EARLIER = "(q.request_initiated, q.n) < (:request_initiated, :n)"
_TWIN = f"""
SELECT ifnull(q.retry_of, q.n) AS first, q.state, p.status_code, p.error_type
FROM requests q LEFT JOIN responses p ON p.request = q.n
WHERE {{same}} AND q.session_id IS :session_id AND {_SENDER} AND q.path = :url_path AND q.model IS :model
  AND q.request_initiated >= :request_initiated - {RETRY_WINDOW} AND {_EARLIER}
ORDER BY q.request_initiated DESC, q.n DESC LIMIT 1
"""  # noqa: S608 - nothing here comes from outside
_TURN = f"""
SELECT q.prompt_index, q.turn_index FROM requests q
WHERE q.session_id = :session_id AND {_SENDER} AND q.turn_index IS NOT NULL AND {_EARLIER}
ORDER BY q.request_initiated DESC, q.n DESC LIMIT 1
"""  # noqa: S608
_CALL = """
SELECT c.call_id, c.agent_type, q.agent_id FROM agent_calls c JOIN requests q ON q.n = c.request
WHERE c.prompt_hash = ? AND q.session_id = ? AND q.request_initiated < ?
ORDER BY q.request_initiated DESC, q.n DESC, c.call_id LIMIT 1
"""


class Lineage:
    """Derives over one connection. The caller holds the transaction."""

    def __init__(self, connection: sqlite3.Connection, tree: BlockTree) -> None:
        self._connection = connection
        self._tree = tree

    def derive(self, number: int, path: Sequence[PathStep] | None = None) -> None:
        """Find one request's place among those before it. `path` is its context, where the caller has it at hand."""
        row = self._connection.execute(_REQUEST, (number,)).fetchone()
        request = {key: row[key] for key in row.keys()}  # noqa: SIM118 - a Row iterates over values
        if path is None:
            path = self._tree.path(row["context"]) if row["context"] is not None else []
        outside = row["request_class"] in OUTSIDE
        first = self._first_attempt(request)
        predecessor = self._predecessor(request, path) if row["request_class"] != "count_tokens" else None
        prompt, turn = (None, None) if outside else self._place(request, first, predecessor)
        self._connection.execute(
            "UPDATE requests SET retry_of = ?, predecessor = ?, prompt_index = ?, turn_index = ?, chain = ?"
            " WHERE n = ?",
            (first, predecessor, prompt, turn, path[-1].chain if path and not outside else None, number),
        )

    def _first_attempt(self, request: Mapping[str, object]) -> int | None:
        """Return the first attempt at this request. The same node is the same body but for the billing header."""
        same = "q.node = :node" if request["node"] is not None else "q.node IS NULL AND q.body_sha256 = :body_sha256"
        twin = self._connection.execute(_TWIN.format(same=same), request).fetchone()
        if twin is None:
            return None
        failed = twin["state"] in _FAILED or twin["error_type"] is not None or (twin["status_code"] or 0) >= 400
        return int(twin["first"]) if failed or request["retry_count"] else None

    def _predecessor(self, request: Mapping[str, object], path: Sequence[PathStep]) -> int | None:
        """Return the request that this one goes on from.

        In its own session; else in another one (a fork, a resumption under a new id), if an answer is part of what
        they share; else the one that the client names, when a conversation was written anew (compaction).
        """
        own = path[-1].chain if path else None
        chains = [step.chain for step in reversed(path) if step.chain is not None and step.chain != own]
        found = self._latest_at(chains, "q.session_id IS :session_id", request)
        if found is None and request["session_id"] is not None:
            answers = [index for index, step in enumerate(path) if step.place >> ROLE_SHIFT == ASSISTANT]
            beyond = path[answers[0] :] if answers else ()
            shared = [step.chain for step in reversed(beyond) if step.chain is not None and step.chain != own]
            found = self._latest_at(shared, "q.session_id IS NOT NULL", request)
        return self._named(request) if found is None else found

    def _latest_at(self, chains: Sequence[bytes], where: str, request: Mapping[str, object]) -> int | None:
        """Return the latest earlier request that ends at the first of `chains` where any does."""
        for start in range(0, len(chains), _BATCH):
            batch = chains[start : start + _BATCH]
            names = {f"c{index}": chain for index, chain in enumerate(batch)}
            rows = self._connection.execute(
                f"SELECT q.n, q.chain FROM requests q WHERE q.chain IN ({','.join(f':{name}' for name in names)})"  # noqa: S608
                f" AND {where} AND {_SENDER} AND {_EARLIER} ORDER BY q.request_initiated, q.n",
                {**request, **names},
            ).fetchall()
            latest = {row["chain"]: int(row["n"]) for row in rows}
            for chain in batch:
                if chain in latest:
                    return latest[chain]
        return None

    def _named(self, request: Mapping[str, object]) -> int | None:
        row = self._connection.execute(
            "SELECT q.n FROM responses p JOIN requests q ON q.n = p.request WHERE p.message_id = :previous_message_id"  # noqa: S608
            f" AND {_EARLIER} ORDER BY q.n DESC LIMIT 1",
            request,
        ).fetchone()
        return None if row is None else int(row["n"])

    def _place(self, request: Mapping[str, object], first: int | None, predecessor: int | None) -> tuple[int, int]:
        """Return the numbers of prompt and turn."""
        if first is not None:
            last = self._numbers(first)
            if last is not None:
                return last
        if request["session_id"] is not None:
            row = self._connection.execute(_TURN, request).fetchone()
            last = None if row is None else (int(row["prompt_index"]), int(row["turn_index"]))
        else:  # an application without sessions: its conversations are known by their messages alone
            last = self._numbers(predecessor)
        return (1, 1) if last is None else (last[0] + int(bool(request["begins_prompt"])), last[1] + 1)

    def _numbers(self, number: int | None) -> tuple[int, int] | None:
        row = self._connection.execute(
            "SELECT prompt_index, turn_index FROM requests WHERE n = ? AND turn_index IS NOT NULL", (number,)
        ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))


# --- calls that start agents ---------------------------------------------------------------------------------------


def save_agent_calls(connection: sqlite3.Connection, number: int, answer: Answer) -> None:
    """Keep what the answer to a request calls agents with: their own requests are known by it."""
    connection.execute("DELETE FROM agent_calls WHERE request = ?", (number,))
    message = answer.message
    content = message.get("content") if message is not None else None
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict) or block.get("type") != "tool_use":
            continue
        if not (isinstance(name := block.get("name"), str) and name in AGENT_TOOLS):
            continue
        call_id, arguments = block.get("id"), block.get("input")
        if not (isinstance(call_id, str) and isinstance(arguments, dict) and isinstance(arguments.get("prompt"), str)):
            continue
        kind = arguments.get("subagent_type")
        connection.execute(
            "INSERT OR REPLACE INTO agent_calls VALUES (?, ?, ?, ?)",
            (number, clean(call_id), clean(kind) if isinstance(kind, str) else None, _hash(arguments["prompt"])),
        )


def find_agent_call(connection: sqlite3.Connection, session_id: str, prompt: str, before: int) -> AgentCall | None:
    """Return the latest call in a session, made by a request before an instant, with exactly this prompt."""
    row = connection.execute(_CALL, (_hash(prompt), session_id, before)).fetchone()
    return None if row is None else AgentCall(id=row[0], agent_type=row[1], parent_agent_id=row[2])


def _hash(prompt: str) -> bytes:
    return sha256(prompt.encode("utf-8", "surrogatepass")).digest()
