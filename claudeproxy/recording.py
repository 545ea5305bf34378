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
from collections import OrderedDict
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from claudeproxy.accounting.tokens import TokenCounter
from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.capture.recorder import Recorder
from claudeproxy.errors import ClaudeProxyError
from claudeproxy.evidence.fingerprints import load_fingerprints
from claudeproxy.logs import configure_logging, get_logger
from claudeproxy.model import BodyKept, State
from claudeproxy.store.storage import CaptureStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from claudeproxy.model import RawHeaders, RecordedExchange

log = get_logger("claudeproxy.recording")

# Sizes of texts already counted: a turn sends its whole history again. 40 bytes an entry, so some 5 MB at the most.
MAX_COUNTED_TEXTS = 65_536

# Requests explained between two looks at the journal when there is a backlog (a new rule version, a crash in between).
BACKLOG_BATCH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettings:
    """What the recorder needs to know. Holds no secret: it is the child process's argument, which others can list."""

    database: str
    journal: str
    log_format: str = "auto"
    log_level: str = "info"

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RecordingSettings:
        """What `to_json` wrote. Raises ValueError, TypeError."""
        return cls(**json.loads(text))


class CachedCounts:
    """Token counts by text, remembered by hash, least recently used forgotten first."""

    def __init__(self, count_many: Callable[[Sequence[str]], list[int]], *, size: int = MAX_COUNTED_TEXTS) -> None:
        self._count_many = count_many
        self._size = size
        self._known: OrderedDict[bytes, int] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, in order; only texts not seen lately are tokenized."""
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        if missing:
            self._known.update(zip(missing, self._count_many(list(missing.values())), strict=True))
        counts = [self._known[key] for key in keys]
        for key in keys:
            self._known.move_to_end(key)
        while len(self._known) > self._size:
            self._known.popitem(last=False)
        return counts


class Recording:
    """Journal to database to attribution, one step at a time. One instance a database; not thread-safe.

    Raises StorageError from the constructor; afterwards failures are logged, counted and tried again.
    """

    def __init__(self, settings: RecordingSettings) -> None:
        self.storage = CaptureStorage(Path(settings.database))
        self.engine = AttributionEngine(fingerprints=load_fingerprints())
        self._count = CachedCounts(TokenCounter().count_many)
        self.recorder = Recorder(
            Path(settings.journal), self._store, load_cursors=self.storage.cursors, on_error=self._log_failure
        )
        self.stored = 0
        self.attributed = 0
        self.attribution_errors = 0
        self._failure: str | None = None  # what was logged last: the same is tried and fails again and again
        self._unexplained: set[str] = set()  # failed once: not tried again by this process
        self._backlog = True

    def status(self) -> Mapping[str, object]:
        """Plain values for `health`."""
        return {
            "stored": self.stored,
            "attributed": self.attributed,
            "attribution_errors": self.attribution_errors,
            **asdict(self.recorder.statistics()),
        }

    def close(self) -> None:
        """Close the database."""
        self.storage.close()

    def idle(self) -> bool:
        """Explain a few captures that have no attribution by these rules; False when there is none left."""
        if self._backlog:
            waiting = self.storage.underived(self.engine.version, BACKLOG_BATCH + len(self._unexplained))
            batch = [waits for waits in waiting if waits not in self._unexplained][:BACKLOG_BATCH]
            for request_id in batch:
                request = self.storage.get_request(request_id)
                headers = tuple((n.encode("latin-1"), v.encode("latin-1")) for n, v in request.headers)
                self._explain(request_id, request.body, headers)
            self._backlog = bool(batch)
        return self._backlog

    def _store(self, exchanges: Sequence[RecordedExchange], cursors: Mapping[str, tuple[int, int]]) -> None:
        """The recorder's sink. What this raises makes the recorder try the same batch again."""
        ids = self.storage.record(exchanges, cursors)
        self._failure = None
        self.stored += sum(exchange.state is not State.IN_FLIGHT for exchange in exchanges)
        for request_id, exchange in zip(ids, exchanges, strict=True):
            self._log_stored(request_id, exchange)
        for request_id, exchange in zip(ids, exchanges, strict=True):
            body = exchange.request_body
            if body.kept is BodyKept.WHOLE and body.data and not self.storage.is_attributed(request_id):
                self._explain(request_id, body.data, exchange.headers)

    def _explain(self, request_id: str, body: bytes, headers: RawHeaders) -> None:
        """Attribute and count one request. Whatever goes wrong leaves the capture as it is."""
        try:
            result = self.engine.analyze_request(body, headers=headers)
            segments = result.segments()
            counts = self._count([segment.text for segment in segments])
            self.storage.save_attribution(request_id, result, counts, rules_version=self.engine.version)
        except Exception as error:
            # A rule's bug or a hostile body: the record is safe and can be explained by a later version.
            self.attribution_errors += 1
            self._unexplained.add(request_id)
            log.exception("attribution failed", request_id=request_id, error=str(error))
            return
        self.attributed += 1
        per_source: dict[str, int] = {}
        for segment, count in zip(segments, counts, strict=True):
            per_source[segment.source.label] = per_source.get(segment.source.label, 0) + count
        log.info("attributed", request_id=request_id, segments=len(segments), sources=per_source)

    def _log_failure(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason != self._failure:
            self._failure = reason
            log.error("capture failed; it is kept in the journal and tried again", error=reason)

    def _log_stored(self, request_id: str, exchange: RecordedExchange) -> None:
        facts: dict[str, object] = {
            "request_id": request_id,
            "correlation_id": exchange.correlation_id,
            "state": str(exchange.state),
            "method": exchange.method,
            "status": exchange.response.status_code if exchange.response else None,
        }
        if exchange.error:
            log.warning("capture stored", **facts, error=exchange.error, error_kind=exchange.error_kind)
        elif exchange.state is State.IN_FLIGHT:
            log.debug("capture begun", **facts)
        else:
            log.info("capture stored", **facts)


def run_recording(
    settings: RecordingSettings,
    wake_fd: int | None,
    stop: Callable[[], bool],
    report: Callable[[Mapping[str, object]], None],
) -> None:
    """Record until `stop()` or the end of `wake_fd`, then what the journal still holds. `report` gets each new status.

    Raises StorageError when the database cannot be opened.
    """
    recording = Recording(settings)
    last: Mapping[str, object] = {}

    def stopping() -> bool:
        nonlocal last
        status = recording.status()
        if status != last:
            last = status
            report(status)
        return stop()

    try:
        recording.recorder.run(stopping, wake_fd=wake_fd, idle=recording.idle)
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
    ended = _input_ended() if sys.platform == "win32" else lambda: False

    def report(status: Mapping[str, object]) -> None:
        try:
            sys.stdout.write(json.dumps(status) + "\n")
            sys.stdout.flush()
        except OSError:  # the relay is gone; what it left is recorded all the same
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    try:
        run_recording(settings, 0, ended, report)
    except ClaudeProxyError as error:
        log.error("recorder cannot work", error=str(error))
        return 1
    return 0


def _input_ended() -> Callable[[], bool]:
    """Whether standard input has ended, on Windows: select() cannot tell there, so a thread waits for it."""
    import threading  # noqa: TID251 - see above

    ended = threading.Event()

    def drain() -> None:
        while os.read(0, 4096):
            pass
        ended.set()

    threading.Thread(target=drain, daemon=True).start()
    return ended.is_set


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
