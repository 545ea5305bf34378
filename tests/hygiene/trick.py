"""What a row of the corpus is."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

WAYS = ("reverse", "connect", "connect+tls", "absolute")
FRAMING_WAYS = ("reverse", "connect+tls", "absolute")
"""Without the plain tunnel, which differs from the one with TLS in whom a request is for and in nothing else."""


class Verdict(StrEnum):
    """What becomes of a request."""

    REFUSED = "refused"  # an answer of ours, closed; the upstream hears nothing of it
    BROKEN = "broken off"  # its head was good and its body is not: the upstream never gets a whole request
    PASSED = "passed on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The verdict on a request, and what the upstream must have received.

    `status` is that of our answer when it is not passed on. `bodies`: one for each request that arrives, in order.
    `has` and `lacks` are fields of the first one, as lines (`name: value`, lower-case name) and names.
    """

    verdict: Verdict
    status: int = 200
    framing: str = "none"
    bodies: tuple[bytes, ...] = (b"",)
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        if self.verdict is Verdict.REFUSED:
            return f"refused, {self.status}"
        if self.verdict is Verdict.BROKEN:
            return f"broken off, {self.status}"
        parts = ["passed on" if len(self.bodies) == 1 else f"passed on as {len(self.bodies)} requests"]
        if self.lacks:
            parts.append("without " + ", ".join(f"`{name.decode()}`" for name in self.lacks))
        if self.has:
            parts.append("with " + ", ".join(f"`{line.decode('latin-1')}`" for line in self.has))
        return ", ".join(parts)


def refused(status: int = 400) -> Outcome:
    """Refused with this status."""
    return Outcome(verdict=Verdict.REFUSED, status=status)


def broken(status: int = 400) -> Outcome:
    """Broken off in its body."""
    return Outcome(verdict=Verdict.BROKEN, status=status)


def passed(
    *bodies: bytes, framing: str = "none", has: tuple[bytes, ...] = (), lacks: tuple[bytes, ...] = ()
) -> Outcome:
    """Passed on, as one request without a body when none is given."""
    return Outcome(verdict=Verdict.PASSED, framing=framing, bodies=bodies or (b"",), has=has, lacks=lacks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """Bytes that a client sends.

    `@TARGET@` and `@HOST@` stand for what the way into the proxy asks for, `@NAME@` for the Host without its port,
    `@SCHEME@` and `@ORIGIN@` for where the API is. `elsewhere` is the outcome where a way in differs from the others.
    """

    name: str
    sent: bytes
    outcome: Outcome
    why: str
    elsewhere: dict[str, Outcome] = field(default_factory=dict)
    ways: tuple[str, ...] = FRAMING_WAYS


class Reply(StrEnum):
    """What becomes of an answer."""

    REFUSED = "502"  # an answer of ours in its place
    CUT = "cut off"  # its head was good and its body is not: the client sees that it is not whole
    PASSED = "passed on"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTrick:
    """Bytes that an upstream sends for a request of `method`; `later` ones follow when the client has its answer.

    `body` is what the client gets, `reused` whether the upstream's connection carries another request afterwards.
    """

    name: str
    answer: bytes
    reply: Reply
    why: str
    method: str = "GET"
    later: bytes = b""
    body: bytes = b""
    reused: bool = False
    closes: bool = False  # the upstream closes behind it
    has: tuple[bytes, ...] = ()
    lacks: tuple[bytes, ...] = ()

    def __str__(self) -> str:
        if self.reply is not Reply.PASSED:
            return "refused, 502" if self.reply is Reply.REFUSED else "cut off"
        parts = ["passed on"]
        if self.lacks:
            parts.append("without " + ", ".join(f"`{name.decode()}`" for name in self.lacks))
        return ", ".join([*parts, "connection kept" if self.reused else "connection closed"])
