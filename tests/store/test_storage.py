from __future__ import annotations

import gzip
import json
from dataclasses import replace
from hashlib import sha256

import pytest

from claudeproxy.errors import NotFoundError, StorageError
from claudeproxy.model import Answer, BodyKept, Instants, RecordedBody, State, Usage
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters
from tests.store.exchanges import START, correlation, exchange, in_flight, response

BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'


def test_a_request_comes_back_as_it_was_recorded(storage):
    """Every field of the exchange can be read again; times to the nanosecond, headers in order with duplicates."""
    given = exchange(1, BODY, informational=(100, 103), error="late", error_kind="reset", upstream_url="http://gw/v1")
    (request_id,) = storage.record([given], {})
    request = storage.get_request(request_id)
    assert (request.correlation_id, request.timestamp) == (given.correlation_id, given.instants.request_initiated)
    assert request.instants == given.instants
    assert request.headers == tuple((n.decode(), v.decode()) for n, v in given.headers)
    assert (request.method, request.url, request.upstream_url) == ("POST", given.url, "http://gw/v1")
    assert (request.state, request.entry_mode, request.owner) == (given.state, given.entry_mode, "relay-1")
    assert (request.error, request.error_kind, request.informational) == ("late", "reset", (100, 103))
    assert (request.api_key_hash, request.http_version, request.connect_us) == ("00ff", "1.1", 7)
    assert (request.body_kept, request.body_length) == (BodyKept.WHOLE, len(BODY))
    assert request.body_sha256 == sha256(BODY).hexdigest()
    assert (request.body, request.body_json) == (BODY, json.loads(BODY))
    assert (request.status_code, request.latency_ms, request.proxy_latency_ms) == (200, 41, 1)
    assert request.response_tokens == 12
    assert (request.model, request.total_tokens, request.source_attributions) == (None, None, [])
    assert not request.early_response


def test_a_response_comes_back_as_it_was_recorded(storage):
    usage = Usage(
        input_tokens=3,
        cache_creation_input_tokens=5,
        cache_creation_5m=2,
        cache_creation_1h=3,
        output_tokens=7,
        thinking_tokens=1,
        web_search_requests=2,
        service_tier="standard",
        raw='{"input_tokens":3,"new":{"a":1},"cache_creation":{"ephemeral_5m_input_tokens":2}}',
    )
    answer = Answer(
        message_id="msg_9", model="claude-x", stop_reason="tool_use", usage=usage, error_type="overloaded_error"
    )
    given = exchange(2, BODY, response=response(b'{"a":1}', answer=answer, trailers=((b"X-T", b"v"),), number=2))
    storage.record([given], {})
    found = storage.get_response(given.correlation_id)
    assert found.request_id == storage.get_request(given.correlation_id).id
    assert found.id != found.request_id
    assert found.correlation_id == given.correlation_id
    assert (found.status_code, found.reason, found.http_version, found.origin) == (200, "OK", "1.1", "upstream")
    assert found.headers == tuple((n.decode(), v.decode()) for n, v in given.response.headers)
    assert found.trailers == (("X-T", "v"),)
    assert (found.latency_us, found.latency_ms) == (40_500, 41)
    assert (found.proxy_latency_us, found.proxy_latency_ms) == (550, 1)
    assert (found.message_id, found.model, found.stop_reason) == ("msg_9", "claude-x", "tool_use")
    assert (found.error_type, found.streamed, found.request_id_header) == ("overloaded_error", False, "req_00000002")
    assert replace(found.usage, raw=None) == replace(usage, raw=None)
    assert json.loads(found.usage.raw or "")["new"] == {"a": 1}
    assert found.response_tokens == 7
    assert (found.body, found.body_json) == (b'{"a":1}', {"a": 1})
    assert (found.body_kept, found.body_length) == (BodyKept.WHOLE, 7)
    assert found.body_sha256 == sha256(b'{"a":1}').hexdigest()
    assert found.timestamp == given.instants.response_received


def test_a_stream_reads_as_the_message_it_tells(storage):
    """body gives the raw events, body_json the message put together from them."""
    stream = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        b'"role":"assistant","model":"m","content":[],"usage":{"input_tokens":1}}}\n\n'
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"hi"}}\n\n'
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )
    storage.record([exchange(0, BODY, response=response(stream))], {})
    found = storage.get_response(correlation(0))
    assert found.body == stream
    message = found.body_json
    assert isinstance(message, dict)
    assert message["content"] == [{"type": "text", "text": "hi"}]


def test_an_encoded_response_is_kept_encoded_and_read_decoded(storage):
    packed = gzip.compress(b'{"a":[1]}')
    made = response(packed, headers=((b"Content-Encoding", b"gzip"), (b"content-type", b"application/json")))
    storage.record([exchange(0, BODY, response=made)], {})
    found = storage.get_response(correlation(0))
    assert (found.body, found.body_json) == (packed, {"a": [1]})


