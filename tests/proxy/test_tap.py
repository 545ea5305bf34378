"""The guard round a tap: the first failure silences it, and nothing of what it was told reaches the log."""

from __future__ import annotations

import pytest
import structlog

from claudeproxy.model import Direction, EntryMode, ExchangeEnd, ExchangeStart, ResponseStart, State
from claudeproxy.proxy.tap import NullTap, SafeTap

START = ExchangeStart(
    correlation_id="c",
    entry_mode=EntryMode.REVERSE,
    method="POST",
    url="https://api.anthropic.com/v1/messages",
    upstream_url="https://api.anthropic.com/v1/messages",
    http_version="1.1",
    headers=(),
    body_length=0,
    request_initiated=1,
    monotonic=1,
)
HEAD = ResponseStart(status_code=200, reason="OK", http_version="1.1", headers=(), origin="upstream", monotonic=2)
END = ExchangeEnd(
    state=State.COMPLETE,
    error=None,
    error_kind=None,
    proxy_received=1,
    forwarded=1,
    response_received=2,
    delivered=3,
    request_head_us=0,
    request_body_us=0,
    response_head_us=0,
    connect_us=0,
)
METHODS = ["request_body", "informational", "response_start", "response_body", "websocket", "end"]


class FussyTap(NullTap):
    """Counts its calls and raises in one of them."""

    def __init__(self, fails_in: str) -> None:
        self.calls: list[str] = []
        for name in METHODS:
            setattr(self, name, self._method(name, fails_in))

    def _method(self, name: str, fails_in: str) -> object:
        def call(*args: object) -> None:
            self.calls.append(name)
            if name == fails_in:
                raise RuntimeError("body: secret")

        return call


@pytest.mark.parametrize("fails_in", METHODS)
def test_the_first_failure_is_logged_and_the_rest_is_not_told(fails_in: str) -> None:
    inner = FussyTap(fails_in)
    tap = SafeTap(inner)
    with structlog.testing.capture_logs() as logs:
        exchange = tap.exchange(START)
        exchange.request_body(b"x")
        exchange.informational(100, ())
        exchange.response_start(HEAD)
        exchange.response_body(b"x")
        exchange.websocket(Direction.SENT, b"x")
        exchange.end(END)
    assert inner.calls == METHODS[: METHODS.index(fails_in) + 1]
    assert tap.failures == 1
    assert logs == [{"event": "capture failed", "log_level": "error", "correlation_id": "c", "error": "RuntimeError"}]


def test_a_tap_that_works_is_told_everything() -> None:
    inner = FussyTap("")
    exchange = SafeTap(inner).exchange(START)
    exchange.request_body(b"x")
    exchange.informational(100, ())
    exchange.response_start(HEAD)
    exchange.response_body(b"x")
    exchange.websocket(Direction.SENT, b"x")
    exchange.end(END)
    assert inner.calls == METHODS
