"""The recorder's look for secrets: reports what bodies hold, and masks what the relay could not.

Apart from `assemble`, which puts exchanges together, and from `finder`, which knows bytes only. With ``secrets:
report`` all searching is done here, and nothing is changed. With ``redact`` the relay has masked before the journal
what stands in one piece; here comes what a stream spells over several events, and what a journal holds that was
written before the setting was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claudeproxy.capture.bodies import codings_of, recode
from claudeproxy.capture.finder import mask
from claudeproxy.capture.streamed import find_spread
from claudeproxy.errors import ProtocolError
from claudeproxy.model import BodyKept, Direction, SecretFinding
from claudeproxy.sansio.encoding import decode_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from claudeproxy.capture.finder import SecretFinder
    from claudeproxy.capture.heads import Filtered
    from claudeproxy.model import RawHeaders, RecordedBody

MAX_FINDINGS = 1000
"""In one exchange; a body with more is a list of keys, and the first thousand say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A body as it is to be stored, what was found in it, and whether the journal still holds any of that."""

    body: RecordedBody
    findings: tuple[SecretFinding, ...] = ()
    in_journal: bool = False


class SecretLook:
    """Looks through bodies by the rules of `finder`. `redact`: what is found is masked, else only reported.

    :param max_decoded: what a body's content coding may expand to, in bytes.
    """

    def __init__(self, finder: SecretFinder, *, redact: bool, max_decoded: int) -> None:
        self._finder = finder
        self._redact = redact
        self._max_decoded = max_decoded

    def request(self, body: RecordedBody, headers: RawHeaders, *, filtered: bool) -> Looked:
        """A request's body, content coding taken off where that can be."""
        if body.data is None:
            return Looked(body=body)
        if self._redact and not filtered and body.encoding is None and codings_of(headers):
            return Looked(body=_withheld(body), in_journal=True)  # its coding could not be taken off
        return self._look(body, body.data, Direction.SENT, filtered=filtered)

    def response(self, body: RecordedBody, headers: RawHeaders, *, filtered: bool) -> Looked:
        """A response's body as received, or plain where it is `filtered`; comes back in the coding of its head."""
        if body.data is None:
            return Looked(body=body)
        coded = bool(codings_of(headers))
        plain = body.data
        if coded and not filtered:
            plain = decode_prefix(body.data, codings_of(headers), max_bytes=self._max_decoded)
            if not plain and self._redact:
                return Looked(body=_withheld(body), in_journal=True)
        looked = self._look(body, plain, Direction.RECEIVED, filtered=filtered)
        changed = filtered or looked.body is not body
        return replace(looked, body=recoded(looked.body, headers)) if coded and changed else looked

    def without(self, body: RecordedBody) -> Looked:
        """A body that must not be looked through, for doing so failed: what was to be redacted is not kept then."""
        return Looked(body=_withheld(body), in_journal=True) if self._redact and body.data else Looked(body=body)

    def message(self, data: bytes) -> bytes:
        """A WebSocket's message as it is to be stored. None is in a journal that was written with ``redact``."""
        masked = bytearray(data)
        for one in self._finder.scan(data) if self._redact else ():
            masked[one.start : one.start + one.length] = mask(data[one.start : one.start + one.length], one)
        return bytes(masked)

    def _look(self, body: RecordedBody, plain: bytes, direction: Direction, *, filtered: bool) -> Looked:
        found = [] if filtered else self._finder.scan(plain)
        spread = find_spread(plain, self._finder) if direction is Direction.RECEIVED else []
        findings = tuple(
            SecretFinding(
                direction=direction,
                rule=one.rule,
                hash=one.hash,
                start=one.start,
                length=one.length,
                redacted=self._redact,
            )
            for one in [*found, *(one.found for one in spread)]
        )
        if not self._redact or not findings:
            return Looked(body=body, findings=findings)
        masked = bytearray(plain)
        for one in found:
            masked[one.start : one.start + one.length] = mask(plain[one.start : one.start + one.length], one)
        for start, patch in (patch for one in spread for patch in one.patches):
            masked[start : start + len(patch)] = patch
        return Looked(body=replace(body, data=bytes(masked), sha256=None), findings=findings, in_journal=True)


def recoded(body: RecordedBody, headers: RawHeaders) -> RecordedBody:
    """A response's plain body in the coding that its head names; length only where that is none of ours."""
    if body.data is None:
        return body
    try:
        return replace(body, data=recode(body.data, headers), sha256=None)
    except ProtocolError:
        return _withheld(body)


def told_by_relay(filtered: Iterable[Filtered]) -> Sequence[SecretFinding]:
    """What the relay masked before the journal."""
    return [
        SecretFinding(direction=one.direction, rule=rule, hash=digest, start=start, length=length, redacted=True)
        for one in filtered
        for rule, digest, start, length in one.found
    ]


def _withheld(body: RecordedBody) -> RecordedBody:
    return replace(body, kept=BodyKept.POLICY, data=None, sha256=None)
