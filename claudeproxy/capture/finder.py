"""Finds secrets in a body, whole or while it streams, and masks them without changing its length.

Apart from `patterns` (what a rule is) and from the tap (what becomes of the bytes). The result does not depend on how
a body is cut into pieces: what may still become a secret is held back, a few bytes as a rule, and behind a marker as
many as its rule may reach. What goes out is as long as what came in, so offsets stay true, and a mask is ASCII without
a quote or a backslash, so JSON stays JSON; line breaks inside a secret, escaped or not, stay where they are.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.capture.patterns import SecretRule

_LOOK_BEHIND = 8  # bytes that decide whether a marker begins a word: the longest escape is six
_BREAKS = re.compile(rb"[\r\n]|\\{1,8}[nrt/]|\\{1,8}u[0-9a-fA-F]{4}")
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_ESCAPED = frozenset(b"nrtbf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A secret in a body: which rule, the keyed hash of what it is, and its bytes' place."""

    rule: str
    hash: str
    start: int
    length: int


class SecretFinder:
    """The rules in force, ready to search. `key` (16 to 64 bytes) makes the hashes this installation's own."""

    def __init__(self, rules: Sequence[SecretRule], *, key: bytes) -> None:
        self.rules = tuple(rules)
        self._key = key
        by_marker: dict[bytes, list[int]] = {}
        for number, rule in enumerate(self.rules):
            for marker in rule.markers:
                by_marker.setdefault(marker, []).append(number)
        self.markers = tuple((marker, tuple(numbers)) for marker, numbers in by_marker.items())
        self.beginnings = frozenset(marker[:length] for marker in by_marker for length in range(1, len(marker)))
        self.longest = max(map(len, by_marker), default=1)
        self.reach = max((rule.most for rule in self.rules), default=0)

    def stream(self) -> SecretStream:
        """Begin a body."""
        return SecretStream(self)

    def scan(self, data: bytes) -> list[Found]:
        """What is in a whole body, in order."""
        stream = self.stream()
        stream.feed(data)
        stream.finish()
        return stream.found

    def masked(self, data: bytes) -> bytes:
        """A short text, such as a header's value, with what is found in it masked."""
        stream = self.stream()
        return stream.feed(data) + stream.finish()

    def digest(self) -> hmac.HMAC:
        """A keyed SHA-256 to feed, for what is not kept: a plain one would tell whether a guess was right."""
        return hmac.new(self._key, digestmod="sha256")

    def fingerprint(self, secret: bytes) -> str:
        """Keyed hash of a secret, 32 hex digits: the same for the same key however its lines are broken."""
        plain = _BREAKS.sub(b"", secret)
        return blake2b(plain, key=self._key, digest_size=16, person=b"claudeproxy-body").hexdigest()


