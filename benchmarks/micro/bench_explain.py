"""What the recorder does for a turn after it is stored: attribution, counting, accounts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from conftest import MODEL, answer, exchange

from claudeproxy.accounting.ledger import TokenLedger
from claudeproxy.accounting.prices import PriceBook
from claudeproxy.accounting.tokens import TokenCounter
from claudeproxy.attribution.engine import AttributionEngine
from claudeproxy.explaining import Explainer, outcome_of
from claudeproxy.logs import configure_logging
from claudeproxy.testing.prose import Prose

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

    from claudeproxy.store.storage import CaptureStorage

ROUNDS = 40
HEADERS = ((b"user-agent", b"claude-cli/2.1.330 (external, cli)"),)


def bench_tokens_of_5_kb(benchmark: BenchmarkFixture) -> None:
    counter, text = TokenCounter(), Prose(1).paragraph(5_000)
    assert benchmark(counter.count, text) > 500


def bench_attribution_of_the_next_turn(benchmark: BenchmarkFixture, turns: Callable[[], bytes]) -> None:
    engine = AttributionEngine()
    engine.analyze_request(turns(), headers=HEADERS)

    def analyze(body: bytes) -> None:
        assert engine.analyze_request(body, headers=HEADERS).segments()

    benchmark.pedantic(analyze, setup=lambda: ((turns(),), {}), rounds=ROUNDS)


def bench_attribution_of_a_stranger(benchmark: BenchmarkFixture, strangers: Callable[[], bytes]) -> None:
    engine = AttributionEngine()

    def analyze(body: bytes) -> None:
        assert engine.analyze_request(body, headers=HEADERS).segments()

    benchmark.pedantic(analyze, setup=lambda: ((strangers(),), {}), rounds=ROUNDS // 2)


def bench_prediction_of_the_next_turn(benchmark: BenchmarkFixture, turns: Callable[[], bytes]) -> None:
    """Cutting, hashing and the ledger's guess."""
    ledger = TokenLedger(MODEL)
    ledger.observe(first := turns(), answer(first).usage, answer(first))
    benchmark.pedantic(ledger.predict, setup=lambda: ((turns(),), {}), rounds=ROUNDS)


def bench_settlement_of_the_next_turn(benchmark: BenchmarkFixture, turns: Callable[[], bytes]) -> None:
    """The bill, divided among the blocks, and what is learned from it."""
    ledger = TokenLedger(MODEL)

    def next_turn() -> tuple[tuple[object, ...], dict[str, object]]:
        body = turns()
        prompt = ledger.read(body)
        ledger.predict(prompt)
        return (prompt, answer(body).usage, answer(body)), {}

    benchmark.pedantic(ledger.observe, setup=next_turn, rounds=ROUNDS)


def bench_price_of_a_bill(benchmark: BenchmarkFixture) -> None:
    prices, usage, now = PriceBook(), answer(b" " * 100_000).usage, time.time_ns()
    assert benchmark(lambda: prices.price(usage, MODEL, at=now)).lines


def bench_whole_explanation_of_the_next_turn(
    benchmark: BenchmarkFixture, storage: CaptureStorage, turns: Callable[[], bytes]
) -> None:
    """Attribution, account and their rows, of a turn that is stored."""
    configure_logging(level="error")
    explainer = Explainer(storage, AttributionEngine())

    def stored() -> tuple[tuple[object, ...], dict[str, object]]:
        one = exchange(turns())
        (request_id,) = storage.record([one], {})
        known = {"began": one.instants.request_initiated, "url": one.url, "outcome": outcome_of(one)}
        return (request_id, one.request_body.data, HEADERS), known

    benchmark.pedantic(explainer.explain, setup=stored, rounds=ROUNDS, warmup_rounds=2)
    assert not explainer.errors
