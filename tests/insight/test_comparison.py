from __future__ import annotations

from collections import Counter

import pytest

from claudeproxy.insight.comparison import UNKNOWN, Comparison
from claudeproxy.insight.comparison_values import relative
from claudeproxy.store.aggregates import DAY, HOUR
from claudeproxy.store.retention import Retention
from claudeproxy.store.storage import CaptureStorage
from claudeproxy.testing.conversations import demo_conversation, long_conversation
from tests.insight.billed import Biller
from tests.insight.using import DOCS, SKILL, USER, use
from tests.support.work import calls

MIDNIGHT = 1_790_000_000_000_000_000 // DAY * DAY


@pytest.fixture
def used(storage):
    """The skill grows from day to day, the server goes away, the user stays."""
    for number, (parts, at) in enumerate(
        [
            ([(SKILL, 10), (DOCS, 400), (USER, 5)], MIDNIGHT),
            ([(SKILL, 20), (USER, 5)], MIDNIGHT + DAY + HOUR),
            ([(SKILL, 40), (USER, 5)], MIDNIGHT + 2 * DAY),
            ([(SKILL, 50)], MIDNIGHT + 3 * DAY + 5 * HOUR),
        ]
    ):
        use(storage, number, parts, at=at)
    return storage


def test_a_period_stands_beside_the_one_before(used):
    changes = Comparison(used).sources(since=MIDNIGHT + 2 * DAY, until=MIDNIGHT + 4 * DAY)
    assert [one.source_name for one in changes] == ["context7", "vectorize", "User"]
    docs, skill, user = changes
    assert (docs.now.requests, docs.now.tokens, docs.before.requests, docs.before.tokens) == (0, 0, 1, 400)
    assert (docs.tokens_change, docs.requests_change, docs.average_change) == (-1.0, -1.0, -1.0)
    assert (skill.now.tokens, skill.before.tokens, skill.tokens_change) == (90, 30, 2.0)
    assert (skill.now.average_tokens, skill.before.average_tokens, skill.average_change) == (45.0, 15.0, 2.0)
    assert (user.now.requests, user.before.requests, user.requests_change) == (2, 2, 0.0)
    assert (skill.cost_change, skill.now.cost, skill.now.average_cost, docs.now.average_tokens) == (
        None,
        None,
        None,
        0.0,
    )


def test_what_was_not_used_before_has_no_change(used):
    changes = Comparison(used).sources(since=MIDNIGHT, until=MIDNIGHT + DAY)
    assert {one.source_name: one.tokens_change for one in changes} == dict.fromkeys(("context7", "vectorize", "User"))
    assert relative(3, None) is relative(None, 3) is relative(3, 0) is None
    assert relative(3, 2) == 0.5


def test_a_comparison_may_be_of_one_source(used):
    comparison = Comparison(used)
    bounds = {"since": MIDNIGHT + 2 * DAY, "until": MIDNIGHT + 4 * DAY}
    assert [one.source_name for one in comparison.sources(**bounds, source_type="Skill")] == ["vectorize"]
    assert [one.source_name for one in comparison.sources(**bounds, source_name="context7")] == ["context7"]
    assert [one.source_name for one in comparison.trend(**bounds, source_type="Skill").sources] == ["vectorize"]


def test_a_trend_has_every_day(used):
    trend = Comparison(used).trend(since=MIDNIGHT + HOUR, until=MIDNIGHT + 5 * DAY)
    assert trend.days == [MIDNIGHT + day * DAY for day in range(5)]
    skill, user = trend.sources
    assert (skill.source_name, skill.tokens, skill.requests) == ("vectorize", [0, 20, 40, 50, 0], [0, 1, 1, 1, 0])
    assert user.costs == [None] * 5


def test_comparison_and_trend_outlive_the_captures(used):
    comparison = Comparison(used)
    bounds = {"since": MIDNIGHT + 2 * DAY, "until": MIDNIGHT + 4 * DAY}
    before = comparison.sources(**bounds), comparison.trend(**bounds)
    Retention(used, pause=lambda _: None).expire(before_ns=MIDNIGHT + 3 * DAY)
    assert (comparison.sources(**bounds), comparison.trend(**bounds)) == before


