"""What the recorder does for a turn, part by part: reading, cutting, storing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conftest import exchange

from claudeproxy.capture.journal_format import RecordType
from claudeproxy.capture.journal_reader import JournalReader
from claudeproxy.capture.journal_writer import JournalWriter
from claudeproxy.sansio.messages import layout
from claudeproxy.store.aggregates import MEASURES, SourceAggregates, SourceMoves
from claudeproxy.store.canonical import canonical_digest
from claudeproxy.store.codec import Codec
from claudeproxy.store.cutting import cut_body
from claudeproxy.testing.prose import Prose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from claudeproxy.store.storage import CaptureStorage

ROUNDS = 40
BLOCK = b'{"type":"tool_result","tool_use_id":"toolu_01AbCdEfGh","content":"%b"}' % Prose(1).paragraph(5_000).encode()


def bench_records_of_the_journal(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A request of 100 KB and a hundred events, read back."""
    writer = JournalWriter(tmp_path, min_free_bytes=0)
    for _ in range(2):
        writer.append(RecordType.REQUEST_BODY, 1, bytes(50_000))
    for _ in range(100):
        writer.append(RecordType.RESPONSE_BODY, 1, bytes(140))

    def read() -> None:
        assert (
            sum(len(record.payload) for record in JournalReader(tmp_path / writer.owner).records(final=True)) == 114_000
        )

    benchmark(read)
    writer.close()


def bench_cut_of_the_next_turn(benchmark: BenchmarkFixture, turns: Callable[[], bytes]) -> None:
    layout(turns())
    benchmark.pedantic(layout, setup=lambda: ((turns(),), {}), rounds=ROUNDS)


def bench_cut_of_a_stranger(benchmark: BenchmarkFixture, strangers: Callable[[], bytes]) -> None:
    benchmark.pedantic(layout, setup=lambda: ((strangers(),), {}), rounds=ROUNDS)


def bench_pieces_of_the_next_turn(benchmark: BenchmarkFixture, turns: Callable[[], bytes]) -> None:
    benchmark.pedantic(cut_body, setup=lambda: ((turns(),), {}), rounds=ROUNDS)


def bench_canonical_hash_of_5_kb(benchmark: BenchmarkFixture) -> None:
    benchmark(canonical_digest, BLOCK)


def bench_compressing_5_kb(benchmark: BenchmarkFixture) -> None:
    benchmark(Codec().compress, BLOCK)


def bench_decompressing_5_kb(benchmark: BenchmarkFixture) -> None:
    codec = Codec()
    benchmark(codec.decompress, *codec.compress(BLOCK))


def bench_recording_the_next_turn(
    benchmark: BenchmarkFixture, storage: CaptureStorage, turns: Callable[[], bytes]
) -> None:
    """Tree, hashes, compression, rows, commit."""
    storage.record([exchange(turns())], {})
    benchmark.pedantic(storage.record, setup=lambda: (([exchange(turns())], {}), {}), rounds=ROUNDS)


def bench_recording_a_stranger(
    benchmark: BenchmarkFixture, storage: CaptureStorage, strangers: Callable[[], bytes]
) -> None:
    benchmark.pedantic(storage.record, setup=lambda: (([exchange(strangers())], {}), {}), rounds=ROUNDS // 2)


def bench_body_put_together(benchmark: BenchmarkFixture, storage: CaptureStorage, turns: Callable[[], bytes]) -> None:
    (request_id,) = storage.record([exchange(body := turns())], {})
    assert benchmark(storage.request_body, request_id) == body


def bench_aggregates_of_a_turn(benchmark: BenchmarkFixture, storage: CaptureStorage) -> None:
    """Twelve sources of one request."""
    moved = {("tool", f"Tool{number}"): (1,) * len(MEASURES) for number in range(12)}

    def move() -> None:
        with storage.writing() as connection:
            SourceAggregates(connection).move([SourceMoves(moved, time.time_ns())])

    benchmark(move)
