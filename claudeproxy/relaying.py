"""What one process relays: the proxy, its certificates, and the tap that tells the journal.

Apart from `service`, which puts a recorder and an API beside it, because with `workers` there are several of these,
each in a process of its own, and one of everything else. It stores nothing, explains nothing and knows no database.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

import trio

from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.pause import PauseFile, PausingTap
from claudeproxy.capture.policy import BodyPolicy
from claudeproxy.capture.redact import KeyHasher
from claudeproxy.capture.secret import load_or_create_secret
from claudeproxy.capture.tap import JournalTap
from claudeproxy.detecting import relay_finder
from claudeproxy.errors import ConfigError
from claudeproxy.logs import get_logger
from claudeproxy.proxy.calibration import CalibratingTap
from claudeproxy.proxy.server import ProxyServer
from claudeproxy.proxy.tap import NullTap
from claudeproxy.tls.authority import CertificateAuthority
from claudeproxy.tls.cache import CertificateCache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.capture.finder import SecretFinder
    from claudeproxy.model import Tap
    from claudeproxy.proxy.accepting import SharedListener
    from claudeproxy.relaysettings import RelaySettings
    from claudeproxy.tls.authority import Leaf

log = get_logger("claudeproxy.service")

Address = tuple[str, int]


class Waker(Protocol):
    """Whoever reads the journal, as a relay knows it."""

    @property
    def wake_fd(self) -> int | None:
        """The writing end of its pipe, for processes that inherit it; None when it wants to hear no more."""
        ...

    def wake(self) -> None:
        """Tell it that an exchange ended: never blocks, never raises."""
        ...


class Relay:
    """The proxy of one process. `prepare`, then `run`.

    :param on_load: is told how many connections there are whenever that changes.
    """

    def __init__(self, settings: RelaySettings, *, on_load: Callable[[int], None] = lambda _: None) -> None:
        self._settings = settings
        self._on_load = on_load
        self._certificates: CertificateCache | None = None
        self._key = b""
        self._finder: SecretFinder | None = None
        self._server: ProxyServer | None = None
        self._journal_tap: JournalTap | None = None
        self._pausing_tap: PausingTap | None = None
        self._calibrating: CalibratingTap | None = None

    async def prepare(self) -> None:
        """Make what the home lacks (CA, secret) and read the rest; in a thread, for it is file work and key generation.

        Raises ConfigError, AuthorityError, JournalError.
        """
        await trio.to_thread.run_sync(self._prepare)

    def _prepare(self) -> None:
        settings = self._settings
        self._certificates = _certificates(settings)
        if settings.capture:
            self._key = load_or_create_secret(settings.secret)
            # In every mode but off: a file of rules that cannot be used is to be said now, not by the recorder.
            self._finder = relay_finder(settings.secrets, settings.secret_rules, settings.secret)

    async def run(
        self,
        listeners: Sequence[trio.SocketListener | SharedListener],
        recorder: Waker | None,
        *,
        task_status: trio.TaskStatus[Sequence[Address]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Relay what comes until cancelled, then drain; started with the bound addresses.

        `recorder` reads the journal: None where nothing is captured. Raises JournalError, and what a listener raises.
        """
        settings, writer = self._settings, None
        try:
            if recorder is not None:
                writer = JournalWriter(settings.journal, max_bytes=settings.journal_max_bytes, wake=recorder.wake)
            self._server = ProxyServer(
                settings.proxy, certificates=self._certificates, tap=self._tap(writer), on_load=self._on_load
            )
            async with trio.open_nursery() as nursery:
                bound: Sequence[Address] = await nursery.start(self._server.run, listeners)
                if self._calibrating is not None:
                    nursery.start_soon(self._calibrating.run, self._server)
                task_status.started(bound)
        finally:
            if writer is not None:
                writer.close()
            for listener in listeners:
                listener.socket.close()

    @property
    def healthy(self) -> bool:
        """Whether everything that passed was written to the journal."""
        tap = None if self._journal_tap is None else self._journal_tap.statistics()
        return tap is None or not (tap.dropped or tap.lost)

    def statistics(self) -> Mapping[str, object]:
        """Plain values, for `health`."""
        tap = self._journal_tap
        return {
            "proxy": asdict(self._server.statistics()) if self._server else None,
            "capture": asdict(tap.statistics()) if tap else None,
            "not_captured_in_pauses": self._pausing_tap.passed if self._pausing_tap else 0,
        }

    def _tap(self, writer: JournalWriter | None) -> Tap:
        if writer is None:
            return NullTap()
        settings = self._settings
        pause = PauseFile(settings.pause_file)
        self._journal_tap = JournalTap(
            writer,
            policy=BodyPolicy(capture_other_bodies=settings.capture_other_bodies),
            key_hash=KeyHasher(self._key),
            max_body_bytes=settings.max_body_bytes,
            redact=self._finder,
            on_drop=_log_drop,
        )
        told: Tap = self._journal_tap
        if settings.calibrate:
            told = self._calibrating = CalibratingTap(told, allowed=lambda: pause.read() is None)
        self._pausing_tap = PausingTap(told, pause)
        return self._pausing_tap


def _certificates(settings: RelaySettings) -> CertificateCache:
    """The CA (made at the first start) and the cache over it."""
    authority = CertificateAuthority.load_or_create_ca(settings.ca_cert, settings.ca_key, settings.intercept_hosts)
    for host in settings.intercept_hosts:
        if not authority.covers(host):
            raise ConfigError(
                f"intercept_hosts names {host}, which the certificate authority does not cover: "
                "run `claudeproxy ca rotate`, then trust the new one"
            )
    cache = CertificateCache(authority, upstream_ca=settings.upstream_ca, on_issued=_log_issued)
    cache.get_client_config()  # a wrong upstream_ca is to be known now, not at the first request
    return cache


def _log_issued(leaf: Leaf) -> None:
    log.info("certificate issued", host=leaf.host, not_after=leaf.not_after.isoformat())


def _log_drop(correlation_id: str, reason: str) -> None:
    log.error("capture incomplete", correlation_id=correlation_id, reason=reason)
