"""How long questions take over many captures, and how long deleting them keeps others waiting.

    uv run benchmarks/queries.py [--pairs 10000] [--keep FILE] [--json FILE] [--no-retention]

Makes a database of synthetic pairs (`pairs.py`), asks each question several times on a connection that has not asked it
before and prints the median and the worst, and the median of the processor time, which is what counts on a machine that
others use too; then rates answers and sees them in the aggregates; then expires half of the captures while another
process records as fast as it can and a third one reads, and tells the longest that either waited, beside what they wait
when nothing is deleted.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pairs import DAY, DAYS, START, TURNS, Prose, _exchange, fill

from claudeproxy.insight.feedback import FeedbackManager
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.insight.sessions import Sessions
from claudeproxy.insight.values import Bucket, SourceFilters
from claudeproxy.store.census import take_census
from claudeproxy.store.contexts import ContextFilters, query_attributions
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.store.values import RequestFilters

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Event

ROUNDS = 7
FEWEST, PATIENCE = 3, 5.0  # rounds of a question that takes so many seconds in all
ALONE = 10  # seconds
MIDDLE = START + DAYS * DAY // 2


def questions(storage: CaptureStorage, pairs: int) -> dict[str, Callable[[], object]]:
    """What is asked, by name."""
    metrics, sessions = SourceMetrics(storage), Sessions(storage)
    middle = storage.query_requests(RequestFilters(limit=1, offset=pairs // 2)).rows[0]
    session = middle.identity.session_id or ""
    word = Prose(1)._words[5_000]

    def listed(**filters: object) -> Callable[[], object]:
        return lambda: storage.query_requests(RequestFilters(**filters))  # type: ignore[arg-type]

    return {
        "list": listed(),
        "list, last page": listed(offset=pairs - 20),
        "list, a day": listed(since=MIDDLE, until=MIDDLE + DAY),
        "list, session": listed(session_id=session),
        "list, project": listed(project="project1"),
        "list, source": listed(source="MCP: server3"),
        "list, model and status": listed(model="claude-opus-4-8", status=200),
        "search, one match": listed(q="task0"),
        "search, rare word": listed(q=word),
        "search, common word": listed(q=Prose(1)._words[3]),
        "search, one match, everywhere": listed(q="task0", everywhere=True),
        "search, common word, everywhere": listed(q=Prose(1)._words[3], everywhere=True),
        "detail": lambda: (storage.get_request(middle.id), storage.get_response(middle.id), storage.sources(middle.id)),
        "breakdown": lambda: storage.attributions(middle.id),
        "contexts, a page": lambda: query_attributions(storage, ContextFilters(limit=100)),
        "contexts, a page far down": lambda: query_attributions(storage, ContextFilters(limit=100, offset=pairs * 60)),
        "contexts, a source's page": lambda: query_attributions(
            storage, ContextFilters(source_name="server3", limit=100)
        ),
        "contexts, the first thousand": lambda: query_attributions(storage, ContextFilters(limit=1000)),
        "contexts, a source's first thousand": lambda: query_attributions(
            storage, ContextFilters(source_name="server3", limit=1000)
        ),
        "contexts, the output's first thousand": lambda: query_attributions(
            storage, ContextFilters(source_name="output text", limit=1000)
        ),
        "session": lambda: sessions.get(session),
        "sessions, a page": lambda: sessions.list(),
        "everything counted": lambda: take_census(storage),
        "body": lambda: storage.request_body(middle.id),
        "metrics, summary": metrics.summary,
        "metrics, summary of half": lambda: metrics.summary(since=MIDDLE + 1),
        "metrics, sources": metrics.sources,
        "metrics, sources of half": lambda: metrics.sources(SourceFilters(since=MIDDLE + 1)),
        "metrics, history by hour": lambda: metrics.history(Bucket.HOUR),
        "metrics, history by day": lambda: metrics.history(Bucket.DAY),
    }


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def asked(question: Callable[[], object]) -> tuple[list[float], list[float]]:
    """Ask some times; milliseconds on the clock, and of the processor."""
    times: list[float] = []
    cpu: list[float] = []
    while len(times) < ROUNDS and (len(times) < FEWEST or sum(times) < PATIENCE * 1000):
        before = time.process_time()
        times.append(timed(question))
        cpu.append((time.process_time() - before) * 1000)
    return times, cpu


def record_beside(database: str, stop: Event, waits: multiprocessing.Queue[list[float]]) -> None:
    """Another process's recorder: one small exchange after another."""
    found, number = [], 10_000_000 + time.time_ns() % 10**15
    with CaptureStorage(database) as storage:
        while not stop.is_set():
            number += 1
            exchange = _exchange(number, number, b'{"messages":[{"role":"user","content":"beside"}]}', "x")
            found.append(timed(lambda one=exchange: storage.record([one], {})))  # type: ignore[misc]
            time.sleep(0.002)
    waits.put(found)


