"""Answers that tell of limits, for tests of their history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.model import Answer, Instants, Usage
from tests.store.exchanges import SECOND, START, exchange, response

if TYPE_CHECKING:
    from claudeproxy.model import RecordedExchange

RESET = START + 3 * 3600 * SECOND
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
SUBSCRIBED = ((b"anthropic-beta", b"oauth-2025-04-20"),)


def unified(
    used: str, *, reset: int = RESET, window: str = "5h", status: str = "allowed"
) -> tuple[tuple[bytes, bytes], ...]:
    name = f"anthropic-ratelimit-unified-{window}"
    return (
        (b"anthropic-ratelimit-unified-status", status.encode()),
        (f"{name}-utilization".encode(), used.encode()),
        (f"{name}-reset".encode(), b"%d" % (reset // SECOND)),
        (f"{name}-status".encode(), status.encode()),
    )


def bucket(remaining: int, limit: int = 1000) -> tuple[tuple[bytes, bytes], ...]:
    name = b"anthropic-ratelimit-input-tokens-"
    return ((name + b"limit", b"%d" % limit), (name + b"remaining", b"%d" % remaining))


def answered(
    number: int,
    said: tuple[tuple[bytes, bytes], ...],
    *,
    at: int,
    lasts: int = 10,
    tokens: int = 100,
    **changes: object,
) -> RecordedExchange:
    """An exchange that began at an instant; its answer's head came a second later, its end after `lasts` seconds."""
    usage = Usage(input_tokens=tokens)
    made = response(number=number, headers=said, answer=Answer(message_id=f"msg_{number}", usage=usage))
    instants = Instants(
        request_initiated=at,
        proxy_received=at,
        forwarded=at,
        response_received=at + SECOND,
        delivered=at + lasts * SECOND,
    )
    return exchange(number, BODY, **{"response": made, "instants": instants, **changes})