def test_costs_are_compared_where_they_are_known(storage):
    biller = Biller(storage, start=MIDNIGHT)
    biller.talk(demo_conversation())
    biller.now = MIDNIGHT + 2 * DAY
    biller.talk(demo_conversation())
    changes = Comparison(storage).sources(since=MIDNIGHT + 2 * DAY, until=MIDNIGHT + 4 * DAY)
    paid = [one for one in changes if one.now.cost]
    assert all(one.cost_change is not None for one in paid)
    assert sum(one.now.cost for one in paid) == sum(
        row[0]
        for row in storage._connection.execute(
            "SELECT cost FROM requests WHERE request_initiated >= ?", (MIDNIGHT + 2 * DAY,)
        )
    )


def test_sources_consist_of_kinds(storage):
    """As many tokens as the sums by source say, divided as the pieces are, once a ledger has learned a little."""
    biller = Biller(storage)
    for _ in range(4):
        biller.talk(demo_conversation())
    since = biller.now
    ids = biller.talk(demo_conversation())
    told = Comparison(storage).kinds(since=since)
    assert (told.requests, told.complete) == (10, True)
    tokens: Counter[tuple[str, str]] = Counter()
    kinds: Counter[tuple[str, str, str]] = Counter()
    for request_id in ids:
        for one in storage.sources(request_id):
            tokens[one.source.type, one.source.name or str(one.source.type)] += one.token_count
        for piece in storage.attributions(request_id):
            if piece.price_class != "output":
                kinds[piece.source.type, piece.source.name or str(piece.source.type), piece.kind] += piece.token_count
    assert {(one.source_type, one.source_name): one.tokens for one in told.sources} == tokens
    assert all(one.tokens == sum(one.kinds.values()) for one in told.sources)
    found = {(one.source_type, one.source_name, kind): held for one in told.sources for kind, held in one.kinds.items()}
    assert found == {key: pytest.approx(count, rel=0.1, abs=3) for key, count in kinds.items() if count}
    atlas = next(one for one in told.sources if one.source_name == "atlas")
    assert {"instructions", "result"} <= set(atlas.kinds)
    assert list(atlas.kinds.values()) == sorted(atlas.kinds.values(), reverse=True)


def test_kinds_are_of_the_latest_requests_when_there_are_too_many(storage):
    Biller(storage).talk(demo_conversation())
    told = Comparison(storage).kinds(most=3)
    assert (told.requests, told.complete) == (3, False)
    assert sum(one.tokens for one in told.sources) == sum(
        row[0]
        for row in storage._connection.execute("SELECT total_tokens FROM requests ORDER BY n DESC LIMIT 3").fetchall()
    )


def test_kinds_of_captures_without_bills_are_estimates(storage):
    use(storage, 0, [(SKILL, 30), (SKILL, 12)], at=MIDNIGHT)
    use(storage, 1, [(SKILL, 30)], at=MIDNIGHT + DAY)
    told = Comparison(storage).kinds(since=MIDNIGHT, until=MIDNIGHT + HOUR)
    assert [(one.source_name, one.tokens, one.kinds) for one in told.sources if one.tokens] == [
        ("vectorize", 42, {"text": 42})
    ]


def test_tokens_whose_pieces_are_not_known_have_no_kind(storage):
    use(storage, 0, [(SKILL, 30)], at=MIDNIGHT)
    with storage.writing() as connection:
        connection.execute("DELETE FROM request_segments")
    (skill,) = (one for one in Comparison(storage).kinds().sources if one.source_name == "vectorize")
    assert skill.kinds == {UNKNOWN: 30}


def test_nothing_captured_is_nothing(storage):
    comparison = Comparison(storage)
    assert comparison.sources(since=MIDNIGHT, until=MIDNIGHT + DAY) == []
    assert comparison.trend(since=MIDNIGHT, until=MIDNIGHT + DAY).sources == []
    assert comparison.kinds().sources == []


@pytest.mark.heavy
def test_the_kinds_of_four_times_the_turns_are_at_most_four_times_the_work(tmp_path):
    work = {}
    for turns in (50, 200):
        with CaptureStorage(tmp_path / f"{turns}.db") as storage:
            Biller(storage).talk(long_conversation(turns))
            comparison = Comparison(storage)
            assert comparison.kinds().requests > turns
            work[turns] = calls(comparison.kinds)
    assert work[200] < 4 * work[50]
