"""A small database to ask: five requests of two sessions, in every state that a question can tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.model import Identity, State
from tests.store.exchanges import exchange, in_flight, response
from tests.store.explaining import count, explain

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage

BODY = b'{"tools":[{"name":"t"}],"messages":[{"role":"user","content":"hello"}]}'
PLAIN = b'{"messages":[{"role":"user","content":"hello"}]}'
IDENTITIES = [
    Identity(session_id="s1", agent_id="a1", request_class="main", model="opus", project="/home/ann/alpha"),
    Identity(session_id="s1", agent_id="a2", request_class="subagent", model="haiku", project="/home/ann/beta"),
    Identity(session_id="s2", request_class="main", model="opus", project="/srv/alpha"),
]


def fill(storage: CaptureStorage) -> None:
    """Five requests a second apart: three explained ones, a failed GET, one in flight."""
    exchanges = [
        exchange(0, BODY),
        exchange(1, PLAIN),
        exchange(2, BODY, url="https://api.anthropic.com/v1/messages/count_tokens?beta=true"),
        exchange(3, b"", method="GET", state=State.CUT_BY_UPSTREAM, response=response(b"", status_code=529)),
        in_flight(4, PLAIN),
    ]
    ids = storage.record(exchanges, {})
    for request_id, body, identity in zip(ids, (BODY, PLAIN, BODY), IDENTITIES, strict=False):
        result = explain(body, identity=identity)
        storage.save_attribution(request_id, result, count(result), rules_version="1")
