"""The aggregates against a model that adds everything up the slow way, after any sequence of what can happen."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from claudeproxy.insight.feedback import FeedbackManager
from claudeproxy.insight.metrics import SourceMetrics
from claudeproxy.insight.values import SourceFilters
from claudeproxy.store.aggregates import DAY, HOUR, SourceAggregates
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from tests.insight.using import SOURCES, counted, explain, use
from tests.store.exchanges import START

CONTEXTS = st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 1000)), max_size=5)
INSTANTS = st.integers(0, 4 * 24 * 6).map(lambda n: START + n * HOUR // 6)  # every ten minutes of four days
RATINGS = st.integers(-1_000_000, 1_000_000).map(lambda n: n / 1_000_000)
TABLES = ("context_source_metrics", "source_hours", "source_days", "request_days")


class UndoneError(Exception):
    pass


class Aggregates(RuleBasedStateMachine):
    requests = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.storage = CaptureStorage(self.directory / "captures.db")
        self.storage._connection.execute("PRAGMA synchronous = OFF")  # a crash is another test's matter
        self.feedback = FeedbackManager(self.storage)
        self.used: dict[str, tuple[int, dict]] = {}  # id: instant, tokens by source
        self.rated: dict[str, tuple[str, float]] = {}  # request: feedback, rating
        self.gone: list[tuple[int, dict, float | None]] = []  # what was deleted still counts
        self.made = 0

    def teardown(self) -> None:
        self.storage.close()
        shutil.rmtree(self.directory)

    @rule(target=requests, parts=CONTEXTS, at=INSTANTS)
    def capture(self, parts, at):
        self.made += 1
        request_id = use(self.storage, self.made, parts, at=at)
        self.used[request_id] = (at, counted(parts))
        return request_id

    @rule(request_id=requests, parts=CONTEXTS)
    def explain_anew(self, request_id, parts):
        if request_id in self.used:
            explain(self.storage, request_id, parts, version="2")
            self.used[request_id] = (self.used[request_id][0], counted(parts))

    @rule(batch=st.lists(st.tuples(requests, CONTEXTS, st.booleans()), max_size=4))
    def explain_together(self, batch):
        """In one transaction, of which some parts are undone."""
        with self.storage.joined():
            for request_id, parts, undone in batch:
                if request_id in self.used:
                    with suppress(UndoneError), self.storage.writing():
                        explain(self.storage, request_id, parts, version="3")
                        if undone:
                            raise UndoneError
                        self.used[request_id] = (self.used[request_id][0], counted(parts))

    @rule(request_id=requests, rating=RATINGS)
    def rate(self, request_id, rating):
        if request_id in self.used and request_id not in self.rated:
            self.rated[request_id] = (self.feedback.submit_feedback(request_id, rating).id, rating)

    @rule(request_id=requests, rating=RATINGS)
    def change(self, request_id, rating):
        if request_id in self.rated:
            feedback_id, _ = self.rated[request_id]
            self.feedback.update_feedback(feedback_id, rating=rating)
            self.rated[request_id] = (feedback_id, rating)

    @rule(request_id=requests)
    def take_back(self, request_id):
        if request_id in self.rated:
            self.feedback.delete_feedback(self.rated.pop(request_id)[0])

    @rule(request_id=consumes(requests))
    def delete(self, request_id):
        if request_id in self.used:
            Retention(self.storage, pause=lambda _: None).delete_request(request_id)
            self._went(request_id)

    @rule(before=INSTANTS)
    def expire(self, before):
        Retention(self.storage, pause=lambda _: None).expire(before_ns=before)
        for request_id in [one for one, (at, _) in self.used.items() if at < before]:
            self._went(request_id)

    @rule()
    def rebuild_changes_nothing(self):
        before = self._tables()
        with self.storage.writing() as connection:
            report = SourceAggregates(connection).rebuild()
        assert report.corrected == 0
        assert self._tables() == before

    @invariant()
    def every_source_has_the_sums_of_its_requests(self):
        expected = {}
        history = [(*self.used[one], self.rated.get(one, (None, None))[1]) for one in self.used] + self.gone
        for at, tokens, rating in history:
            for key, count in tokens.items():
                uses = expected.setdefault(key, [])
                uses.append((at, count, rating))
        found = {(m.source_type, m.source_name): m for m in SourceMetrics(self.storage).sources()}
        assert found.keys() == expected.keys()
        for key, uses in expected.items():
            metrics, instants = found[key], [at for at, _, _ in uses]
            ratings = [rating for _, _, rating in uses if rating is not None]
            assert metrics.usage_count == len(uses) >= metrics.feedback_count == len(ratings)
            assert metrics.total_tokens == sum(count for _, count, _ in uses)
            assert metrics.average_tokens == metrics.total_tokens / metrics.usage_count
            assert abs(metrics.average_rating - (sum(ratings) / len(ratings) if ratings else 0.0)) < 1e-9
            assert (metrics.last_used, metrics.created_at) == (max(instants), min(instants))
            assert metrics.last_used >= metrics.created_at

    @invariant()
    def bounded_sums_agree_with_the_captures(self):
        since, until = START + DAY + HOUR // 2, START + 3 * DAY + HOUR // 3
        if self.gone:
            return  # what was deleted is known by the day only
        found = {}
        for m in SourceMetrics(self.storage).sources(SourceFilters(since=since, until=until)):
            found[m.source_type, m.source_name] = (m.usage_count, m.total_tokens)
        expected: dict = {}
        for at, tokens in self.used.values():
            if since <= at < until:
                for key, count in tokens.items():
                    uses, total = expected.get(key, (0, 0))
                    expected[key] = (uses + 1, total + count)
        assert found == expected

    @invariant()
    def the_summary_counts_all(self):
        summary = SourceMetrics(self.storage).summary()
        assert summary.total_requests == len(self.used) + len(self.gone)
        assert summary.feedback_count == len(self.rated) + sum(rating is not None for *_, rating in self.gone)

    def _went(self, request_id):
        at, tokens = self.used.pop(request_id)
        self.gone.append((at, tokens, self.rated.pop(request_id, (None, None))[1]))

    def _tables(self):
        run = self.storage._connection.execute
        return [[tuple(row) for row in run(f"SELECT * FROM {table} ORDER BY 1, 2")] for table in TABLES]


TestAggregates = Aggregates.TestCase
TestAggregates.settings = settings(
    max_examples=20, stateful_step_count=15, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_wrong_total_is_corrected_and_counted(tmp_path):
    with CaptureStorage(tmp_path / "captures.db") as storage:
        use(storage, 1, [(SOURCES[1], 5)], at=START)
        run = storage._connection.execute
        right = [tuple(row) for row in run("SELECT * FROM context_source_metrics")]
        run("UPDATE context_source_metrics SET total_tokens = 99, last_used = 1 WHERE source_name = 'vectorize'")
        run("DELETE FROM source_hours")
        with storage.writing() as connection:
            report = SourceAggregates(connection).rebuild()
        assert (report.sources, report.corrected) == (2, 1)
        assert [tuple(row) for row in run("SELECT * FROM context_source_metrics")] == right


def test_a_source_that_no_request_has_any_more_is_gone(tmp_path):
    with CaptureStorage(tmp_path / "captures.db") as storage:
        request_id = use(storage, 1, [(SOURCES[1], 5)], at=START)
        explain(storage, request_id, [], version="2")
        assert [m.source_name for m in SourceMetrics(storage).sources()] == ["User"]
