"""The whole of claudeproxy in a thread, for all tests of a module, and its records in words.

Apart because a service takes half a second to start, an event loop of its own lets it outlive a test's, and what the
record says is compared in the same words everywhere.
"""

from __future__ import annotations

import io
import ssl
import threading  # noqa: TID251  # the service outlives the event loop of any one test
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import structlog
import trio

from claudeproxy.logs import _Setup, configure_logging
from claudeproxy.model import State
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.support.faulty_client import Ways
from tests.support.service import PATIENCE, serving

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.store.values import CapturedRequest, CapturedResponse
    from tests.support.service import Running

LONG = 600.0
"""Seconds; whoever drives a row has a shorter limit."""

WAYS = {
    "reverse": "reverse",
    "connect": "connect+tls",
    "tls": "tls",
    "absolute": "absolute",
    "connect in tls": "tls to proxy, connect+tls",
}
"""The page's name of a way in to that of `Ways.enter`."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the database has of one exchange."""

    request: CapturedRequest
    body: bytes
    response: CapturedResponse | None
    answer: bytes

    @property
    def words(self) -> str:
        """For a table: state, what is kept of the request, what of the response, and the usage known."""
        kind = f" ({self.request.error_kind})" if self.request.error_kind else ""
        parts = [f"`{self.request.state}`{kind}", f"request {_kept(self.request.body_kept, self.request.body_length)}"]
        if self.response is None:
            return "; ".join([*parts, "no response"])
        whose = " of the proxy" if self.response.origin == "proxy" else ""
        kept = _kept(self.response.body_kept, self.response.body_length)
        parts.append(f"response {self.response.status_code}{whose} {kept}")
        if self.response.error_type and not whose:
            parts.append(f"error `{self.response.error_type}`")
        usage = self.response.usage
        if usage.input_tokens is not None:
            parts.append(f"usage {usage.input_tokens} in, {usage.output_tokens} out")
        return "; ".join(parts)


def _kept(kept: str, length: int) -> str:
    return "partial, no byte of it" if kept == "partial" and not length else kept


class House:
    """A running service. `upstream` is its URL; more keys as in the configuration."""

    def __init__(self, home: Path, upstream: str, **keys: object) -> None:
        self.home = home
        self._upstream, self._keys = upstream, keys
        self._thread = threading.Thread(target=self._run, name="house")
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._running: Running | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop: trio.Event | None = None
        self._log = io.StringIO()

    def start(self) -> None:
        configure_logging("json", "error", stream=self._log)  # an error is a bug of ours, even where nobody notices it
        self._thread.start()
        self._started.wait(PATIENCE)
        if self._running is None:
            raise RuntimeError("the service did not start") from self._failure

    def stop(self) -> None:
        """End the service and check what it leaves behind."""
        assert self._token is not None
        assert self._stop is not None
        self.storage.close()
        health = self.running.service.health() if self.running.service else {}
        self._token.run_sync_soon(self._stop.set)
        self._thread.join(PATIENCE)
        structlog.reset_defaults()
        _Setup.done, _Setup.threshold, _Setup.pending = False, 30, None
        assert self._failure is None, self._failure
        assert not self._log.getvalue()
        assert health["status"] == "ok", health
        with CaptureStorage(self.home / "captures.db", read_only=True) as storage:
            report = storage.verify()
        assert report.ok, report.problems

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as exc:  # `stop` or `start` says so in the test's thread
            self._failure = exc
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._token, self._stop = trio.lowlevel.current_trio_token(), trio.Event()
        async with serving(self.home, self._upstream, recorder="thread", **self._keys) as self._running:
            self._started.set()
            await self._stop.wait()

    @property
    def running(self) -> Running:
        assert self._running is not None
        return self._running

    @cached_property
    def storage(self) -> CaptureStorage:
        """A reader's connection."""
        return CaptureStorage(self.home / "captures.db", read_only=True)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.running.ca))

    def ways(self) -> Ways:
        return Ways(self.running.proxy, lambda: self._trust)

    async def idle(self) -> None:
        """Wait until no exchange is going on."""
        assert self.running.service is not None
        with trio.fail_after(LONG):
            while self._exchanges():  # noqa: ASYNC110  # another event loop: there is nothing to be told by
                await trio.sleep(0.002)

    def _exchanges(self) -> object:
        assert self.running.service is not None
        proxy = self.running.service.health()["proxy"]
        assert isinstance(proxy, dict)
        return proxy["exchanges"]

    async def records(self, mark: str, count: int) -> list[Record]:
        """The records whose URL ends with `mark`, once there are `count` of them, all ended; the oldest first."""
        with trio.fail_after(LONG):
            while True:
                rows = [row for row in self._rows() if row.url.endswith(mark)]
                if len(rows) >= count and all(row.state is not State.IN_FLIGHT for row in rows):
                    assert len(rows) == count, rows
                    return [self._record(row) for row in reversed(rows)]
                await trio.sleep(0.005)  # as above

    def _rows(self) -> list[CapturedRequest]:
        return list(self.storage.query_requests(RequestFilters(limit=100)).rows)

    def _record(self, row: CapturedRequest) -> Record:
        answered = row.status_code is not None
        return Record(
            request=row,
            body=row.body,
            response=self.storage.get_response(row.correlation_id) if answered else None,
            answer=self.storage.response_body(row.id) if answered else b"",
        )