class SecretStream:
    """One body, searched as it comes. `found` grows; offsets are those of the body."""

    __slots__ = ("_base", "_buffer", "_finder", "_free", "_out", "_waiting", "found")

    def __init__(self, finder: SecretFinder) -> None:
        self.found: list[Found] = []
        self._finder = finder
        self._buffer = b""  # some bytes that went out already, then what is held back
        self._base = 0  # where in the body the buffer begins
        self._out = 0  # up to where the body went out
        self._free = 0  # where the last secret ended: another begins there at the earliest
        self._waiting: list[tuple[int, int, bytes]] = []  # markers: where, the rule's number, which

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return self._base + len(self._buffer) - self._out

    def feed(self, data: bytes) -> bytes:
        """Take a piece; what of the body is decided by now, secrets masked."""
        known = len(self._buffer)
        self._buffer += data
        self._note(known)
        return self._emit(final=False)

    def finish(self) -> bytes:
        """The rest, when the body is over."""
        return self._emit(final=True)

    def _note(self, known: int) -> None:
        """Note the markers that end beyond the first `known` bytes of the buffer."""
        buffer, base, before = self._buffer, self._base, len(self._waiting)
        for marker, numbers in self._finder.markers:
            at = buffer.find(marker, max(0, known - len(marker) + 1))
            while at >= 0:
                if _begins_word(buffer, at):
                    self._waiting += [(base + at, number, marker) for number in numbers]
                at = buffer.find(marker, at + 1)
        if len(self._waiting) > before:
            self._waiting.sort()

    def _emit(self, *, final: bool) -> bytes:
        end = self._base + len(self._buffer)
        masks = self._decide(end, final=final)
        if final:
            limit = end
        else:
            limit = max(self._free, end - self._unsure())
            if self._waiting:
                limit = min(limit, self._waiting[0][0])
        out = self._buffer[self._out - self._base : limit - self._base]
        for start, replacement in masks:
            at = start - self._out
            out = out[:at] + replacement + out[at + len(replacement) :]
        self._out = limit
        keep = max(self._base, limit - _LOOK_BEHIND)
        self._buffer, self._base = self._buffer[keep - self._base :], keep
        return out

    def _decide(self, end: int, *, final: bool) -> list[tuple[int, bytes]]:
        """Settle the markers in order, as far as enough has come; return where to put which mask."""
        masks = []
        settled = 0
        for start, number, marker in self._waiting:
            rule = self._finder.rules[number]
            if start >= self._free:
                if not final and end - start < rule.most:
                    break
                span = rule.find(self._buffer, start - self._base, marker)
                if span is not None:
                    secret = self._buffer[slice(*span)]
                    self._free = self._base + span[1]
                    found = Found(
                        rule=rule.id,
                        hash=self._finder.fingerprint(secret),
                        start=self._base + span[0],
                        length=len(secret),
                    )
                    self.found.append(found)
                    masks.append((found.start, mask(secret, found)))
            settled += 1
        del self._waiting[:settled]
        return masks

    def _unsure(self) -> int:
        """How many bytes at the end may be the beginning of a marker."""
        tail = self._buffer[-(self._finder.longest - 1) :] if self._finder.longest > 1 else b""
        for start in range(len(tail)):
            if tail[start:] in self._finder.beginnings:
                return len(tail) - start
        return 0


def mask(secret: bytes, found: Found) -> bytes:
    """What stands in the record in a secret's place: as long, and telling equal ones from others by their hash."""
    length = len(secret)
    labels = (f"[REDACTED:{found.rule}:{found.hash[:8]}", f"[REDACTED:{found.rule}", "[REDACTED")
    label = next((one for one in labels if len(one) < length), "").encode()
    plain = label.ljust(length - 1, b"*") + b"]" if label else b"*" * length
    masked = bytearray(plain)
    for line_break in _BREAKS.finditer(secret):
        masked[line_break.start() : line_break.end()] = line_break[0]
    return bytes(masked)


def check(rules: Iterable[SecretRule]) -> dict[str, str]:
    """What is wrong with rules, by id: an example in which nothing is found, a counter-example in which something is,
    an id that two of them have. Empty when all is well."""
    wrong: dict[str, str] = {}
    seen: set[str] = set()
    for rule in rules:
        alone = SecretFinder([rule], key=bytes(16))
        if rule.id in seen:
            wrong[rule.id] = "another rule has this id: choose another"
        elif not alone.scan(rule.example.encode("utf-8", "replace")):
            wrong[rule.id] = "nothing is found in the example: mend one of the two"
        elif alone.scan(rule.counter_example.encode("utf-8", "replace")):
            wrong[rule.id] = "a secret is found in the counter-example: make `matches` narrower"
        seen.add(rule.id)
    return wrong


def _begins_word(data: bytes, at: int) -> bool:
    """Whether a marker at `at` begins something: no letter or digit goes before it, but for that of an escape."""
    if at == 0 or data[at] not in _WORD or data[at - 1] not in _WORD:
        return True
    if at >= 2 and data[at - 2] == 0x5C and data[at - 1] in _ESCAPED:
        return True
    return at >= 6 and data[at - 6 : at - 4] == b"\\u"
