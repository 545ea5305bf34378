"""What happens behind the journal: store first, then explain. Runs in a process of its own, or in a thread.

`Recording` wires the recorder (journal in, exchanges out) to the storage, and the storage to the attribution engine.
Under ``claudeproxy serve`` it is the main loop of a child process, ``python -m claudeproxy.recording``, because a
thread that computes beside the event loop delays every streamed event by tens of milliseconds (measured: the 99th
percentile of 50 paced streams goes from 2 ms to between 37 and 238 ms). A program that embeds `ClaudeProxy` may run
it in a thread.

It never writes to the journal and never talks to a client: whatever goes wrong here delays a record, nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy import __version__
from claudeproxy.accounting.asked import AskedPrices
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.alerting import CostAlerts
from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.capture.deathwatch import STORING, Deathwatch
from claudeproxy.capture.messages import MessageBounds
from claudeproxy.capture.quarantine import Quarantine
from claudeproxy.capture.recorder import Recorder
from claudeproxy.capture.wake import input_ended
from claudeproxy.errors import ClaudeProxyError, StorageError
from claudeproxy.evidence.fingerprints import load_fingerprints
from claudeproxy.evidence.transcripts import Transcripts
from claudeproxy.excluding import Exclusions
from claudeproxy.explaining import Explainer
from claudeproxy.finishing import Finisher
from claudeproxy.following import FollowUp
from claudeproxy.logs import configure_logging, get_logger
from claudeproxy.memory import forget_loaded, return_large_blocks, spare_rich
from claudeproxy.model import State
from claudeproxy.placing import SecretWork, secret_look
from claudeproxy.recordingsettings import RecordingSettings
from claudeproxy.ruleset import usable_rules
from claudeproxy.store.steps import Steps
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.telling import RecordingLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.model import RecordedExchange

log = get_logger("claudeproxy.recording")

# Requests explained between two looks at the journal when there is a backlog (a new rule version, a crash in between).
BACKLOG_BATCH = 8

# nice: what somebody waits for goes first where both want one processor. An event beside 100 streams took 0.67
# instead of 0.99 ms so, 2.9 instead of 3.4 with TLS; 10, with SCHED_BATCH, gave nothing more.
_AFTER_THE_RELAY = 5

IDLE_SECONDS = 0.25  # of explaining between two looks at a journal in which there was nothing
REST_SECONDS = 5.0  # without an exchange, until free pages are given back to the disk
GIVING_SECONDS = 0.05  # of that between two looks at the journal
RETRY_SECONDS = 60.0  # until a database is tried again that could not be written
CATCH_UP_SECONDS = 5.0  # at the end; what is left then is explained at the next start


class Recording:
    """Journal to database to attribution, one step at a time. One instance a database; not thread-safe.

    Raises StorageError from the constructor; afterwards failures are logged, counted and tried again.
    """

    def __init__(self, settings: RecordingSettings, *, prices: PriceBook | None = None) -> None:
        self.storage = CaptureStorage(Path(settings.database))
        self.explainer = make_explainer(self.storage, settings, prices)
        self._told = RecordingLog()
        self._log_stored = self._told.stored
        self._watch = Deathwatch(Path(settings.journal))
        self._quarantine = Quarantine(Path(settings.quarantine), __version__) if settings.quarantine else None
        self.recorder = Recorder(
            Path(settings.journal),
            self._store,
            load_cursors=self.storage.cursors,
            max_decoded=settings.max_decoded_bytes,
            bounds=MessageBounds(
                messages=settings.max_websocket_messages,
                message_bytes=settings.max_message_bytes,
                decoded=settings.max_decoded_bytes,
            ),
            on_error=self._told.failed,
            on_set_aside=self._told.set_aside,
            watch=self._watch,
            secrets=secret_look(
                settings.secrets,
                settings.secret_rules,
                settings.secret_path,
                max_decoded=settings.max_decoded_bytes,
            ),
            quarantine=self._quarantine,
            on_removed=self.storage.forget_cursor,
        )
        self._secrets = SecretWork(self.storage, Path(settings.journal))
        self._finisher = Finisher(self.storage, self.explainer, watch=self._watch, told=self._told)
        self._exclusions: Exclusions | None = None
        if settings.exclude_projects:
            paths = Path(settings.excluded_sessions), Path(settings.journal)
            self._exclusions = Exclusions(settings.exclude_projects, *paths)
        self.alerts = CostAlerts(self.storage, settings.alert_session_cost)
        self._follow_up = FollowUp(self.storage, self.explainer, self._finisher, self.alerts.watch)
        self.stored = 0
        self.excluded = 0
        self._backlog, self._blocked_until = True, 0.0
        self._stored_at: float | None = time.monotonic()  # None: what came since has been tidied up after

    def status(self) -> Mapping[str, object]:
        """Plain values for `health`."""
        return {
            "stored": self.stored,
            "excluded": self.excluded,
            "attributed": self.explainer.attributed,
            "attribution_errors": self.explainer.errors,
            "unfinished": self._finisher.count,
            "quarantined": self._quarantine.statistics().exchanges if self._quarantine else 0,
            "secrets": self._secrets.found,
            "cost_alerts": list(self.alerts.latest),
            **asdict(self.recorder.statistics()),
        }

    def close(self) -> None:
        """Close the database."""
        self.storage.close()

    def idle(self) -> bool:
        """Explain a few captures that have no attribution by these rules; False when there is none left."""
        if self.recorder.statistics().standby:
            return False  # all this is the work of the one that records
        self._finisher.begin()
        follow_up, indexer = self._follow_up, self._follow_up.indexer
        if self._exclusions is not None:
            if self._exclusions.found and follow_up.waits():  # the session of what is not explained is not known
                follow_up.catch_up(IDLE_SECONDS, everything=True)
                return True
            self._exclusions.tidy(self.storage)
        if follow_up.due():
            follow_up.catch_up(IDLE_SECONDS)
            return True
        if self.explainer.blocked or indexer.blocked:
            self.explainer.blocked = indexer.blocked = False
            self._backlog, self._blocked_until = True, time.monotonic() + RETRY_SECONDS
        if self.explainer.outdated or follow_up.missed:
            self.explainer.outdated = follow_up.missed = False
            self._backlog = True
        if time.monotonic() < self._blocked_until:
            return False
        if self._backlog:
            batch = self.explainer.waiting(BACKLOG_BATCH)
            for request_id in batch:
                if not self.explainer.blocked:
                    with self._finisher.at(request_id):
                        self.explainer.explain_stored(request_id)
            self._backlog = bool(batch)
        if self._backlog or indexer.catch_up() or self._finisher.catch_up() or self._secrets.catch_up():
            return True
        return self._rest()

    def hurry(self) -> None:
        """From now on only store: the process is to end, and what is stored can be explained by the next one."""
        self._follow_up.hurry()

    def catch_up(self, seconds: float) -> None:
        """Explain what was stored in a hurry, in order, until `seconds` have passed."""
        until = time.monotonic() + seconds
        self._follow_up.catch_up(seconds, everything=True)
        while time.monotonic() < until and self._secrets.catch_up():
            pass

    def _rest(self) -> bool:
        """Shrink the file by what the search index left free as it grew, once nothing has come for a while.

        A little at a time: what comes is to be recorded at once. Tells whether there is more to give back.
        """
        if self._stored_at is None or time.monotonic() < self._stored_at + REST_SECONDS:
            return False
        with suppress(StorageError):  # a reader that holds on to the log, a full disk: another time
            if not Steps(self.storage, pause=lambda _: None).give_back(GIVING_SECONDS):
                return True
        self._stored_at = None
        return False

    def _store(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
        """The recorder's sink. What this raises makes the recorder try the same batch again."""
        self._finisher.begin()
        came = _ended(exchanges)
        try:
            if self._exclusions is not None:
                exchanges = self._exclusions.kept(exchanges)
            ids = self.storage.record(
                exchanges, cursors, before=lambda one: self._watch.at(STORING, one.correlation_id)
            )
        finally:
            self._watch.rest()
        self._told.works()
        self._stored_at = time.monotonic()
        self.stored += (stored := _ended(exchanges))
        self.excluded += came - stored
        self._secrets.stored(exchanges)
        stored_now = list(zip(ids, exchanges, strict=True))
        for tell in (self._log_stored, self._finisher.note_unread):
            for request_id, exchange in stored_now:
                try:
                    tell(request_id, exchange)
                except Exception as error:
                    self._backlog = True
                    log.exception("capture stored, not followed up", request_id=request_id, error=str(error))
        self._follow_up.follow(stored_now)


