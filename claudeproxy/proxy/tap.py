"""The taps of the relay itself: one that records nothing, and the guard round every other.

The protocols (`Tap`, `ExchangeTap`) are in `model`, because `capture` implements them and must not import `proxy`.
A tap promises not to raise; the guard is there because the client's bytes must not depend on that promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from claudeproxy.model import (
        Buffer,
        Direction,
        ExchangeEnd,
        ExchangeStart,
        ExchangeTap,
        RawHeaders,
        ResponseStart,
        Tap,
    )

log = get_logger("claudeproxy.proxy")


class NullTap:
    """Takes everything, keeps nothing; stands for both halves of the protocol."""

    def exchange(self, start: ExchangeStart) -> NullTap:
        """Begin an exchange."""
        return self

    def request_body(self, data: Buffer) -> None:
        """Take a piece of the request body."""

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        """Take a 1xx answer."""

    def response_start(self, head: ResponseStart) -> None:
        """Take the head of the final answer."""

    def response_body(self, data: Buffer) -> None:
        """Take a piece of the response body."""

    def websocket(self, direction: Direction, data: Buffer) -> None:
        """Take bytes that pass after a 101."""

    def end(self, end: ExchangeEnd) -> None:
        """Take how the exchange ended."""


class SafeTap:
    """A tap that cannot disturb the relay: the first failure in an exchange is logged, the rest of it is not told.

    `failures` counts the exchanges whose record was lost that way.
    """

    def __init__(self, inner: Tap) -> None:
        self._inner = inner
        self.failures = 0

    def exchange(self, start: ExchangeStart) -> ExchangeTap:
        """Begin an exchange, guarded."""
        try:
            inner = self._inner.exchange(start)
        except Exception as exc:  # noqa: BLE001
            self._failed(start.correlation_id, exc)
            return NullTap()
        return _SafeExchangeTap(inner, lambda exc: self._failed(start.correlation_id, exc))

    def _failed(self, correlation_id: str, exc: Exception) -> None:
        self.failures += 1
        # Only the kind of error: its text might quote what was to be recorded.
        log.error("capture failed", correlation_id=correlation_id, error=type(exc).__name__)


class _SafeExchangeTap:
    """Written out method by method: this runs for every streamed event."""

    __slots__ = ("_inner", "_on_failure")

    def __init__(self, inner: ExchangeTap, on_failure: Callable[[Exception], None]) -> None:
        self._inner = inner
        self._on_failure = on_failure

    def _give_up(self, exc: Exception) -> None:
        self._inner = NullTap()
        self._on_failure(exc)

    def request_body(self, data: Buffer) -> None:
        try:
            self._inner.request_body(data)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)

    def informational(self, status_code: int, headers: RawHeaders) -> None:
        try:
            self._inner.informational(status_code, headers)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)

    def response_start(self, head: ResponseStart) -> None:
        try:
            self._inner.response_start(head)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)

    def response_body(self, data: Buffer) -> None:
        try:
            self._inner.response_body(data)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)

    def websocket(self, direction: Direction, data: Buffer) -> None:
        try:
            self._inner.websocket(direction, data)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)

    def end(self, end: ExchangeEnd) -> None:
        try:
            self._inner.end(end)
        except Exception as exc:  # noqa: BLE001
            self._give_up(exc)
