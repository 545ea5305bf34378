"""What the relay does for each head, chunk, event and record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from peers import Upstream, chunked

from claudeproxy.capture.journal_format import RecordType, encode_header
from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.capture.redact import redact_headers
from claudeproxy.sansio.chunked import ChunkedScanner
from claudeproxy.sansio.headers import HeadParser, serialize_request
from claudeproxy.sansio.hops import forward_headers
from claudeproxy.sansio.sse import SSEParser
from claudeproxy.testing import long_conversation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

FIELDS = (*next(iter(long_conversation())).headers, (b"host", b"api.anthropic.com"), (b"content-length", b"100000"))
HEAD = serialize_request("POST", "/v1/messages?beta=true", FIELDS)
EVENT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" a few words"}}\n\n'  # noqa: E501
EVENTS = 100
BURST = Upstream(EVENTS)._burst
ANSWER_HEAD, _, CHUNKS = BURST.partition(b"\r\n\r\n")
PLAIN = EVENT * EVENTS


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[JournalWriter]:
    writer = JournalWriter(tmp_path / "journal", max_bytes=8 << 30, min_free_bytes=0)
    yield writer
    writer.close()


def bench_head_of_a_request(benchmark: BenchmarkFixture) -> None:
    def parse() -> None:
        parser = HeadParser()
        parser.feed(HEAD)
        assert parser.request() is not None

    benchmark(parse)


def bench_head_of_a_response(benchmark: BenchmarkFixture) -> None:
    def parse() -> None:
        parser = HeadParser()
        parser.feed(ANSWER_HEAD + b"\r\n\r\n")
        assert parser.response(method="POST") is not None

    benchmark(parse)


def bench_fields_that_are_passed_on(benchmark: BenchmarkFixture) -> None:
    benchmark(forward_headers, FIELDS)


def bench_fields_redacted(benchmark: BenchmarkFixture) -> None:
    benchmark(redact_headers, FIELDS)


def bench_chunks_of_a_burst(benchmark: BenchmarkFixture) -> None:
    """A hundred events in one read."""

    def scan() -> None:
        scanner = ChunkedScanner()
        scanner.feed(CHUNKS)
        assert scanner.ended

    benchmark(scan)


def bench_chunk_of_one_event(benchmark: BenchmarkFixture) -> None:
    scanner, chunk = ChunkedScanner(), chunked(EVENT)
    benchmark(scanner.feed, chunk)


def bench_events_of_a_burst(benchmark: BenchmarkFixture) -> None:
    """A hundred events in one read, by the recorder."""
    assert len(benchmark(lambda: SSEParser().feed(PLAIN))) == EVENTS


def bench_header_of_a_record(benchmark: BenchmarkFixture) -> None:
    benchmark(encode_header, RecordType.RESPONSE_BODY, 7, 123_456_789, EVENT, seed=1)


def bench_event_into_the_journal(benchmark: BenchmarkFixture, journal: JournalWriter) -> None:
    assert benchmark(journal.append, RecordType.RESPONSE_BODY, 1, EVENT)


def bench_64_kib_into_the_journal(benchmark: BenchmarkFixture, journal: JournalWriter) -> None:
    data = bytes(65536)
    assert benchmark(journal.append, RecordType.REQUEST_BODY, 1, data)
