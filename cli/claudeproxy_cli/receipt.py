"""What a run captured, in some lines; and when it captured nothing, why that probably is.

Pure but for reading the database. Which requests are a run's own: those that its proxy's process relayed since it
began. A proxy of its own serves nobody else; what others send through a shared one meanwhile is counted too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from claudeproxy_cli.environment import covers
from claudeproxy_cli.listing import SHORT_ID, is_explained
from claudeproxy_cli.money import UNKNOWN, with_payment
from claudeproxy_cli.options import home_flag, program
from claudeproxy_cli.pause import paused_note
from claudeproxy_cli.render import ESTIMATED, dollars, plain, price
from claudeproxy_cli.times import NANO, duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from claudeproxy.config import ClaudeProxyConfig
    from claudeproxy.config.home import Home
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest
    from claudeproxy_cli.client_settings import Shadow

TOP: Final = 3  # sources that are named
_ROOM: Final = 80 - len("  largest sources: ")

# How long the receipt waits for what was captured to be stored and explained. A recorder that is up needs some 50 ms.
SETTLE_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.05

_CLOUDS: Final = {
    "CLAUDE_CODE_USE_BEDROCK": "Amazon Bedrock",
    "CLAUDE_CODE_USE_VERTEX": "Google Vertex AI",
    "CLAUDE_CODE_USE_FOUNDRY": "Microsoft Foundry",
}


_MESSAGES: Final = "/v1/messages"  # in a path: messages, their counts and batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Sums over a run's requests; sources are (label, tokens), the largest first."""

    requests: int
    failed: int  # no whole answer, or one that is an error
    sent: int
    received: int
    sources: tuple[tuple[str, int], ...]
    estimated: bool = False  # some of `sent` is no bill's
    cost: int | None = None  # pico-dollars; None: nothing was billed, or nothing of it has a price
    unpriced: int = 0  # billed requests whose price is unknown
    subscription: bool = False  # paid by one: the cost is what the API would have charged
    largest: str | None  # id of the request with the largest context
    settled: bool = True  # all of it is explained

    def lines(self, *, home: Home, since: int, seconds: float) -> list[str]:
        """The lines, each within 80 columns where names and numbers are ordinary; one of costs where any are known."""
        flag = home_flag(home)
        whole = sum(tokens for _, tokens in self.sources) or 1
        largest = [f"{tokens / whole:.0%} {plain(label)}" for label, tokens in self.sources[:TOP] if tokens]
        while len(largest) > 1 and len(", ".join(largest)) > _ROOM:
            largest.pop()
        top = ", ".join(largest)
        count = f"{self.requests:,} request{'s' if self.requests != 1 else ''}"
        if self.failed:
            count += f" ({self.failed:,} failed)"
        tokens = f"{'~' if self.estimated else ''}{self.sent:,} tokens sent, {self.received:,} received"
        look = f"query{flag} --since {datetime.fromtimestamp(since // NANO, UTC):%Y-%m-%dT%H:%M:%SZ}"
        if self.largest:
            look = f"show{flag} {self.largest[:SHORT_ID]}, {look}"
        return [
            f"claudeproxy: {count}, {tokens}, in {duration(seconds)}",
            *([f"  cost: {cost}"] if (cost := self._cost()) else []),
            f"  largest sources: {top or ('none (no prompt was sent)' if self.settled else 'not attributed yet')}",
            f"  look closer: {program()} {look}",
        ]

    def _cost(self) -> str:
        """``$0.0284 (API equivalent)``; what has no price is said and not left out."""
        if self.cost is None:
            return UNKNOWN if self.unpriced else ""
        cost = with_payment(price(dollars(self.cost)), subscription=self.subscription)
        requests = f"{self.unpriced:,} request{'s' if self.unpriced != 1 else ''}"
        return f"{cost}, and {requests} whose price is unknown" if self.unpriced else cost


def relayed_by(owner: str, pids: Sequence[int]) -> bool:
    """Whether a capture's owner (``TIME-PID-RANDOM``, the name of a relay's journal) is one of these processes; an
    owner of another form is not told apart."""
    parts = owner.rsplit("-", 2)
    return len(parts) != 3 or parts[1] in map(str, pids)


def wait_until_recorded(journal: Path, pids: Sequence[int], *, seconds: float = SETTLE_SECONDS) -> None:
    """Wait until nothing of a proxy that has ended is left in the journal, or the time is up.

    Its own recorder leaves nothing; but when several proxies share a home, one of their recorders works for all.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(p.is_dir() and relayed_by(p.name, pids) for p in journal.glob("*-*-*")):
        time.sleep(_LOOK_SECONDS)


def wait_until_settled(
    storage: CaptureStorage, since: int, pids: Sequence[int], *, seconds: float = SETTLE_SECONDS
) -> None:
    """Wait until what began since then has ended and is explained, or the time is up. For a server that goes on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        requests = _requests(storage, since, pids)
        if requests and all(r.state != "in_flight" and is_explained(r) for r in requests):
            return
        time.sleep(_LOOK_SECONDS)


