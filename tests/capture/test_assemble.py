from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from claudeproxy.capture.assemble import Assembler
from claudeproxy.model import BodyKept, EntryMode, ExchangeEnd, Instants, RecordedExchange, State
from tests.capture.support import MONO, START, Store, drain, end, make_tap, response, start, tell

if TYPE_CHECKING:
    from pathlib import Path

    from claudeproxy.model import RawHeaders

GZIP: RawHeaders = ((b"Content-Encoding", b"gzip"),)


def ended(
    tmp_path: Path,
    how: ExchangeEnd,
    *,
    announced: int | None = 4,
    request: bytes = b"full",
    answer: bytes | None = b"answer",
    headers: RawHeaders = (),
    origin: str = "upstream",
) -> RecordedExchange:
    tap = make_tap(tmp_path)
    exchange = tap.exchange(begun := start(body_length=announced))
    exchange.request_body(request)
    if answer is not None:
        exchange.response_start(response(headers=headers, origin=origin))
        exchange.response_body(answer)
    exchange.end(how)
    store = Store()
    drain(store.recorder(tmp_path))
    return store.rows[begun.correlation_id]


def test_every_field_of_head_and_end_arrives(tmp_path: Path) -> None:
    row = ended(tmp_path, end(error="odd", error_kind="kind", early_response=True, response_trailers=((b"T", b"1"),)))
    assert (row.entry_mode, row.method, row.http_version) == (EntryMode.CONNECT, "POST", "1.1")
    assert row.url == row.upstream_url == "https://api.anthropic.com/v1/messages?beta=true"
    assert (row.error, row.error_kind, row.early_response) == ("odd", "kind", True)
    assert (row.request_head_us, row.request_body_us, row.response_head_us, row.connect_us) == (1, 2, 3, 4)
    assert row.response is not None
    assert (row.response.status_code, row.response.reason, row.response.origin) == (200, "OK", "upstream")
    assert row.response.trailers == ((b"T", b"1"),)


def test_instants_are_the_wall_clock_plus_monotonic_differences(tmp_path: Path) -> None:
    assert ended(tmp_path, end()).instants == Instants(
        request_initiated=START,
        proxy_received=START + 1_000,
        forwarded=START + 2_000,
        response_received=START + 3_000,
        delivered=START + 4_000,
    )


def test_an_instant_that_never_came_is_none(tmp_path: Path) -> None:
    how = end(State.ABORTED_BY_CLIENT, proxy_received=None, forwarded=None, response_received=None, delivered=None)
    assert ended(tmp_path, how, answer=None).instants == Instants(request_initiated=START)


@pytest.mark.parametrize(
    ("announced", "request_bytes", "received", "kept"),
    [
        (4, b"full", MONO, BodyKept.WHOLE),
        (4, b"ha", None, BodyKept.PARTIAL),
        (4, b"", None, BodyKept.PARTIAL),
        (0, b"", MONO, BodyKept.EMPTY),
        (None, b"full", MONO, BodyKept.WHOLE),
        (None, b"full", None, BodyKept.PARTIAL),
        (None, b"", MONO, BodyKept.EMPTY),
    ],
)
def test_whether_the_request_came_whole(
    tmp_path: Path, announced: int | None, request_bytes: bytes, received: int | None, kept: BodyKept
) -> None:
    how = end(State.ABORTED_BY_CLIENT, proxy_received=received)
    body = ended(tmp_path, how, announced=announced, request=request_bytes, answer=None).request_body
    expected = None if kept is BodyKept.EMPTY else request_bytes
    assert (body.kept, body.data, body.length) == (kept, expected, len(request_bytes))


