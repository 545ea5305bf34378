"""`ClaudeProxy`: builds the parts, wires the seams, owns the outer nursery.

The only file in which the packages meet. The order of shutdown is the nesting below: connections end (or are drained),
then the journal is closed, then what it holds is recorded. An error in capture, attribution or the API never ends the
relay; only the listener's own failure does, with a clear line.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import trio

import claudeproxy
from claudeproxy.capture.erase import JournalEraser
from claudeproxy.capture.pause import PauseFile
from claudeproxy.daily import DailyRetention
from claudeproxy.errors import ConfigError
from claudeproxy.logs import get_logger
from claudeproxy.relaying import Address, Relay
from claudeproxy.retaining import RetentionSettings
from claudeproxy.store.database import open_database
from claudeproxy.supervisor import RecorderHost, RecorderProcess, RecorderThread
from claudeproxy.translating import recording_settings, relay_settings
from claudeproxy.workers.pool import WorkerPool

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.store.storage import CaptureStorage

log = get_logger("claudeproxy.service")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAddresses:
    """Where the service listens, as bound: (host, port). `api` is None when no API was handed in."""

    proxy: Sequence[Address]
    api: Address | None


class ApiServer(Protocol):
    """Serves the REST API: `claudeproxy.api.serve`. Handed in, so that the proxy runs without Quart installed."""

    async def __call__(
        self, service: ClaudeProxy, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled; started with the ``HOST:PORT`` addresses."""
        ...


class ClaudeProxy:
    """The proxy, the capture and (when handed in) the API, in one nursery.

    `recorder` says where captures are stored and explained: ``thread`` in this process, ``process`` in one of its own,
    which keeps the relay's timing unharmed and is what ``claudeproxy serve`` uses. `fingerprints` are those of clients
    whose prompt is not among the bundled ones (`evidence.fingerprints`): version -> hashes of its paragraphs.
    `listener` is a TCP socket that listens already, in place of `bind_address`: whoever holds it too can start another
    service on it when this one dies, and clients wait in its queue meanwhile.

    With `workers` in the configuration the relaying is done by so many processes; everything else stays in this one.
    """

    def __init__(
        self,
        config: ClaudeProxyConfig,
        api: ApiServer | None = None,
        *,
        recorder: Literal["thread", "process"] = "thread",
        fingerprints: Mapping[str, Sequence[str]] | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self.config = config
        self._listener = listener
        self._fingerprints = fingerprints or {}
        self._api = api
        self._recorder_kind = recorder
        self._recorder: RecorderHost | None = None
        self._relay: Relay | WorkerPool | None = None
        self._pause = PauseFile(config.paths.pause_file)  # health's own: the tap's is the relay's
        self._retention = DailyRetention(RetentionSettings.of(config))
        self._eraser = JournalEraser(config.journal_path)

    async def run(self, *, task_status: trio.TaskStatus[ServiceAddresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then drain. Started with the addresses once both ports accept connections.

        Raises ConfigError (a port is taken, a setting cannot be used), AuthorityError (the CA), StorageError (the
        database) and JournalError before it has started; afterwards only what the listener itself raises.
        """
        settings, workers = relay_settings(self.config), self.config.workers
        self._relay = relay = Relay(settings) if workers == 1 else WorkerPool(settings, workers)
        await trio.to_thread.run_sync(self.config.paths.create)
        await relay.prepare()
        try:
            async with self._recording(capture=settings.capture) as recorder, trio.open_nursery() as nursery:
                listeners = await _listen(self.config, self._listener)
                proxy: Sequence[Address] = await nursery.start(relay.run, listeners, recorder)
                api = None
                if self._api is not None:
                    addresses: list[str] = await nursery.start(self._api, self)
                    host, _, port = addresses[0].rpartition(":")
                    api = (host.strip("[]"), int(port))
                log.info("started", proxy=[f"{h}:{p}" for h, p in proxy], api=api and f"{api[0]}:{api[1]}")
                nursery.start_soon(self._retention.run)
                task_status.started(ServiceAddresses(proxy=proxy, api=api))
        except BaseExceptionGroup as group:
            error = _only(group)  # our nurseries are our own affair: callers catch the errors that are promised
            if not isinstance(error, Exception):
                raise
            raise error from None

    def abandon(self) -> None:
        """End the workers, if there are any, at once: this process is about to leave without waiting for anything."""
        if isinstance(self._relay, WorkerPool):
            self._relay.kill()

    def open_storage(self) -> CaptureStorage:
        """A new read-only connection to the captures. Raises StorageError."""
        from claudeproxy.store.storage import CaptureStorage  # for the API, which is loaded once the proxy serves

        return CaptureStorage(self.config.database_path, read_only=True)

    def erase_journals(self, cursors: Mapping[str, tuple[int, int]]) -> int:
        """Overwrite what journals still hold of exchanges that are recorded; how many bytes (`CaptureStorage.cursors`).

        Not thread-safe. Of this service and of others on the same home: nobody reads there any more.
        """
        return self._eraser.erase(cursors)

    def health(self) -> Mapping[str, object]:
        """What the parts say of themselves: plain values, for JSON. Never raises, waits for nothing."""
        recorder, pause = self._recorder, self._pause.read()
        relay = {"proxy": None, "capture": None} if self._relay is None else self._relay.statistics()
        whole = self._relay is None or self._relay.healthy
        return {
            "status": "ok" if whole and (recorder is None or recorder.healthy) else "degraded",
            "version": claudeproxy.__version__,
            "enabled": self.config.enabled,
            "capture_enabled": self.config.capture_enabled,
            "secrets": self.config.secrets,
            "paused": None if pause is None else {"since": _iso(pause.since), "until": _iso(pause.until)},
            "not_captured_in_pauses": 0,
            **relay,
            "recorder": None
            if recorder is None
            else {**recorder.status, "restarts": recorder.restarts, "deaths": recorder.deaths},
            "retention": self._retention.statistics(),
        }

    @asynccontextmanager
    async def _recording(self, *, capture: bool) -> AsyncIterator[RecorderHost | None]:
        """What reads the journal until the last exchange is stored; None where nothing is captured."""
        if not capture:
            yield None
            return
        # Opened once here: a database that cannot be used is to be said now, in one sentence, by this process.
        await trio.to_thread.run_sync(_prepare_database, self.config.database_path)
        settings = recording_settings(self.config, self._fingerprints)
        host = RecorderProcess(settings) if self._recorder_kind == "process" else RecorderThread(settings)
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            try:
                self._recorder = host
                yield host
            finally:
                host.finish()


def _iso(ns: int | None) -> str | None:
    """An instant as the API writes it."""
    return None if ns is None else datetime.fromtimestamp(ns / 1e9, UTC).isoformat().replace("+00:00", "Z")


async def _listen(config: ClaudeProxyConfig, listener: socket.socket | None) -> Sequence[trio.SocketListener]:
    if listener is not None:
        return [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    try:
        return await trio.open_tcp_listeners(config.bind.port, host=config.bind.host)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"the proxy cannot listen on {config.bind_address}: {reason}: "
            "stop what listens there, or choose another `bind_address` (--bind)"
        ) from error


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in nested groups; the group itself where there are several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _prepare_database(path: Path) -> None:
    open_database(path, read_only=False).close()
