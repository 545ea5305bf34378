"""`ClaudeProxy`: builds the parts, wires the seams, owns the outer nursery.

The only file in which the packages meet. The order of shutdown is the nesting below: connections end (or are drained),
then the journal is closed, then what it holds is recorded. An error in capture, attribution or the API never ends the
relay; only the listener's own failure does, with a clear line.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

import trio

import claudeproxy
from claudeproxy.capture.erase import JournalEraser
from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.pause import PauseFile, PausingTap
from claudeproxy.capture.policy import BodyPolicy
from claudeproxy.capture.redact import KeyHasher
from claudeproxy.capture.secret import load_or_create_secret
from claudeproxy.capture.tap import JournalTap
from claudeproxy.daily import DailyRetention
from claudeproxy.detecting import relay_finder
from claudeproxy.errors import ConfigError
from claudeproxy.logs import get_logger
from claudeproxy.proxy.calibration import CalibratingTap
from claudeproxy.proxy.server import ProxyServer
from claudeproxy.proxy.tap import NullTap
from claudeproxy.retaining import RetentionSettings
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.supervisor import RecorderHost, RecorderProcess, RecorderThread
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache
from claudeproxy.translating import proxy_settings, recording_settings

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.model import Tap
    from claudeproxy.tls.authority import Leaf

log = get_logger("claudeproxy.service")

Address = tuple[str, int]


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
        self._journal_tap: JournalTap | None = None
        self._pausing_tap: PausingTap | None = None
        self._calibrating: CalibratingTap | None = None
        self._pause = PauseFile(config.paths.pause_file)  # health's own: the tap's is the relay's
        self._retention = DailyRetention(RetentionSettings.of(config))
        self._eraser = JournalEraser(config.journal_path)
        self._proxy: ProxyServer | None = None

    async def run(self, *, task_status: trio.TaskStatus[ServiceAddresses] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, then drain. Started with the addresses once both ports accept connections.

        Raises ConfigError (a port is taken, a setting cannot be used), AuthorityError (the CA), StorageError (the
        database) and JournalError before it has started; afterwards only what the listener itself raises.
        """
        certificates = await trio.to_thread.run_sync(self._certificates)
        settings = proxy_settings(self.config)
        try:
            async with self._recording() as tap, trio.open_nursery() as nursery:
                self._proxy = ProxyServer(settings, certificates=certificates, tap=tap)
                proxy: Sequence[Address] = await nursery.start(
                    self._proxy.run, await _listen(self.config, self._listener)
                )
                if self._calibrating is not None:
                    nursery.start_soon(self._calibrating.run, self._proxy)
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

    def open_storage(self) -> CaptureStorage:
        """A new read-only connection to the captures. Raises StorageError."""
        return CaptureStorage(self.config.database_path, read_only=True)

    def erase_journals(self, cursors: Mapping[str, tuple[int, int]]) -> int:
        """Overwrite what journals still hold of exchanges that are recorded; how many bytes (`CaptureStorage.cursors`).

        Not thread-safe. Of this service and of others on the same home: nobody reads there any more.
        """
        return self._eraser.erase(cursors)

    def health(self) -> Mapping[str, object]:
        """What the parts say of themselves: plain values, for JSON. Never raises, waits for nothing."""
        tap, recorder, pause = self._journal_tap, self._recorder, self._pause.read()
        dropped = 0 if tap is None else tap.statistics().dropped + tap.statistics().lost
        return {
            "status": "degraded" if dropped or (recorder is not None and not recorder.healthy) else "ok",
            "version": claudeproxy.__version__,
            "enabled": self.config.enabled,
            "capture_enabled": self.config.capture_enabled,
            "secrets": self.config.secrets,
            "paused": None if pause is None else {"since": _iso(pause.since), "until": _iso(pause.until)},
            "not_captured_in_pauses": self._pausing_tap.passed if self._pausing_tap else 0,
            "proxy": asdict(self._proxy.statistics()) if self._proxy else None,
            "capture": asdict(tap.statistics()) if tap else None,
            "recorder": None
            if recorder is None
            else {**recorder.status, "restarts": recorder.restarts, "deaths": recorder.deaths},
            "retention": self._retention.statistics(),
        }

    def _certificates(self) -> CertificateCache:
        """The CA (made at the first start) and the cache over it; file work and key generation, so in a thread."""
        config = self.config
        config.paths.create()
        authority = CertificateAuthority.load_or_create_ca(
            config.ca_cert_path, config.ca_key_path, config.intercept_hosts
        )
        for host in config.intercept_hosts:
            if not authority.covers(host):
                raise ConfigError(
                    f"intercept_hosts names {host}, which the certificate authority does not cover: "
                    "run `claudeproxy ca rotate`, then trust the new one"
                )
        cache = CertificateCache(authority, upstream_ca=config.upstream_ca, on_issued=_log_issued)
        cache.get_client_config()  # a wrong upstream_ca is to be known now, not at the first request
        return cache

    @asynccontextmanager
    async def _recording(self) -> AsyncIterator[Tap]:
        """The tap to report to, with a recorder behind it until the last exchange is stored."""
        config = self.config
        if not (config.enabled and config.capture_enabled):
            yield NullTap()
            return
        # Opened once here: a database that cannot be used is to be said now, in one sentence, by this process.
        await trio.to_thread.run_sync(_prepare_database, config.database_path)
        secret = await trio.to_thread.run_sync(load_or_create_secret, config.secret_path)
        settings = recording_settings(config, self._fingerprints)
        # Made here in every mode but off: a file of rules that cannot be used is to be said now, not by the recorder.
        finder = await trio.to_thread.run_sync(relay_finder, config.secrets, settings.secret_rules, config.secret_path)
        host = RecorderProcess(settings) if self._recorder_kind == "process" else RecorderThread(settings)
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            try:
                writer = JournalWriter(config.journal_path, max_bytes=config.journal_max_bytes, wake=host.wake)
                try:
                    self._recorder = host
                    self._journal_tap = JournalTap(
                        writer,
                        policy=BodyPolicy(capture_other_bodies=config.capture_other_bodies),
                        key_hash=KeyHasher(secret),
                        max_body_bytes=config.max_body_bytes,
                        redact=finder,
                        on_drop=_log_drop,
                    )
                    told: Tap = self._journal_tap
                    if config.calibrate:
                        told = self._calibrating = CalibratingTap(told, allowed=lambda: self._pause.read() is None)
                    self._pausing_tap = PausingTap(told, PauseFile(config.paths.pause_file))
                    yield self._pausing_tap
                finally:
                    writer.close()
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
    CaptureStorage(path).close()


def _log_issued(leaf: Leaf) -> None:
    log.info("certificate issued", host=leaf.host, not_after=leaf.not_after.isoformat())


def _log_drop(correlation_id: str, reason: str) -> None:
    log.error("capture incomplete", correlation_id=correlation_id, reason=reason)