@pytest.mark.parametrize(("body", "codings"), [(b"<html>", b""), (b"junk", b"gzip"), (b"", b"")])
def test_a_response_that_is_no_json_reads_as_none(storage, body, codings):
    storage.record([exchange(0, BODY, response=response(body, headers=((b"content-encoding", codings),)))], {})
    assert storage.get_response(correlation(0)).body_json is None


def test_an_exchange_in_flight_is_a_request_without_a_response(storage):
    (request_id,) = storage.record([in_flight(0, BODY)], {})
    assert storage.get_request(request_id).state is State.IN_FLIGHT
    assert storage.get_request(request_id).status_code is None
    with pytest.raises(NotFoundError, match="no response"):
        storage.get_response(request_id)


def test_an_exchange_keeps_its_row_from_flight_to_end(storage):
    """The same correlation_id is the same request; nothing of the first form is left over."""
    (first,) = storage.record([in_flight(0, b"", headers=((b"a", b"1"),))], {})
    (second,) = storage.record([exchange(0, BODY)], {})
    assert first == second
    assert storage.get_request(first).state is State.COMPLETE
    assert storage.get_request(first).body == BODY
    assert storage.get_response(first).status_code == 200
    assert storage.query_requests(RequestFilters()).total == 1


def test_what_has_ended_is_not_overwritten(storage):
    """A journal that is read again after a crash changes nothing."""
    storage.record([exchange(0, BODY)], {"relay-1": (0, 10)})
    ids = storage.record([in_flight(0, b"{}"), exchange(0, b"other", state=State.INTERRUPTED)], {"relay-1": (0, 20)})
    assert ids[0] == ids[1]
    assert storage.get_request(ids[0]).body == BODY
    assert storage.get_request(ids[0]).state is State.COMPLETE
    assert storage.cursors() == {"relay-1": (0, 20)}


def test_a_growing_stream_replaces_its_partial_record(storage):
    """Checkpoints of a long exchange: partial body and partial response, then the whole."""
    partial = RecordedBody(kept=BodyKept.PARTIAL, data=BODY[:20], length=20)
    early = replace(response(), body=RecordedBody(kept=BodyKept.PARTIAL, data=b"event: a\n", length=9))
    (request_id,) = storage.record([replace(in_flight(0), request_body=partial, response=early)], {})
    assert (storage.request_body(request_id), storage.response_body(request_id)) == (BODY[:20], b"event: a\n")
    assert storage.verify().ok
    storage.record([exchange(0, BODY, response=response(b"event: a\n\nevent: b\n\n"))], {})
    assert (storage.request_body(request_id), storage.response_body(request_id)) == (BODY, b"event: a\n\nevent: b\n\n")
    assert storage._connection.execute("SELECT count(*) FROM request_bodies").fetchone()[0] == 0
    assert storage.verify().ok


@pytest.mark.parametrize("kept", [BodyKept.TOO_LARGE, BodyKept.POLICY, BodyKept.DROPPED])
def test_a_body_that_is_not_kept_has_its_length_and_hash(storage, kept):
    body = RecordedBody(kept=kept, data=None, length=99, sha256=b"\x01" * 32)
    (request_id,) = storage.record([replace(exchange(0), request_body=body, response=response(b""))], {})
    request = storage.get_request(request_id)
    assert (request.body, request.body_length, request.body_sha256) == (b"", 99, "01" * 32)
    assert (request.body_json, request.body_kept) == (None, kept)
    assert storage.get_response(request_id).body == b""
    assert storage.verify().ok


def test_a_request_that_came_encoded_has_the_hash_of_its_wire_bytes(storage):
    wire = gzip.compress(BODY)
    body = RecordedBody(kept=BodyKept.WHOLE, data=BODY, length=len(wire), sha256=sha256(wire).digest(), encoding="gzip")
    (request_id,) = storage.record([replace(exchange(0), request_body=body)], {})
    request = storage.get_request(request_id)
    assert (request.body, request.body_encoding) == (BODY, "gzip")
    assert (request.body_length, request.body_sha256) == (len(wire), sha256(wire).hexdigest())
    assert storage.verify().ok


def test_ids_may_be_shortened_as_long_as_they_are_clear(storage):
    ids = storage.record([exchange(n, BODY) for n in range(40)], {})
    for request_id in ids[:5]:
        assert storage.get_request(request_id[:18].upper()).id == request_id
        assert storage.get_request(storage.get_request(request_id).correlation_id[:18]).id == request_id
        assert storage.get_response(storage.get_response(request_id).id[:18]).request_id == request_id