def read_beside(database: str, stop: Event, waits: multiprocessing.Queue[list[float]]) -> None:
    """Another process's reader: the latest captures again and again."""
    found = []
    with CaptureStorage(database, read_only=True) as storage:
        while not stop.is_set():
            found.append(timed(lambda: storage.query_requests(RequestFilters(session_id="session-1"))))
            time.sleep(0.002)
    waits.put(found)


def beside(database: Path, work: Callable[[], None], name: str, results: dict[str, float]) -> None:
    """Do something while one process records and another reads; tell how long they took for it."""
    stop = multiprocessing.Event()
    others = {"recorder": record_beside, "reader": read_beside}
    queues: dict[str, multiprocessing.Queue[list[float]]] = {other: multiprocessing.Queue() for other in others}
    processes = [
        multiprocessing.Process(target=target, args=(str(database), stop, queues[other]))
        for other, target in others.items()
    ]
    for process in processes:
        process.start()
    work()
    stop.set()
    for other, queue in queues.items():
        found = sorted(queue.get())
        results[f"{name}: {other}'s longest, ms"] = found[-1]
        results[f"{name}: {other}'s 99th percentile, ms"] = found[int(len(found) * 0.99)]
    for process in processes:
        process.join()


def retention(database: Path, results: dict[str, float]) -> None:
    def run() -> None:
        with CaptureStorage(database) as storage:
            newest = storage.query_requests(RequestFilters(limit=1)).rows[0].id
            results["purge of one: seconds"] = timed(lambda: Retention(storage).delete_request(newest)) / 1000
            half = storage.summary().requests // 2
            middle = storage.query_requests(RequestFilters(limit=1, offset=half)).rows[0].timestamp
            report = Retention(storage).expire(before_ns=middle)
        results["retention: captures deleted"] = report.requests
        results["retention: seconds"] = report.seconds
        results["retention: longest step, ms"] = report.longest_step * 1000
        results["retention: MB given back"] = (report.bytes_before - report.bytes_after) / 1e6

    beside(database, lambda: time.sleep(ALONE), "without retention", results)  # what the machine itself makes of it
    beside(database, run, "retention", results)


def feedback(storage: CaptureStorage, results: dict[str, float]) -> None:
    """A rating until it is seen in the aggregates."""
    manager, metrics = FeedbackManager(storage), SourceMetrics(storage)
    times = []
    for row in storage.query_requests(RequestFilters(limit=20)).rows:
        before = sum(source.feedback_count for source in metrics.sources())
        times.append(timed(lambda one=row.id: (manager.submit_feedback(one, 0.5), metrics.sources())))  # type: ignore[misc]
        assert sum(source.feedback_count for source in metrics.sources()) > before
        manager.delete_feedback(manager.get_feedback_by_request(row.id).id)  # a kept database may be rated again
    results["feedback, seen in the aggregates, ms"] = statistics.median(times)
    results["metrics rebuild, ms"] = timed(metrics.rebuild)


def measure(database: Path, pairs: int) -> dict[str, float]:
    results: dict[str, float] = {"pairs": pairs}
    with closing(CaptureStorage(database, read_only=True)) as storage:
        results["database, MB"] = storage.summary().database_bytes / 1e6
        for name, question in questions(storage, pairs).items():
            times, cpu = asked(question)
            results[f"{name}, ms"], results[f"{name}, CPU ms"] = statistics.median(times), statistics.median(cpu)
            print(
                f"{name:36} {statistics.median(times):9.1f} ms   worst {max(times):9.1f}   "
                f"CPU {statistics.median(cpu):9.1f}",
                flush=True,
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000, help=f"captures to make; {TURNS} are a conversation")
    parser.add_argument("--keep", type=Path, help="use this database, or make it there")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--no-retention", action="store_true", help="delete nothing at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        database = options.keep or Path(directory) / "captures.db"
        if not database.exists():
            with CaptureStorage(database) as storage:
                seconds = timed(lambda: fill(storage, options.pairs)) / 1000
            print(f"{options.pairs} pairs recorded, explained and indexed in {seconds:.0f} s", flush=True)
        results = measure(database, options.pairs)
        with CaptureStorage(database) as storage:
            feedback(storage, results)
        if not options.no_retention:
            retention(database, results)
    for name, value in list(results.items()):
        if not name.endswith("ms") or name.startswith(("feedback", "retention", "without", "metrics rebuild")):
            print(f"{name:48} {value:12.1f}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
