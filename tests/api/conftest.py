"""A database of the real kind, and the API on it, served by real Hypercorn on a free port."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from claudeproxy.api.app import create_app
from claudeproxy.api.serving import serve_app
from claudeproxy.model import Answer, BodyKept, EntryMode, Identity, RecordedBody, State
from claudeproxy.store.storage import CaptureStorage
from tests.api.captures import answered, exchange, explained, missing, prompt, whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from quart_trio import QuartTrio

    from claudeproxy.model import RecordedExchange

MAIN = Identity(
    session_id="session-1",
    request_class="main",
    client="claude-cli",
    client_version="2.1.330",
    model="claude-sonnet-4-5",
    project="/home/someone/project",
)
AGENT = Identity(
    session_id="session-1",
    agent_id="a1b2",
    parent_agent_id="c3d4",
    agent_type="Explore",
    request_class="subagent",
    client_version="2.1.330",
    model="claude-haiku-4-5",
    project="/home/someone/project",
)

STREAM = b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_dummy","content":[]}}\n\n'
MESSAGE: dict[str, object] = {"id": "msg_dummy", "type": "message", "role": "assistant", "content": []}
PARTIAL = b'{"model": "claude-sonnet-4-5", "mess'


class Captures:
    """A database being filled; `ids` are the request ids by the number of the exchange."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids: dict[int, str] = {}
        self._storage = CaptureStorage(path)

    def record(self, exchanges: Sequence[tuple[int, RecordedExchange]]) -> None:
        recorded = self._storage.record([one for _, one in exchanges], {})
        self.ids.update(zip((number for number, _ in exchanges), recorded, strict=True))

    def explain(self, number: int, body: bytes, identity: Identity) -> None:
        """Attribute it by hand: ten tokens a segment, counted up from 1 so that no two are alike."""
        attribution = explained(body, identity)
        counts = [10 + place for place in range(len(attribution.segments()))]
        self._storage.save_attribution(self.ids[number], attribution, counts, rules_version="test-1")

    def index(self) -> None:
        """Make all texts findable."""
        for request_id in self._storage.unindexed(1000):
            self._storage.index_texts(request_id)

    def close(self) -> None:
        self._storage.close()

    def reader(self) -> CaptureStorage:
        return CaptureStorage(self.path, read_only=True)

    def writer(self) -> CaptureStorage:
        return CaptureStorage(self.path, busy_timeout=0.5)


def of_every_kind() -> list[tuple[int, RecordedExchange]]:
    """One exchange for each thing that can become of one."""
    main, agent = whole(prompt("main")), whole(prompt("agent"))
    streamed = answered(
        data=STREAM,
        headers=((b"content-type", b"text/event-stream"),),
        answer=Answer(message=MESSAGE, message_id="msg_dummy", model="m", stop_reason="end_turn", streamed=True),
    )
    limited = answered(429, b'{"type": "error"}', answer=Answer(error_type="rate_limit_error"))
    ours = answered(502, b'{"type": "error"}', origin="proxy", answer=Answer(error_type="api_error"))
    cut = answered(body=RecordedBody(kept=BodyKept.PARTIAL, data=STREAM[:40], length=40))
    return [
        (1, exchange(1, body=main, response=answered())),
        (2, exchange(2, body=agent, response=streamed)),
        (3, exchange(3, response=limited)),
        (4, exchange(4, state=State.UPSTREAM_ERROR, response=ours, error="the upstream refused", error_kind="refused")),
        (5, exchange(5, state=State.ABORTED_BY_CLIENT, response=cut, error="the client left", error_kind="gone")),
        (6, exchange(6, body=whole(prompt("packed"), encoding="gzip"), response=answered())),
        (7, exchange(7, body=missing(BodyKept.TOO_LARGE), response=answered(body=missing(BodyKept.TOO_LARGE)))),
        (
            8,
            exchange(8, path="/api/event_logging/v2/batch", body=missing(BodyKept.POLICY), response=answered(204, b"")),
        ),
        (
            9,
            exchange(
                9, method="HEAD", path="/", body=whole(b""), response=answered(200, b""), entry_mode=EntryMode.TLS
            ),
        ),
        (10, exchange(10, state=State.IN_FLIGHT)),
        (11, exchange(11, state=State.INTERRUPTED, body=RecordedBody(kept=BodyKept.PARTIAL, data=PARTIAL, length=36))),
        (12, exchange(12, body=whole(b'{"model": NaN, "messages": []}'), response=answered(400, b"<html>"))),
    ]


@pytest.fixture(scope="session")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Captures:
    """Twelve exchanges, the first two explained. Tests only read it."""
    made = Captures(tmp_path_factory.mktemp("api") / "captures.db")
    made.record(of_every_kind())
    made.explain(1, prompt("main"), MAIN)
    made.explain(2, prompt("agent"), AGENT)
    made.index()
    made.close()
    return made


def app_on(captures: Captures, *, token: str | None = None, token_required: bool = False) -> QuartTrio:
    return create_app(
        captures.reader,
        open_writer=captures.writer,
        token=token,
        accepted_hosts=["box.example"],
        health=lambda: {"drops": 0, "journal": {"bytes": 10}},
        version="1.2.3",
        token_required=token_required,
    )


@asynccontextmanager
async def served(app: QuartTrio) -> AsyncIterator[httpx.AsyncClient]:
    """The application on a real port, and a client whose paths are relative to it."""
    shutdown = trio.Event()
    async with trio.open_nursery() as nursery:
        start = partial(serve_app, app, bind="127.0.0.1:0", shutdown_trigger=shutdown.wait, grace=0.5)
        (address,) = await nursery.start(start)
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
            yield client
        shutdown.set()


@pytest.fixture
async def api(captures: Captures) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API on `captures`."""
    async with served(app_on(captures)) as client:
        yield client