def test_an_unknown_or_unclear_id_names_what_is_near(storage):
    ids = storage.record([exchange(n, BODY) for n in range(40)], {})
    wrong = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    with pytest.raises(NotFoundError) as unknown:
        storage.get_request(wrong)
    assert ids[0] in unknown.value.near
    with pytest.raises(NotFoundError, match="several") as unclear:
        storage.get_request(ids[0][:1])
    assert len(unclear.value.near) > 1
    with pytest.raises(NotFoundError):
        storage.request_body("")
    with pytest.raises(NotFoundError):
        storage.response_body("not-an-id")


def test_an_empty_database_has_no_near_ids(storage):
    with pytest.raises(NotFoundError) as error:
        storage.get_request("abc")
    assert error.value.near == ()


def test_the_library_verbs_store_one_exchange(storage):
    given = exchange(0, BODY)
    assert storage.capture_request(in_flight(0, BODY)) == storage.capture_request(given)
    assert storage.get_response(storage.capture_response(given)).correlation_id == given.correlation_id
    with pytest.raises(StorageError, match="no response"):
        storage.capture_response(in_flight(1))


def test_hostile_values_do_not_fail_the_batch(storage):
    """Lone surrogates, NULs, numbers beyond 64 bits: one strange exchange must not hold up the others."""
    answer = Answer(model="\ud800", stop_reason="a\0b", usage=Usage(output_tokens=2**80, raw="{" * 10), message_id="é")
    strange = exchange(0, BODY, url="http://[", method="\udfff", response=response(b"\xff", answer=answer))
    storage.record([strange, exchange(1, BODY)], {})
    assert storage.query_requests(RequestFilters()).total == 2
    found = storage.get_response(correlation(0))
    assert (found.model, found.message_id, found.response_tokens) == ("?", "é", None)


def test_an_early_response_has_no_latency(storage):
    """The answer came before the request was out: 0 by definition, not a negative number."""
    (request_id,) = storage.record([exchange(0, BODY, early_response=True)], {})
    assert storage.get_response(request_id).latency_us == 0
    unsent = Instants(request_initiated=START)
    (request_id,) = storage.record([exchange(1, BODY, instants=unsent, response=response(origin="proxy"))], {})
    found = storage.get_response(request_id)
    assert (found.latency_us, found.latency_ms, found.origin, found.timestamp) == (None, None, "proxy", START)


def test_the_summary_counts(storage, database):
    storage.record([exchange(0, BODY), exchange(1, b"junk"), in_flight(2, BODY)], {})
    summary = storage.summary()
    assert (summary.requests, summary.responses, summary.in_flight, summary.stored_whole) == (3, 2, 1, 1)
    assert (summary.nodes, summary.oldest, summary.newest) == (1, START, START + 2_000_000_000)
    assert summary.blocks > 1
    assert summary.database_bytes == database.stat().st_size
    assert summary.wal_bytes > 0
    assert repr(storage) == f"<CaptureStorage {database}>"


def test_an_empty_database_answers_every_question(storage):
    summary = storage.summary()
    assert (summary.requests, summary.oldest, summary.blocks, summary.nodes) == (0, None, 0, 0)
    assert storage.query_requests(RequestFilters()).rows == ()
    assert storage.cursors() == {}
    assert storage.underived("1", 10) == []
    assert storage.verify().ok


def test_a_failed_batch_leaves_nothing_and_can_be_repeated(storage):
    """All or nothing, and what was remembered of the failed attempt is forgotten."""

    class Broken:
        correlation_id = property(lambda self: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        storage.record([exchange(0, BODY), Broken()], {"relay-1": (0, 1)})
    assert (storage.summary().requests, storage.summary().nodes, storage.cursors()) == (0, 0, {})
    storage.record([exchange(0, BODY)], {"relay-1": (0, 1)})
    assert storage.request_body(correlation(0)) == BODY
    assert storage.verify().ok


def test_what_another_process_deleted_is_not_referred_to(storage, database):
    """A writer's memory of nodes gone by retention is refused by the file, forgotten, and the call works without."""
    storage.record([exchange(0, BODY)], {})
    with CaptureStorage(database) as other:
        other._connection.execute("DELETE FROM captured_requests")
        other._connection.execute("PRAGMA foreign_keys = OFF")
        other._connection.execute("DELETE FROM nodes WHERE id > 0")
        other._connection.execute("DELETE FROM blocks WHERE id > 0")
        other._connection.execute("DELETE FROM lots")
    storage.record([exchange(1, BODY)], {})
    assert storage.request_body(correlation(1)) == BODY
    assert storage.unfinished() == {}
    assert storage.verify().ok


def test_deleting_from_the_public_view_takes_everything_with_it(storage):
    storage.record([exchange(0, BODY), exchange(1, b"junk")], {})
    storage._connection.execute("DELETE FROM captured_requests")
    for table in ("requests", "responses", "response_bodies", "request_bodies", "skeleton_blocks"):
        assert storage._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert storage.verify().ok
