"""Bodies on their way to the journal while secrets are redacted: told to a tap, read from files and by a recorder."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from typing import TYPE_CHECKING

import brotli
import pytest
import zstandard

from claudeproxy.capture.bodies import MAX_PLAIN_BYTES
from claudeproxy.capture.finder import SecretFinder
from claudeproxy.capture.known import KNOWN
from claudeproxy.capture.looking import SecretLook
from claudeproxy.capture.recorder import Recorder
from claudeproxy.model import BodyKept, Direction, State
from claudeproxy.sansio.encoding import decode
from tests.capture.planted import ANTHROPIC, GITHUB, PEM
from tests.capture.support import Store, drain, end, make_tap, start, tell
from tests.capture.test_streamed import stream, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.capture.tap import JournalTap
    from claudeproxy.model import RawHeaders, RecordedBody, RecordedExchange

FINDER = SecretFinder(KNOWN, key=b"k" * 16)
BODY = json.dumps({"messages": [{"role": "user", "content": f"use {ANTHROPIC}\nor\n{PEM}"}]}).encode()
ANSWER = json.dumps({"type": "message", "content": [{"type": "text", "text": f"no, use {GITHUB}"}]}).encode()
SSE: RawHeaders = ((b"Content-Type", b"text/event-stream"),)
CODERS = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def redacting(root: Path, **more: object) -> JournalTap:
    tap = make_tap(root, **more)  # type: ignore[arg-type]
    tap.redact = FINDER
    return tap


def recorded(root: Path, *, redact: bool = True) -> list[RecordedExchange]:
    store = Store()
    look = SecretLook(FINDER, redact=redact, max_decoded=1 << 20)
    drain(Recorder(root, store, load_cursors=lambda: store.cursors, secrets=look))
    return list(store.rows.values())


def on_disk(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*.journal"))


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 3, 17, 10_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_secrets_never_reach_the_journal_however_a_body_is_cut(tmp_path: Path, size: int, chunked: bool) -> None:
    tap = redacting(tmp_path)
    tell(tap, request=pieces(BODY, size), answer=pieces(ANSWER, size), chunked=chunked)
    disk = on_disk(tmp_path)
    assert b"dummyPlanted" not in disk
    (row,) = recorded(tmp_path)
    assert row.response is not None
    for body, sent in ((row.request_body, BODY), (row.response.body, ANSWER)):
        assert body.kept is BodyKept.WHOLE
        assert body.data is not None
        assert (len(body.data), body.length) == (len(sent), len(sent))
        assert json.loads(body.data)
        assert b"[REDACTED:" in body.data
    assert [(one.direction, one.rule, one.redacted) for one in row.secrets] == [
        (Direction.SENT, "anthropic-key", True),
        (Direction.SENT, "private-key", True),
        (Direction.RECEIVED, "github-token", True),
    ]
    first = row.secrets[0]
    assert BODY[first.start : first.start + first.length] == ANTHROPIC.encode()
    assert first.hash == FINDER.fingerprint(ANTHROPIC.encode())
    assert not row.secrets_in_journal


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("size", [5, 10_000])
def test_coded_bodies_are_opened_masked_and_coded_again(tmp_path: Path, coding: str, size: int) -> None:
    """The head still names the coding: what is stored of an answer is in it, what is stored of a request is plain."""
    headers = ((b"Content-Encoding", coding.encode()),)
    sent, answered = CODERS[coding](BODY), CODERS[coding](ANSWER)
    tell(
        redacting(tmp_path),
        request=pieces(sent, size),
        answer=pieces(answered, size),
        request_headers=headers,
        response_headers=headers,
    )
    assert b"dummyPlanted" not in on_disk(tmp_path)
    (row,) = recorded(tmp_path)
    assert row.response is not None
    request, answer = row.request_body, row.response.body
    assert (request.kept, answer.kept) == (BodyKept.WHOLE, BodyKept.WHOLE)
    assert (request.encoding, request.length, answer.length) == (coding, len(sent), len(answered))
    assert request.data is not None
    assert answer.data is not None
    plain = decode(answer.data, coding, max_bytes=1 << 20)
    assert (len(request.data), len(plain)) == (len(BODY), len(ANSWER))
    assert b"dummyPlanted" not in request.data + plain
    assert row.response.answer.message is not None
    # A plain hash of what is masked would confirm a guess.
    assert request.sha256 is None
    assert answer.sha256 is None


def body_of(row: RecordedExchange) -> RecordedBody:
    return row.request_body


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("compress", b"x"),
        ("gzip", b"no gzip at all"),
        ("gzip", gzip.compress(BODY)[:-8] + bytes(8)),
        ("br", b"\xff"),
    ],
)
def test_a_body_that_cannot_be_searched_is_not_kept(tmp_path: Path, coding: str, data: bytes) -> None:
    tell(redacting(tmp_path), request=[data], request_headers=((b"Content-Encoding", coding.encode()),))
    (row,) = recorded(tmp_path)
    assert (body_of(row).kept, body_of(row).data, body_of(row).length) == (BodyKept.POLICY, None, len(data))


def test_a_body_that_expands_beyond_reason_is_not_kept(tmp_path: Path) -> None:
    bomb = gzip.compress(bytes(MAX_PLAIN_BYTES + 1))
    tell(redacting(tmp_path), request=[bomb], request_headers=((b"Content-Encoding", b"gzip"),))
    (row,) = recorded(tmp_path)
    assert (body_of(row).kept, body_of(row).length) == (BodyKept.POLICY, len(bomb))


def test_the_hash_of_what_is_too_large_to_keep_is_keyed(tmp_path: Path) -> None:
    tell(redacting(tmp_path, max_body_bytes=100), request=[BODY])
    (row,) = recorded(tmp_path)
    assert (body_of(row).kept, body_of(row).data) == (BodyKept.TOO_LARGE, None)
    digest = FINDER.digest()
    digest.update(BODY)
    assert body_of(row).sha256 == digest.digest()
    assert body_of(row).sha256 != hashlib.sha256(BODY).digest()


def test_a_request_whose_answer_is_awaited_is_told_whole(tmp_path: Path) -> None:
    """What was held back goes out with the last byte that was announced, not with the end of the exchange."""
    tap = redacting(tmp_path)
    exchange = tap.exchange(start(body_length=len(BODY)))
    exchange.request_body(BODY)
    (row,) = recorded(tmp_path)
    assert (row.state, body_of(row).kept) == (State.IN_FLIGHT, BodyKept.WHOLE)
    assert body_of(row).data is not None
    assert len(body_of(row).data or b"") == len(BODY)
    exchange.end(end(State.UPSTREAM_ERROR))


def test_a_gzip_request_of_a_proxy_that_died_is_whole_too(tmp_path: Path) -> None:
    """Its length on the wire says nothing of the journal's: a record says that all was looked through."""
    packed = gzip.compress(BODY)
    tap = redacting(tmp_path)
    exchange = tap.exchange(start(body_length=len(packed), headers=((b"Content-Encoding", b"gzip"),)))
    exchange.request_body(packed)
    tap.writer.close()
    (row,) = recorded(tmp_path)
    assert (row.state, body_of(row).kept, body_of(row).length) == (State.INTERRUPTED, BodyKept.WHOLE, len(packed))


