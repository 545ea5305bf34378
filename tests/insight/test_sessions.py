from __future__ import annotations

from dataclasses import replace

import pytest

from claudeproxy.errors import NotFoundError
from claudeproxy.insight import sessions as module
from claudeproxy.insight import turns
from claudeproxy.insight.session_values import SessionFilters
from claudeproxy.insight.sessions import Sessions
from claudeproxy.model import Answer, Identity, State
from claudeproxy.store.runs import SourceRow, SourceRuns
from claudeproxy.store.storage import CaptureStorage
from tests.store.exchanges import SECOND, START, exchange, in_flight, response
from tests.store.explaining import count, explain
from tests.store.filling import prompt

MAIN = Identity(
    session_id="aaaa-1",
    request_class="main",
    client="claude-cli",
    client_version="2.1.330",
    model="opus",
    project="/w/a",
)
SIDE = replace(MAIN, request_class="auxiliary", project=None, model="haiku")
FAILED = response(status_code=529, answer=Answer(error_type="overloaded_error"))


@pytest.fixture
def sessions(storage):
    return Sessions(storage)


@pytest.fixture
def send(storage):
    """Record and explain the next request: one a second, context tokens as many as its texts are long."""
    numbers = iter(range(1000))

    def one(texts: tuple[str, ...], identity: Identity = MAIN, **changes: object) -> str:
        body = prompt(*texts)
        (request_id,) = storage.record([exchange(next(numbers), body, **changes)], {})
        result = explain(body, identity=identity)
        storage.save_attribution(request_id, result, count(result), rules_version="1")
        return request_id

    return one


def tokens(storage, request_id):
    return storage.get_request(request_id).total_tokens


def test_there_are_no_sessions_at_first(sessions):
    page = sessions.list()
    assert (page.rows, page.total) == ((), 0)


def test_a_session_adds_up_its_requests(storage, sessions, send):
    begins = replace(MAIN, begins_prompt=True)
    ids = [send(("a",), begins), send(("a", "b", "c")), send(("a", "b", "c", "d", "e"), begins), send(("t",), SIDE)]
    (found,) = sessions.list().rows
    assert (found.session_id, found.project, found.client, found.client_version) == (
        "aaaa-1",
        "/w/a",
        "claude-cli",
        "2.1.330",
    )
    assert (found.agents, found.prompts, found.turns) == (0, 2, 3)
    totals = found.totals
    assert (totals.requests, totals.retries, totals.failed, totals.in_flight) == (4, 0, 0, 0)
    assert totals.tokens == sum(tokens(storage, one) for one in ids)
    assert totals.output_tokens == 4 * 12
    assert totals.billed_tokens == sum(4 + 1000 + number for number in range(4))
    assert totals.cache_read_tokens == sum(1000 + number for number in range(4))
    assert totals.cache_share == pytest.approx(4006 / 4022)
    assert (totals.started, totals.ended) == (START, START + 3 * SECOND + 90_000_000)
    assert totals.models == ("haiku", "opus")
    assert totals.cost is None


def test_attempts_are_listed_and_their_context_counts_once(storage, sessions, send):
    first = send(("a",), response=FAILED)
    second = send(("a",), state=State.CUT_BY_UPSTREAM)
    third = send(("a",))
    detail = sessions.get("aaaa-1")
    assert detail.summary.totals.requests == 3
    assert (detail.summary.totals.retries, detail.summary.totals.failed) == (2, 2)
    assert detail.summary.totals.tokens == tokens(storage, first)
    (turn,) = detail.turns
    assert (turn.prompt_index, turn.turn_index, turn.state) == (1, 1, State.COMPLETE)
    assert turn.tokens == tokens(storage, first)
    assert [(one.id, one.retry_of) for one in turn.requests] == [(first, None), (second, first), (third, first)]
    assert [one.error for one in turn.requests] == ["overloaded_error", None, None]
    assert [one.status_code for one in turn.requests] == [529, 200, 200]


