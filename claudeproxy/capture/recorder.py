"""From the journals of all relays to the store, each exchange exactly once, whoever dies in between.

Apart from everything in the path of a client: it runs in a process or a thread of its own and may lag, fail and be
restarted. The order that makes it safe: the sink stores exchanges and cursors in one transaction; only then segments
before the cursor are deleted. A cursor is the lowest start among an owner's open exchanges, so what is read again
after a restart is at most what was open, and the same `correlation_id` is the same row.

A stream that is open for long pins the segments since its start: the journal then grows, up to the writer's
`max_bytes`, until it ends. Memory does not: of open exchanges only the places of their bytes are held. It knows no
database and makes no threads.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from claudeproxy.capture import wake
from claudeproxy.capture.assemble import Assembler
from claudeproxy.capture.batch import BATCH_EXCHANGES, Batch, RecorderStatistics
from claudeproxy.capture.collecting import Collector
from claudeproxy.capture.deathwatch import STORING, Deathwatch
from claudeproxy.capture.delivery import Delivery
from claudeproxy.capture.journal_format import RECORDER_LOCK_NAME
from claudeproxy.capture.locks import FileLock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from claudeproxy.capture.delivery import Sink
    from claudeproxy.capture.looking import SecretLook
    from claudeproxy.capture.messages import MessageBounds
    from claudeproxy.capture.quarantine import Place, Quarantine

MAX_DECODED_BYTES = 128 << 20

# After a sink error: doubled from the poll interval up to this many seconds.
MAX_BACKOFF = 5.0


class Recorder:
    """Hands exchanges to ``sink(exchanges, cursors)``; not thread-safe.

    `cursors` names, for every owner there is, the segment and offset from which reading would go on;
    `load_cursors()` gives back what the sink stored last, and is called once, before the first batch. What either
    raises is counted and tried again; an exchange that is to blame itself goes to the `quarantine`, and one that killed
    the recorder too often (`watch`) is handed on `raw`. `on_error(exception)` is for the log, and
    ``on_set_aside(correlation_id, kept)``; ``on_removed(owner)`` says that a journal is gone for good.
    """

    def __init__(
        self,
        root: Path,
        sink: Sink,
        *,
        load_cursors: Callable[[], Mapping[str, tuple[int, int]]],
        max_decoded: int = MAX_DECODED_BYTES,
        bounds: MessageBounds | None = None,
        on_error: Callable[[Exception], None] | None = None,
        on_set_aside: Callable[[str, bool], object] = lambda _id, _kept: None,
        on_removed: Callable[[str], object] = lambda _: None,
        watch: Deathwatch | None = None,
        quarantine: Quarantine | None = None,
        secrets: SecretLook | None = None,
    ) -> None:
        self._root = root
        self._delivery = Delivery(sink, self._set_aside)
        self._on_set_aside = on_set_aside
        self._on_removed = on_removed
        self._watch = watch or Deathwatch(root)
        self._quarantine = quarantine
        self._load_cursors = load_cursors
        self._on_error = on_error
        self._assembler = Assembler(max_decoded=max_decoded, bounds=bounds, secrets=secrets)
        self._lock = FileLock(root / RECORDER_LOCK_NAME)
        self._journals: Collector | None = None  # once we have the lock
        self._pending: Batch | None = None
        self._standby = False
        self._recorded = self._announced = self._batches = self._failures = self._sink_failures = 0
        self._last_error: str | None = None
        self._set_aside_count = self._discarded = 0

    def step(self) -> int:
        """Hand on what is there, one batch at most; how many exchanges that were. 0 when idle or when it failed."""
        try:
            if not self._ready():
                return 0
            assert self._journals is not None
            batch = self._pending or self._journals.collect()
            self._pending = batch
            if batch.exchanges or self._journals.cursors_matter(batch):
                self._delivery.hand(batch)
                self._batches += 1
                self._announced += batch.announced
                self._recorded += batch.taken - batch.announced
                self._journals.commit(batch)
        except Exception as exc:  # noqa: BLE001 (whatever the store raises: keep the batch, try again)
            self._failed(exc)
            return 0
        self._pending = None
        self._failures = 0
        self._journals.clean(batch)
        return batch.taken

    def run(
        self,
        stop: Callable[[], bool],
        *,
        wake_fd: int | None = None,
        idle: Callable[[], bool] = lambda: False,
        ending: Callable[[], object] = lambda: None,
        linger: float = 0.03,
        poll: float = 0.25,
    ) -> None:
        """Step until `stop()` or the end of `wake_fd`, then until nothing is left; a process's or thread's main loop.

        Waits at most `poll` seconds at a time, less when `wake_fd` (a WakePipe's read end) has a byte; then `linger`
        seconds, so that what ends together is stored together. `stop` is asked after every wait. `idle` is called when
        there was nothing to hand on; while it returns True, for more to do, nothing is waited for. `ending` is called
        once, before what is left is handed on.
        """
        with suppress(EOFError):
            while not stop():
                handed = self.step()
                if self._failures:
                    self._back_off(stop, poll, wake_fd)
                elif not handed and idle():
                    wake.wait(wake_fd, 0)
                elif handed < BATCH_EXCHANGES and wake.wait(wake_fd, poll):
                    time.sleep(linger)
        ending()
        while self.step():
            pass

    def close(self) -> None:
        """Let another recorder take over."""
        if self._journals is not None:
            self._journals.close()
        if self._lock.held:
            self._watch.close()
        self._lock.release()

    def statistics(self) -> RecorderStatistics:
        """Counts for health and doctor."""
        return RecorderStatistics(
            standby=self._standby,
            owners=0 if self._journals is None else self._journals.owners,
            open_exchanges=0 if self._journals is None else self._journals.open_exchanges,
            recorded=self._recorded,
            announced=self._announced,
            batches=self._batches,
            failures=self._failures,
            sink_failures=self._sink_failures,
            last_error=self._last_error,
            damaged_records=0 if self._journals is None else self._journals.damaged,
            undecodable_bodies=self._assembler.undecodable,
            set_aside=self._set_aside_count,
            discarded=self._discarded,
        )

    def _ready(self) -> bool:
        if not self._lock.held and not (self._root.is_dir() and self._lock.acquire()):
            self._standby = self._root.is_dir()
            return False
        self._standby = False
        if self._journals is None:
            stored = self._load_cursors()
            self._watch.begin()
            if self._quarantine is not None:
                self._quarantine.give_back(self._root)
            self._journals = Collector(
                self._root,
                self._assembler,
                stored,
                self._watch,
                note=self._note,
                set_aside=self._set_aside,
                removed=self._removed,
            )
        return True

    def _failed(self, exc: Exception) -> None:
        self._failures += 1
        self._sink_failures += 1
        self._note(exc)

    def _note(self, exc: Exception) -> None:
        self._last_error = f"{type(exc).__name__}: {exc}"
        if self._on_error is not None:
            with suppress(Exception):  # a log that fails must not lose a batch
                self._on_error(exc)

    def _back_off(self, stop: Callable[[], bool], poll: float, wake_fd: int | None) -> None:
        """Wait longer after each failure. Raises EOFError at the end of `wake_fd`: nobody is left to wait for."""
        until = time.monotonic() + min(MAX_BACKOFF, poll * 2 ** min(self._failures - 1, 10))
        while not stop() and (left := until - time.monotonic()) > 0:
            if wake.wait(wake_fd, min(poll, left)):  # to be woken is no reason to try again sooner
                time.sleep(min(poll, max(0.0, until - time.monotonic())))

    def _removed(self, owner: str) -> None:
        with suppress(Exception):  # a row that nobody needs stays: nothing to stop for
            self._on_removed(owner)

    def _set_aside(self, place: Place, error: Exception) -> None:
        """Keep what cannot be recorded where it is in nobody's way."""
        kept = self._quarantine is not None and self._quarantine.take(place)
        self._set_aside_count += kept
        self._discarded += not kept
        self._watch.acquit(STORING, place.key)
        self._note(error)
        with suppress(Exception):  # as for `on_error`
            self._on_set_aside(place.key, kept)