@pytest.mark.parametrize(
    ("state", "headers", "origin", "kept"),
    [
        (State.COMPLETE, (), "upstream", BodyKept.WHOLE),
        (State.ABORTED_BY_CLIENT, (), "upstream", BodyKept.PARTIAL),
        (State.CUT_BY_UPSTREAM, ((b"content-length", b"99"),), "upstream", BodyKept.PARTIAL),
        (State.ABORTED_BY_CLIENT, ((b"content-length", b"6"),), "upstream", BodyKept.WHOLE),
        (State.UPSTREAM_ERROR, (), "proxy", BodyKept.WHOLE),
    ],
)
def test_whether_the_answer_came_whole(
    tmp_path: Path, state: State, headers: RawHeaders, origin: str, kept: BodyKept
) -> None:
    row = ended(tmp_path, end(state), headers=headers, origin=origin)
    assert row.state is state
    assert row.response is not None
    assert (row.response.body.kept, row.response.body.data) == (kept, b"answer")


def test_an_answer_to_head_is_empty_whatever_it_announces(tmp_path: Path) -> None:
    row = ended(tmp_path, end(), answer=b"", headers=((b"content-length", b"99"),))
    assert row.response is not None
    assert row.response.body.kept is BodyKept.EMPTY


def test_without_a_response_head_there_is_no_response(tmp_path: Path) -> None:
    assert ended(tmp_path, end(State.UPSTREAM_ERROR), answer=None).response is None


def recorded(tmp_path: Path, encoded: bytes, headers: RawHeaders) -> tuple[RecordedExchange, int]:
    tap = make_tap(tmp_path)
    one = tell(tap, request=[encoded], request_headers=headers)
    store = Store()
    recorder = store.recorder(tmp_path)
    drain(recorder)
    return store.rows[one], recorder.statistics().undecodable_bodies


def test_an_encoded_request_is_kept_decoded_with_the_length_and_hash_of_what_was_sent(tmp_path: Path) -> None:
    encoded = gzip.compress(b'{"model": "claude-x"}')
    row, undecodable = recorded(tmp_path, encoded, GZIP)
    body = row.request_body
    assert (body.data, body.encoding, body.kept) == (b'{"model": "claude-x"}', "gzip", BodyKept.WHOLE)
    assert (body.length, body.sha256) == (len(encoded), hashlib.sha256(encoded).digest())
    assert undecodable == 0


@pytest.mark.parametrize(
    ("encoded", "headers"),
    [
        (b"not gzip", GZIP),
        (gzip.compress(b"x" * 100, mtime=0)[:-1], GZIP),
        (b"?", ((b"content-encoding", b"rot13"),)),
    ],
)
def test_what_cannot_be_decoded_is_kept_as_it_came(tmp_path: Path, encoded: bytes, headers: RawHeaders) -> None:
    row, undecodable = recorded(tmp_path, encoded, headers)
    assert (row.request_body.data, row.request_body.encoding) == (encoded, None)
    assert undecodable == 1


def test_a_bomb_is_kept_as_it_came(tmp_path: Path) -> None:
    encoded = gzip.compress(bytes(1_000_000))
    tap, store = make_tap(tmp_path), Store()
    one = tell(tap, request=[encoded], request_headers=GZIP)
    recorder = store.recorder(tmp_path)
    recorder._assembler = Assembler(max_decoded=1000)
    drain(recorder)
    assert (store.rows[one].request_body.data, store.rows[one].request_body.encoding) == (encoded, None)


def test_an_encoded_answer_stays_raw_and_is_read_from_a_copy(tmp_path: Path) -> None:
    encoded = gzip.compress(b'{"type": "message", "id": "msg_1", "usage": {"output_tokens": 3}}')
    tap, store = make_tap(tmp_path), Store()
    one = tell(tap, answer=[encoded], response_headers=(*GZIP, (b"content-type", b"application/json")))
    drain(store.recorder(tmp_path))
    answered = store.rows[one].response
    assert answered is not None
    assert answered.body.data == encoded
    assert (answered.answer.message_id, answered.answer.usage.output_tokens) == ("msg_1", 3)