def test_the_attempt_that_was_billed_last_is_the_one_that_counts(storage, sessions, send):
    """Numbers settle at the bill: those of an attempt that failed are estimates."""
    first = send(("a",), response=FAILED)
    send(("a",))
    with storage.writing() as connection:
        connection.execute("UPDATE requests SET total_tokens = 7 WHERE retry_of IS NOT NULL")
        assert connection.execute("SELECT count(*) FROM requests WHERE total_tokens = 7").fetchone()[0] == 1
    assert sessions.get("aaaa-1").summary.totals.tokens == 7
    with storage.writing() as connection:
        connection.execute("UPDATE requests SET total_tokens = NULL WHERE retry_of IS NOT NULL")
    assert sessions.get("aaaa-1").summary.totals.tokens == tokens(storage, first)


def test_counting_tokens_and_side_calls_are_no_turns(storage, sessions, send):
    turn = send(("a",))
    side = send(("title?",), SIDE)
    counted = send(("a", "b", "c"), replace(MAIN, request_class="count_tokens"))
    detail = sessions.get("aaaa-1")
    assert [one.requests[0].id for one in detail.turns] == [turn]
    assert [one.id for one in detail.others] == [side, counted]
    assert detail.summary.totals.tokens == tokens(storage, turn) + tokens(storage, side)


def test_costs_are_those_of_every_attempt(storage, sessions, send):
    send(("a",), response=FAILED)
    send(("a",))
    send(("a", "b", "c"))
    with storage.writing() as connection:
        for number in (1, 2, 3):
            cost = 5 if number < 3 else 0
            SourceRuns(connection).write(number, [SourceRow(1, 10, accuracy=0, cost=cost, segments=1)])
        if "cost" in {row["name"] for row in connection.execute("PRAGMA table_info(requests)")}:
            connection.execute("UPDATE requests SET cost = iif(n < 3, 5, 0)")
    detail = sessions.get("aaaa-1")
    assert detail.summary.totals.cost == 10
    assert [turn.cost for turn in detail.turns] == [10, 0]


def test_agents_stand_under_the_ones_that_called_them(storage, sessions, send):
    explore = replace(MAIN, agent_id="e1", agent_type="Explore", request_class="subagent")
    nested = replace(explore, agent_id="n1", parent_agent_id="e1", agent_type="general-purpose")
    main = send(("a",))
    asked = [send(("look",), explore), send(("look", "b", "c"), explore)]
    send(("deeper",), nested)
    send(("other",), replace(explore, agent_id="e2"))
    detail = sessions.get("aaaa-1")
    (root,) = detail.agents
    assert (root.agent_id, root.agent_type, root.totals.requests) == (None, None, 1)
    assert root.totals.tokens == tokens(storage, main)
    assert [(one.agent_id, one.agent_type) for one in root.children] == [("e1", "Explore"), ("e2", "Explore")]
    first = root.children[0]
    assert (first.totals.requests, first.totals.output_tokens) == (2, 24)
    assert first.totals.tokens == sum(tokens(storage, one) for one in asked)
    assert [(one.agent_id, one.parent_agent_id) for one in first.children] == [("n1", "e1")]
    assert detail.summary.agents == 3
    assert [(turn.agent_id, turn.turn_index) for turn in detail.turns] == [
        (None, 1),
        ("e1", 1),
        ("e1", 2),
        ("n1", 1),
        ("e2", 1),
    ]


def test_agents_without_a_way_to_the_main_conversation_are_put_there(sessions, send):
    """Parents are what a client says: unknown ones, circles and itself."""
    send(("a",))
    for agent, parent in (("x", "y"), ("y", "x"), ("self", "self"), ("lost", "never-seen")):
        send((agent,), replace(MAIN, agent_id=agent, parent_agent_id=parent))
    (root,) = sessions.get("aaaa-1").agents

    def ids(agent):
        return [found for child in agent.children for found in (child.agent_id, *ids(child))]

    assert sorted(ids(root)) == ["lost", "self", "x", "y"]


def test_a_long_line_of_agents_is_no_danger(sessions, send):
    for number in range(100):
        send((str(number),), replace(MAIN, agent_id=f"a{number}", parent_agent_id=f"a{number + 1}"))
    roots = sessions.get("aaaa-1").agents

    def depth(agent):
        return 1 + max((depth(child) for child in agent.children), default=0)

    assert max(map(depth, roots)) <= 33


def test_subagents_that_nothing_names_are_apart_from_the_main_conversation(sessions, send):
    send(("a",))
    send(("b",), replace(MAIN, request_class="subagent", agent_type="unknown"))
    (root,) = sessions.get("aaaa-1").agents
    assert root.totals.requests == 1
    assert [(one.agent_id, one.agent_type, one.totals.requests) for one in root.children] == [(None, "unknown", 1)]


