"""The tap: what the relay calls while bytes pass. Copies them into the journal; cannot block and cannot raise.

Apart because this is the only code of ours that runs inside the path of a client's byte besides the relay. Secrets are
taken out here, before anything is written; bodies that must not be kept are only counted. Each call costs one append;
whatever goes wrong drops this exchange's record, is counted, and the client never notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture.heads import BodyEnd, Informational, closing, content_length, opening, response_head
from claudeproxy.capture.journal_format import RecordType
from claudeproxy.model import BodyKept

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.capture.heads import ResponseHead
    from claudeproxy.capture.journal_writer import JournalWriter, WriterStatistics
    from claudeproxy.capture.policy import BodyPolicy
    from claudeproxy.capture.redact import KeyHasher
    from claudeproxy.model import Buffer, ExchangeEnd, ExchangeStart, RawHeaders, ResponseStart

_json = msgspec.json.encode

MAX_BODY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TapStatistics:
    """Exchanges since the start: `dropped` ones lack bodies, `lost` ones lack everything. `errors` are bugs of ours."""

    exchanges: int
    open: int
    dropped: int
    lost: int
    errors: int
    journal: WriterStatistics


class JournalTap:
    """Implements `model.Tap` over a `JournalWriter`.

    Bodies over `max_body_bytes` are recorded by length and SHA-256. `on_drop(correlation_id, reason)` is called once
    for each exchange whose record is not whole, for the log; what it raises is swallowed.
    """

    def __init__(
        self,
        writer: JournalWriter,
        *,
        policy: BodyPolicy,
        key_hash: KeyHasher,
        max_body_bytes: int = MAX_BODY_BYTES,
        on_drop: Callable[[str, str], None] | None = None,
    ) -> None:
        self.writer = writer
        self.policy = policy
        self.key_hash = key_hash
        self.max_body_bytes = max_body_bytes
        self._on_drop = on_drop
        self._exchanges = self._ended = self._dropped = self._lost = self._errors = 0

    def exchange(self, start: ExchangeStart) -> _ExchangeTap:
        """Begin an exchange."""
        self._exchanges += 1
        exchange = _ExchangeTap(self)
        try:
            exchange.open(start)
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            exchange.fail(exc)
        return exchange

    def count_end(self) -> None:
        """An exchange is over (called by its tap)."""
        self._ended += 1

    def count_drop(self, correlation_id: str, reason: str, *, lost: bool) -> None:
        """An exchange's record will not be whole (called by its tap, once)."""
        self._dropped += not lost
        self._lost += lost
        if self._on_drop is not None:
            try:
                self._on_drop(correlation_id, reason)
            except Exception:  # noqa: BLE001 (a log that fails must not end a request)
                self._errors += 1

    def count_error(self) -> None:
        """Something here raised (called by an exchange's tap)."""
        self._errors += 1

    def statistics(self) -> TapStatistics:
        """Counts for health and doctor."""
        return TapStatistics(
            exchanges=self._exchanges,
            open=self._exchanges - self._ended,
            dropped=self._dropped,
            lost=self._lost,
            errors=self._errors,
            journal=self.writer.statistics(),
        )


class _Body:
    """One direction: how much came, and what becomes of it."""

    __slots__ = ("fate", "hash", "length", "limit")

    def __init__(self, fate: BodyKept, announced: int | None, limit: int) -> None:
        self.length = 0
        self.limit = limit
        too_large = fate is BodyKept.WHOLE and announced is not None and announced > limit
        self.fate = BodyKept.TOO_LARGE if too_large else fate
        # A length that was announced and fits leaves the hash to the recorder; else it must begin with the first byte.
        self.hash = sha256() if too_large or (fate is BodyKept.WHOLE and announced is None) else None

    def take(self, data: Buffer) -> bool:
        """Count a piece; whether it goes to the journal."""
        self.length += len(data)
        if self.hash is not None:
            self.hash.update(data)
        if self.fate is BodyKept.WHOLE and self.length > self.limit:
            self.fate = BodyKept.TOO_LARGE  # the recorder forgets the part that the journal has
        return self.fate is BodyKept.WHOLE

    def drop(self) -> None:
        """Keep nothing more of it but the count."""
        if self.fate is BodyKept.WHOLE:
            self.fate = BodyKept.DROPPED
            self.hash = None

    def told(self) -> BodyEnd:
        """For the END record."""
        digest = self.hash.hexdigest() if self.hash is not None and self.fate is BodyKept.TOO_LARGE else None
        return BodyEnd(length=self.length, fate=self.fate, sha256=digest)