def test_a_cut_body_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    tap = redacting(tmp_path)
    exchange = tap.exchange(start(body_length=len(BODY)))
    exchange.request_body(BODY[:90])
    exchange.end(end(State.ABORTED_BY_CLIENT, proxy_received=None))
    (row,) = recorded(tmp_path)
    assert body_of(row).kept is BodyKept.PARTIAL
    assert len(body_of(row).data or b"") == 90
    assert b"[REDACTED" in (body_of(row).data or b"")  # half a key is one: the rest may have left, too


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_what_events_spell_together_is_masked_before_the_store(tmp_path: Path, coding: str | None) -> None:
    """The journal has it in pieces until the recorder has read it; then it is to be overwritten."""
    body = stream(f"It is {ANTHROPIC}.", 7)
    headers = (*SSE, *(((b"Content-Encoding", coding.encode()),) if coding else ()))
    tell(redacting(tmp_path), answer=[CODERS[coding](body) if coding else body], response_headers=headers)
    (row,) = recorded(tmp_path)
    assert row.response is not None
    assert row.response.body.data is not None
    plain = decode(row.response.body.data, coding, max_bytes=1 << 20)
    assert len(plain) == len(body)
    assert "[REDACTED:anthropic-key:" in text_of(plain)
    assert "dummyPlanted" not in text_of(plain)
    assert row.secrets_in_journal
    assert [(one.rule, one.direction) for one in row.secrets] == [("anthropic-key", Direction.RECEIVED)]


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_reporting_changes_nothing(tmp_path: Path, coding: str | None) -> None:
    headers = ((b"Content-Encoding", coding.encode()),) if coding else ()
    sent, answered = (CODERS[coding](BODY), CODERS[coding](ANSWER)) if coding else (BODY, ANSWER)
    tell(make_tap(tmp_path), request=[sent], answer=[answered], request_headers=headers, response_headers=headers)
    (row,) = recorded(tmp_path, redact=False)
    assert row.response is not None
    assert (body_of(row).data, row.response.body.data) == (BODY, answered)
    assert body_of(row).sha256 == hashlib.sha256(sent).digest()
    assert [(one.rule, one.redacted) for one in row.secrets] == [
        ("anthropic-key", False),
        ("private-key", False),
        ("github-token", False),
    ]
    assert not row.secrets_in_journal


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_a_journal_from_before_the_setting_is_redacted_by_the_recorder(tmp_path: Path, coding: str | None) -> None:
    headers = ((b"Content-Encoding", coding.encode()),) if coding else ()
    sent, answered = (CODERS[coding](BODY), CODERS[coding](ANSWER)) if coding else (BODY, ANSWER)
    tell(make_tap(tmp_path), request=[sent], answer=[answered], request_headers=headers, response_headers=headers)
    (row,) = recorded(tmp_path)
    assert row.response is not None
    plain = decode(row.response.body.data or b"", coding, max_bytes=1 << 20)
    assert b"dummyPlanted" not in (body_of(row).data or b"") + plain
    assert row.secrets_in_journal


def test_a_journal_from_the_setting_is_readable_without_it(tmp_path: Path) -> None:
    packed = gzip.compress(ANSWER)
    tell(redacting(tmp_path), request=[BODY], answer=[packed], response_headers=((b"Content-Encoding", b"gzip"),))
    store = Store()
    drain(store.recorder(tmp_path))
    (row,) = store.rows.values()
    assert row.response is not None
    assert len(gzip.decompress(row.response.body.data or b"")) == len(ANSWER)
    assert len(row.secrets) == 3


def test_a_full_journal_drops_the_exchange_as_ever(tmp_path: Path) -> None:
    tap = redacting(tmp_path, max_bytes=1 << 16)
    tell(tap, request=pieces(os.urandom(1 << 17), 4096))
    (row,) = recorded(tmp_path)
    assert (body_of(row).kept, body_of(row).length) == (BodyKept.DROPPED, 1 << 17)
    assert tap.statistics().dropped == 1
    assert tap.statistics().errors == 0
