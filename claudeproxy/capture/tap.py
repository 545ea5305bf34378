"""The tap: what the relay calls while bytes pass. Copies them into the journal; cannot block and cannot raise.

Apart because this is the only code of ours that runs inside the path of a client's byte besides the relay. Secrets are
taken out here, before anything is written; bodies that must not be kept are only counted. Each call costs one append;
whatever goes wrong drops this exchange's record, is counted, and the client never notices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from claudeproxy.capture.bodies import TappedBody
from claudeproxy.capture.heads import Filtered, Informational, closing, content_length, opening, response_head
from claudeproxy.capture.journal_format import RecordType
from claudeproxy.capture.upgraded import Upgrade
from claudeproxy.errors import ProtocolError
from claudeproxy.model import BodyKept, Direction

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.capture.bodies import BodyFilter
    from claudeproxy.capture.finder import SecretFinder
    from claudeproxy.capture.heads import ResponseHead
    from claudeproxy.capture.journal_writer import JournalWriter, WriterStatistics
    from claudeproxy.capture.policy import BodyPolicy
    from claudeproxy.capture.redact import KeyHasher
    from claudeproxy.model import Buffer, ExchangeEnd, ExchangeStart, RawHeaders, ResponseStart

_json = msgspec.json.encode
_FULL = "the journal is full or could not be written"

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
    for each exchange whose record is not whole, for the log; what it raises is swallowed. With `redact` secrets are
    masked in what goes to the journal, and the hash of what does not is keyed: a plain one would confirm a guess.
    """

    def __init__(
        self,
        writer: JournalWriter,
        *,
        policy: BodyPolicy,
        key_hash: KeyHasher,
        max_body_bytes: int = MAX_BODY_BYTES,
        redact: SecretFinder | None = None,
        on_drop: Callable[[str, str], None] | None = None,
    ) -> None:
        self.writer = writer
        self.redact = redact
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


class _ExchangeTap:
    """Implements `model.ExchangeTap` for one exchange. Every public method is a wall: nothing passes but its return."""

    __slots__ = (
        *("_dropped", "_fate", "_id", "_late_head", "_number", "_opening"),
        *("_request", "_response", "_state", "_tap", "_upgrade"),
    )

    def __init__(self, tap: JournalTap) -> None:
        self._tap = tap
        self._id = ""
        self._number = 0
        self._dropped = False
        self._state = "new"  # new -> open or lost -> ended
        self._late_head: ResponseHead | None = None
        self._fate = BodyKept.POLICY
        self._request = self._response = TappedBody(BodyKept.POLICY, 0, 0)
        self._upgrade: Upgrade | None = None
        self._opening = b""

    def open(self, start: ExchangeStart) -> None:
        tap, writer = self._tap, self._tap.writer
        self._id = start.correlation_id
        keep = tap.policy.keep(start.url)
        self._fate = BodyKept.WHOLE if keep else BodyKept.POLICY
        limit = tap.max_body_bytes
        self._request = TappedBody(self._fate, start.body_length, limit, redact=tap.redact, headers=start.headers)
        self._response = TappedBody(self._fate, None, limit)
        expected = start.body_length or 0 if self._request.fate is BodyKept.WHOLE else 0
        short = keep and not writer.has_room(expected)
        if short:
            self._request.drop()
        self._number = writer.new_exchange()
        filtered = self._request.filter is not None
        key, fate = tap.key_hash(start.headers), self._request.fate
        told = opening(start, api_key_hash=key, fate=fate, filtered=filtered, finder=tap.redact)
        self._opening = _json(told)
        if not writer.append(RecordType.OPEN, self._number, self._opening):
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

    def websocket(self, direction: Direction, data: Buffer) -> None:
        try:
            if self._state == "open" and self._upgrade is not None and not self._upgrade.take(direction, data):
                self._drop(_FULL)
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
        self._finish(Direction.SENT, self._request)
        self._finish(Direction.RECEIVED, self._response)
        told = closing(
            end,
            request=self._request.told(),
            response=self._response.told(),
            late_head=self._late_head,
            upgrade=None if self._upgrade is None else self._upgrade.told(),
            finder=self._tap.redact,
        )
        if self._upgrade is not None:
            self._upgrade.end(_json(told))
        elif not self._tap.writer.append_end(self._number, _json(told)):
            self._lose("the journal was deleted")

    def _start_response(self, head: ResponseStart) -> None:
        fate = BodyKept.DROPPED if self._dropped and self._fate is BodyKept.WHOLE else self._fate
        length, limit = content_length(head.headers), self._tap.max_body_bytes
        self._response = TappedBody(fate, length, limit, redact=self._tap.redact, headers=head.headers)
        filtered = self._response.filter is not None
        told = response_head(head, fate=self._response.fate, filtered=filtered, finder=self._tap.redact)
        writer, number = self._tap.writer, self._number
        if head.status_code == 101:
            # Masked and compressed as it is, it cannot be searched here: where secrets are taken out it is not kept.
            fate = fate if self._tap.redact is None else BodyKept.POLICY
            self._upgrade = Upgrade(writer, number, opening=self._opening, fate=fate, limit=limit)
            writer, number = self._upgrade.writer, self._upgrade.number
        if not writer.append(RecordType.RESPONSE_START, number, _json(told)):
            self._late_head = told  # goes with the END record, which waits until it can be written
            self._drop("the journal could not be written")

    def _take(self, kind: RecordType, body: TappedBody, data: Buffer) -> None:
        if self._state != "open" or not len(data):
            return
        if not body.take(data):
            return
        if body.filter is not None:
            self._filter(kind, body, body.filter, data)
        elif not self._tap.writer.append(kind, self._number, data):
            self._drop(_FULL)

    def _filter(self, kind: RecordType, body: TappedBody, through: BodyFilter, data: Buffer) -> None:
        direction = Direction.SENT if kind is RecordType.REQUEST_BODY else Direction.RECEIVED
        try:
            passed = through.feed(data)
        except ProtocolError:
            body.refuse()
            return
        self._write_filtered(direction, body, passed, done=False)
        if body.length == body.announced:
            self._finish(direction, body)

    def _finish(self, direction: Direction, body: TappedBody) -> None:
        """Give the journal what was held back: no more of this body will come."""
        if body.filter is not None and body.fate is BodyKept.WHOLE and not body.finished:
            body.finished = True
            self._write_filtered(direction, body, body.filter.finish(), done=body.length == body.announced)

    def _write_filtered(self, direction: Direction, body: TappedBody, data: bytes, *, done: bool) -> None:
        assert body.filter is not None
        kind = RecordType.REQUEST_BODY if direction is Direction.SENT else RecordType.RESPONSE_BODY
        written = not data or self._tap.writer.append(kind, self._number, data)
        found = [(one.rule, one.hash, one.start, one.length) for one in body.filter.news()]
        if written and (found or done):
            told = Filtered(direction=direction, found=found, done=done)
            written = self._tap.writer.append(RecordType.FILTERED, self._number, _json(told))
        if not written:
            self._drop(_FULL)

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
        if self._upgrade is not None:
            self._upgrade.drop()