class _ExchangeTap:
    """Implements `model.ExchangeTap` for one exchange. Every public method is a wall: nothing passes but its return."""

    __slots__ = ("_dropped", "_fate", "_id", "_late_head", "_number", "_request", "_response", "_state", "_tap")

    def __init__(self, tap: JournalTap) -> None:
        self._tap = tap
        self._id = ""
        self._number = 0
        self._dropped = False
        self._state = "new"  # new -> open or lost -> ended
        self._late_head: ResponseHead | None = None
        self._fate = BodyKept.POLICY
        self._request = self._response = _Body(BodyKept.POLICY, 0, 0)

    def open(self, start: ExchangeStart) -> None:
        tap, writer = self._tap, self._tap.writer
        self._id = start.correlation_id
        keep = tap.policy.keep(start.url)
        self._fate = BodyKept.WHOLE if keep else BodyKept.POLICY
        self._request = _Body(self._fate, start.body_length, tap.max_body_bytes)
        self._response = _Body(self._fate, None, tap.max_body_bytes)
        expected = start.body_length or 0 if self._request.fate is BodyKept.WHOLE else 0
        short = keep and not writer.has_room(expected)
        if short:
            self._request.drop()
        self._number = writer.new_exchange()
        told = opening(start, api_key_hash=tap.key_hash(start.headers), fate=self._request.fate)
        if not writer.append(RecordType.OPEN, self._number, _json(told)):
            self._lose("the journal could not be written")
            return
        self._state = "open"
        if short:
            self._drop("the journal or the disk is nearly full")

    def request_body(self, data: Buffer) -> None:
        try:
            self._take(RecordType.REQUEST_BODY, self._request, data)
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            self.fail(exc)

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        try:
            if self._state == "open":
                self._tap.writer.append(
                    RecordType.INFORMATIONAL, self._number, _json(Informational(status_code=status_code))
                )
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            self.fail(exc)

    def response_start(self, head: ResponseStart) -> None:
        try:
            if self._state == "open":
                self._start_response(head)
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            self.fail(exc)

    def response_body(self, data: Buffer) -> None:
        try:
            self._take(RecordType.RESPONSE_BODY, self._response, data)
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            self.fail(exc)

    def end(self, end: ExchangeEnd) -> None:
        try:
            if self._state != "ended":
                opened, self._state = self._state == "open", "ended"
                self._tap.count_end()
                if opened:
                    self._write_end(end)
        except Exception as exc:  # noqa: BLE001 (the client must not notice)
            self.fail(exc)

    def fail(self, exc: Exception) -> None:
        """Something of ours raised: give this exchange's bodies up and go on."""
        self._tap.count_error()
        if self._state == "new":
            self._lose(f"{type(exc).__name__} in the tap")
        elif self._state == "open":
            self._drop(f"{type(exc).__name__} in the tap")

    def _write_end(self, end: ExchangeEnd) -> None:
        told = closing(end, request=self._request.told(), response=self._response.told(), late_head=self._late_head)
        self._tap.writer.append_end(self._number, _json(told))

    def _start_response(self, head: ResponseStart) -> None:
        fate = BodyKept.DROPPED if self._dropped and self._fate is BodyKept.WHOLE else self._fate
        self._response = _Body(fate, content_length(head.headers), self._tap.max_body_bytes)
        told = response_head(head, fate=self._response.fate)
        if not self._tap.writer.append(RecordType.RESPONSE_START, self._number, _json(told)):
            self._late_head = told  # goes with the END record, which waits until it can be written
            self._drop("the journal could not be written")

    def _take(self, kind: RecordType, body: _Body, data: Buffer) -> None:
        if self._state != "open" or not len(data):
            return
        if body.take(data) and not self._tap.writer.append(kind, self._number, data):
            self._drop("the journal is full or could not be written")

    def _lose(self, reason: str) -> None:
        """Nothing of this exchange will be in the record."""
        self._state = "lost"
        self._tap.count_drop(self._id, reason, lost=True)

    def _drop(self, reason: str) -> None:
        """From here on no body byte of this exchange is kept: a body is in the record whole or by its length."""
        if not self._dropped:
            self._dropped = True
            self._tap.count_drop(self._id, reason, lost=False)
        self._request.drop()
        self._response.drop()