def make_explainer(storage: CaptureStorage, settings: RecordingSettings, prices: PriceBook | None = None) -> Explainer:
    """Return what explains captures of this storage by the rules, transcripts and prices of these settings."""
    more = {version: frozenset(paragraphs) for version, paragraphs in settings.fingerprints.items()}
    rules = usable_rules(settings.rules_files, optional=settings.rules_file)
    engine = AttributionEngine(rules=rules, fingerprints={**load_fingerprints(), **more})
    transcripts = Transcripts(Path(settings.transcripts)) if settings.transcripts else None
    return Explainer(storage, engine, transcripts=transcripts, prices=prices or PriceBook(settings.prices))


def _ended(exchanges: Sequence[RecordedExchange]) -> int:
    return sum(exchange.state is not State.IN_FLIGHT for exchange in exchanges)


def run_recording(
    settings: RecordingSettings,
    wake_fd: int | None,
    stop: Callable[[], bool],
    report: Callable[[Mapping[str, object]], None],
    prices: PriceBook | None = None,
) -> None:
    """Record until `stop()` or the end of `wake_fd`, then what the journal still holds. `report` gets each new status.

    Raises StorageError when the database cannot be opened.
    """
    recording = Recording(settings, prices=prices)
    last: Mapping[str, object] = {}

    def stopping() -> bool:
        nonlocal last
        status = recording.status()
        if status != last:
            last = status
            report(status)
        return stop()

    try:
        recording.recorder.run(stopping, wake_fd=wake_fd, idle=recording.idle, ending=recording.hurry)
        recording.catch_up(CATCH_UP_SECONDS)
        report(recording.status())
    finally:
        recording.recorder.close()
        recording.close()


def main(argument: str) -> int:
    """The recorder's process: settings as its argument, wake-ups and the end on standard input, status on output."""
    settings = RecordingSettings.from_json(argument)
    configure_logging(settings.log_format, settings.log_level)
    # Ctrl-C and `kill` reach the whole group; when to end is said by the relay, after its last connection.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.umask(0o077)
    if hasattr(os, "nice"):
        os.nice(_AFTER_THE_RELAY)
    return_large_blocks()
    forget_loaded()
    ended = input_ended() if sys.platform == "win32" else lambda: False

    def report(status: Mapping[str, object]) -> None:
        try:
            sys.stdout.write(json.dumps(status) + "\n")
            sys.stdout.flush()
        except OSError:  # the relay is gone; what it left is recorded all the same
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    try:
        run_recording(settings, 0, ended, report, PriceBook(settings.prices, lists=AskedPrices()))
    except ClaudeProxyError as error:
        log.error("recorder cannot work", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    spare_rich()
    sys.exit(main(sys.argv[1]))