def read_receipt(storage: CaptureStorage, since: int, pids: Sequence[int]) -> Receipt:
    """What the proxy, in these processes one after another, captured since then."""
    requests = _requests(storage, since, pids)
    sources: dict[str, int] = {}
    for request in requests:
        for total in storage.sources(request.id):
            sources[total.source.label] = sources.get(total.source.label, 0) + total.token_count
    largest = max(requests, key=lambda r: r.total_tokens or 0, default=None)
    return Receipt(
        requests=len(requests),
        failed=sum(map(_failed, requests)),
        sent=sum(r.total_tokens or 0 for r in requests),
        received=sum(r.response_tokens or 0 for r in requests),
        sources=tuple(sorted(sources.items(), key=lambda item: -item[1])),
        estimated=any(r.total_tokens and r.accuracy == ESTIMATED for r in requests),
        cost=sum(costs) if (costs := [r.cost for r in requests if r.cost is not None]) else None,
        unpriced=sum(r.cost is None and (r.cost_note or "").startswith(UNKNOWN) for r in requests),
        subscription=any(r.subscription and r.cost is not None for r in requests),
        largest=None if largest is None else largest.id,
        settled=all(map(is_explained, requests)),
    )


def _failed(request: CapturedRequest) -> bool:
    """A 404 beside the messages is an answer: clients ask for settings that most accounts do not have."""
    if request.status_code == HTTPStatus.NOT_FOUND and _MESSAGES not in urlsplit(request.url).path:
        return request.state != "complete"
    return request.state != "complete" or (request.status_code or 0) >= HTTPStatus.BAD_REQUEST


def _requests(storage: CaptureStorage, since: int, pids: Sequence[int]) -> Sequence[CapturedRequest]:
    from claudeproxy.store.values import RequestFilters
    from claudeproxy_cli.query import read

    return [r for r in read(storage, RequestFilters(since=since), 100_000)[0] if relayed_by(r.owner, pids)]


def nothing_captured(
    config: ClaudeProxyConfig, environment: Mapping[str, str], shadows: Sequence[Shadow], *, reverse: bool
) -> list[str]:
    """Three lines for a run without a request: that it was so, the likely cause, what to do."""
    cause, remedy = likely_cause(config, environment, shadows, reverse=reverse)
    return ["claudeproxy: nothing was captured", f"  likely cause: {plain(cause)}", f"  remedy: {plain(remedy)}"]


def likely_cause(
    config: ClaudeProxyConfig, environment: Mapping[str, str], shadows: Sequence[Shadow], *, reverse: bool
) -> tuple[str, str]:
    """Why nothing came by, the surest cause first, and its remedy. `environment`: the child's."""
    if not (config.enabled and config.capture_enabled):
        key = "enabled" if not config.enabled else "capture_enabled"
        return f"{key} is false ({config.origin(key)})", f"set {key}: true"
    if (paused := paused_note(config.paths)) is not None:
        return "capture is paused", paused.partition("; ")[2]
    effective = {**environment, **{shadow.name: shadow.value for shadow in shadows}}
    for shadow in shadows:
        if shadow.name not in _CLOUDS and not _harmless(shadow):
            return str(shadow), "take it out of the file, or set it there to what `claudeproxy serve` prints"
    for name, cloud in _CLOUDS.items():
        if effective.get(name, "").lower() in {"1", "true"}:
            return f"{name} sends the client to {cloud}", f"unset {name}: only Anthropic's own API is captured"
    base = effective.get("ANTHROPIC_BASE_URL")
    if base and not reverse:
        host = (urlsplit(base).hostname or base).lower()
        if not any(covers(name, host) for name in config.intercept_hosts):
            return f"ANTHROPIC_BASE_URL points at {host}, which is not intercepted", f"use `{program()} run --reverse`"
    if not reverse:
        return (
            "the command sent nothing to the API, or ignores proxies",
            f"try `{program()} run --reverse`: it sets ANTHROPIC_BASE_URL",
        )
    return (
        "the command sent nothing to the API, or ignores ANTHROPIC_BASE_URL",
        f"try without --reverse; `{program()} doctor` checks the proxy itself",
    )


def _harmless(shadow: Shadow) -> bool:
    """Whether what a settings file sets cannot lead the client past us (more trust, another store of CAs)."""
    return shadow.name in {"SSL_CERT_FILE", "CLAUDE_CODE_CERT_STORE", "HTTP_PROXY", "http_proxy"}
