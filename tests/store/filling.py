"""Databases with conversations in them: recorded, explained and indexed, as the recorder does it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.store.exchanges import exchange, response
from tests.store.explaining import count, explain

if TYPE_CHECKING:
    from claudeproxy.model import RecordedExchange
    from claudeproxy.store.storage import CaptureStorage


def record(storage: CaptureStorage, given: RecordedExchange, *, version: str = "1", **changes: object) -> str:
    """Store one exchange with its sources and its words; `changes` go to `explain`."""
    (request_id,) = storage.record([given], {})
    if given.request_body.data:
        result = explain(given.request_body.data, **changes)  # type: ignore[arg-type]
        storage.save_attribution(request_id, result, count(result), rules_version=version)
    storage.index_texts(request_id)
    return request_id


def prompt(*texts: str, system: str = "You help.") -> bytes:
    """A request body whose messages are these texts, in turn of user and assistant."""
    messages = [
        {"role": ("user", "assistant")[n % 2], "content": [{"type": "text", "text": t}]} for n, t in enumerate(texts)
    ]
    return json.dumps({"model": "m", "system": system, "messages": messages}, separators=(",", ":")).encode()


def answer(text: str) -> bytes:
    """A response body that says a text."""
    return json.dumps({"id": "msg_1", "type": "message", "content": [{"type": "text", "text": text}]}).encode()


def talk(
    storage: CaptureStorage, *texts: str, first: int = 0, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> list[str]:
    """Record a conversation, one request for each of the user's texts; the answers are the texts between."""
    ids = []
    for turn, at in enumerate(range(0, len(texts), 2)):
        said = response(answer(texts[at + 1]) if at + 1 < len(texts) else b"{}", number=first + turn)
        given = exchange(first + turn, prompt(*texts[: at + 1]), response=said)
        if headers:
            given = exchange(first + turn, prompt(*texts[: at + 1]), response=said, headers=headers)
        ids.append(record(storage, given))
    return ids


def bytes_on_disk(storage: CaptureStorage) -> bytes:
    """Everything in the directory of a database: the file, its log, copies of it."""
    return b"".join(path.read_bytes() for path in sorted(storage.path.parent.iterdir()))


def counts(storage: CaptureStorage) -> dict[str, int]:
    """How many rows each table of captured content has, without the placeholders with id 0."""
    tables = (
        *("requests", "responses", "request_bodies", "response_bodies", "feedback", "header_fields", "skeleton_blocks"),
        *("request_segments", "request_sources", "loose_segments", "segments", "explanations", "abandoned_nodes"),
        *("search_documents", "search_blocks", "search_answers", "searched", "agent_calls"),
    )
    run = storage._connection.execute
    found = {table: run(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    return found | {name: run(f"SELECT count(*) - 1 FROM {name}").fetchone()[0] for name in ("nodes", "blocks")}


def unreferenced(storage: CaptureStorage) -> dict[str, int]:
    """How many rows there are that nothing refers to, by table."""
    run = storage._connection.execute
    conditions = {
        "nodes": "id > 0 AND id NOT IN (SELECT parent FROM nodes) AND id NOT IN (SELECT node FROM requests WHERE node"
        " IS NOT NULL) AND id NOT IN (SELECT context_node FROM requests WHERE context_node IS NOT NULL)",
        "blocks": "id > 0 AND id NOT IN (SELECT block FROM nodes UNION SELECT gap FROM nodes"
        " UNION SELECT block FROM skeleton_blocks)",
        "explanations": "id NOT IN (SELECT explanation FROM nodes WHERE explanation IS NOT NULL)",
        "loose_segments": "id NOT IN (SELECT segment FROM request_segments)",
        "search_documents": "id NOT IN (SELECT document FROM search_blocks UNION SELECT document FROM search_answers)",
    }
    found = {t: run(f"SELECT count(*) FROM {t} WHERE {c}").fetchone()[0] for t, c in conditions.items()}
    return {table: number for table, number in found.items() if number}
