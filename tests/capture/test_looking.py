from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.finder import Found, SecretFinder
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.looking import SecretLook
from claudeproxy.capture.recorder import Recorder
from claudeproxy.model import BodyKept, RecordedBody
from tests.capture.planted import ANTHROPIC
from tests.capture.support import Store, drain, make_tap, tell

if TYPE_CHECKING:
    from pathlib import Path


class Broken(SecretFinder):
    """A finder with a bug."""

    def scan(self, data: bytes) -> list[Found]:
        raise ZeroDivisionError


@pytest.mark.parametrize("redact", [True, False])
def test_a_bug_in_looking_costs_what_was_to_be_redacted_and_nothing_else(tmp_path: Path, redact: bool) -> None:
    tell(make_tap(tmp_path), request=[ANTHROPIC.encode()])
    store, finder = Store(), Broken(KNOWN, key=bytes(16))
    look = SecretLook(finder, redact=redact, max_decoded=1 << 20)
    drain(Recorder(tmp_path, store, load_cursors=lambda: store.cursors, secrets=look))
    (row,) = store.rows.values()
    assert row.unread["secrets"] == "ZeroDivisionError"
    assert row.request_body.kept is (BodyKept.POLICY if redact else BodyKept.WHOLE)
    assert (row.request_body.data is None) is redact
    assert row.secrets_in_journal is redact


@pytest.mark.parametrize("redact", [True, False])
def test_a_body_that_is_not_there_is_not_looked_for(redact: bool) -> None:
    look = SecretLook(SecretFinder(KNOWN, key=bytes(16)), redact=redact, max_decoded=1 << 20)
    body = RecordedBody(kept=BodyKept.POLICY, data=None, length=7)
    assert look.request(body, (), filtered=False).body is body
    assert look.response(body, (), filtered=False).body is body
    assert look.without(body).body is body


def test_a_websockets_message_is_masked_where_it_is_to_be() -> None:
    message = f"key {ANTHROPIC}".encode()
    finder = SecretFinder(KNOWN, key=bytes(16))
    masked = SecretLook(finder, redact=True, max_decoded=1).message(message)
    assert len(masked) == len(message)
    assert b"[REDACTED:anthropic-key:" in masked
    assert SecretLook(finder, redact=False, max_decoded=1).message(message) == message