def test_a_session_of_subagents_alone_has_them_as_roots(sessions, send):
    send(("a",), replace(MAIN, agent_id="x"))
    send(("b",), replace(MAIN, agent_id="y", parent_agent_id="x"))
    (root,) = sessions.get("aaaa-1").agents
    assert (root.agent_id, [child.agent_id for child in root.children]) == ("x", ["y"])


def test_what_is_not_explained_yet_has_no_tokens(storage, sessions):
    """The session of a request in flight may be known from its head alone."""
    storage.record([in_flight(0)], {})
    with storage.writing() as connection:
        connection.execute("UPDATE requests SET session_id = 'aaaa-1'")
    detail = sessions.get("aaaa-1")
    assert (detail.summary.totals.in_flight, detail.summary.totals.failed, detail.summary.totals.tokens) == (1, 0, 0)
    assert [(one.state, one.tokens) for one in detail.others] == [(State.IN_FLIGHT, None)]


def test_the_last_active_session_comes_first(sessions, send):
    for session in ("aaaa-1", "bbbb-1", "aaaa-1", "cccc-1", "bbbb-1"):
        send((session,), replace(MAIN, session_id=session))
    send(("none",), replace(MAIN, session_id=None))

    def listed(**filters):
        page = sessions.list(SessionFilters(**filters))
        return [one.session_id for one in page.rows], page.total

    assert listed() == (["bbbb-1", "cccc-1", "aaaa-1"], 3)
    assert listed(limit=1, offset=1) == (["cccc-1"], 3)
    assert listed(since=START + 3 * SECOND) == (["bbbb-1", "cccc-1"], 2)
    assert listed(until=START + 1) == (["aaaa-1"], 1)
    assert listed(since=START + 1, until=START + 2) == ([], 0)
    assert sessions.list(SessionFilters(until=START + 1)).rows[0].totals.requests == 2


def test_a_project_is_a_directory_or_its_last_parts(sessions, send):
    send(("a",), replace(MAIN, project="/home/ann/work/shop"))
    send(("b",), SIDE)  # which knows no project
    send(("c",), replace(MAIN, session_id="bbbb-1", project="/home/ann/work/workshop"))

    def listed(project):
        return [one.session_id for one in sessions.list(SessionFilters(project=project)).rows]

    assert listed("/home/ann/work/shop") == listed("work/shop") == listed("shop") == ["aaaa-1"]
    assert listed("hop") == []
    assert sessions.list(SessionFilters(project="shop")).rows[0].project == "/home/ann/work/shop"


def test_an_id_may_be_its_beginning(sessions, send):
    for session in ("aaaa-1", "aaaa-12", "bbbb-1"):
        send((session,), replace(MAIN, session_id=session))
    assert sessions.get("bb").summary.session_id == "bbbb-1"
    assert sessions.get("aaaa-1").summary.session_id == "aaaa-1"  # whole, although another one begins so
    with pytest.raises(NotFoundError, match="several") as several:
        sessions.get("aaaa")
    assert several.value.near == ("aaaa-1", "aaaa-12")
    with pytest.raises(NotFoundError) as unknown:
        sessions.get("bbbb-2")
    assert unknown.value.near == ("bbbb-1",)
    for nothing in ("", "zzzz"):
        with pytest.raises(NotFoundError) as empty:
            sessions.get(nothing)
        assert empty.value.near == ()


def test_sessions_are_read_from_a_read_only_storage(storage, database, send):
    send(("a",))
    with CaptureStorage(database, read_only=True) as reader:
        assert Sessions(reader).list().total == 1


def test_sessions_are_found_by_their_index(storage):
    def plan(statement, parameters):
        rows = storage._connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row["detail"] for row in rows.fetchall()]

    condition, given = module._condition(SessionFilters(since=1))
    steps = plan(module.MATCHING.format(condition=condition), given)
    assert any("USING COVERING INDEX requests_session" in step for step in steps)
    for statement in (module.BY_SESSION, module.BY_AGENT):
        steps = plan(statement, {"sessions": "[]"})
        assert any("q USING INDEX requests_session" in step for step in steps)
        assert any("requests_retry" in step for step in steps)
    assert any("q USING INDEX requests_session" in step for step in plan(turns.PLACES, ("s",)))
