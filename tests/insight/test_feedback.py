from __future__ import annotations

import json
import sqlite3

import pytest

from claudeproxy.errors import ConflictError, NoResponseError, NotFoundError, ValidationError
from claudeproxy.insight.feedback import FeedbackManager
from claudeproxy.insight.values import FeedbackFilters
from claudeproxy.logs import configure_logging
from claudeproxy.store.storage import CaptureStorage
from tests.insight.using import DOCS, DOCS_VIA, SKILL, USER, use
from tests.store.exchanges import START


@pytest.fixture
def rated(storage):
    return use(storage, 0, [(DOCS, 30), (DOCS_VIA, 10), (USER, 60)], at=START)


def rows(storage):
    run = storage._connection.execute
    return [[tuple(row) for row in run(f"SELECT * FROM {t}")] for t in ("context_source_metrics", "source_hours")]


def test_a_rating_comes_back_as_it_was_given(storage, feedback, rated):
    made = feedback.submit_feedback(rated, 0.5, "rather good", "ann")
    assert (made.request_id, made.rating, made.feedback_text, made.user_id) == (rated, 0.5, "rather good", "ann")
    assert made.response_id == storage.get_response(rated).id
    assert made.submitted_at == START
    assert feedback.get_feedback(made.id) == feedback.get_feedback_by_request(rated) == made


def test_affected_sources_are_named_once_each_the_largest_first(feedback, rated):
    """One server behind two plugins is one source; a source without a name goes by its type."""
    assert feedback.submit_feedback(rated, 1).affected_sources == ("User", "context7")


def test_it_is_in_the_metrics_at_once(feedback, metrics, rated):
    feedback.submit_feedback(rated, -0.25)
    by_name = {m.source_name: m for m in metrics.sources()}
    assert {name: (m.usage_count, m.feedback_count, m.average_rating) for name, m in by_name.items()} == {
        "User": (1, 1, -0.25),
        "context7": (1, 1, -0.25),
    }


def test_taking_it_back_leaves_no_trace(storage, feedback, rated):
    before = rows(storage)
    made = feedback.submit_feedback(rated, 0.123456, "x")
    changed = feedback.update_feedback(made.id, rating=-1.0, feedback_text=None)
    assert (changed.rating, changed.feedback_text, changed.submitted_at) == (-1.0, None, made.submitted_at)
    assert feedback.delete_feedback(made.id) == changed
    assert rows(storage) == before
    with pytest.raises(NotFoundError):
        feedback.get_feedback(made.id)


def test_an_update_changes_what_is_given_and_nothing_else(feedback, rated):
    made = feedback.submit_feedback(rated, 0.5, "text")
    assert feedback.update_feedback(made.id) == made
    assert feedback.update_feedback(made.id, rating=0.75).feedback_text == "text"
    assert feedback.update_feedback(made.id, feedback_text="other").rating == 0.75


def test_feedback_does_not_count_as_use(feedback, metrics, rated):
    before = {m.source_name: (m.last_used, m.created_at, m.usage_count) for m in metrics.sources()}
    feedback.submit_feedback(rated, 0.5)
    assert {m.source_name: (m.last_used, m.created_at, m.usage_count) for m in metrics.sources()} == before


def test_a_second_rating_is_a_conflict_that_names_the_first(feedback, rated):
    made = feedback.submit_feedback(rated, 0.5)
    with pytest.raises(ConflictError) as caught:
        feedback.submit_feedback(rated, 0.6)
    assert caught.value.existing == made.id


def test_an_unknown_request_and_one_without_a_response_are_told_apart(storage, feedback):
    unanswered = use(storage, 1, [(USER, 1)], at=START, answered=False)
    with pytest.raises(NoResponseError, match="no captured response"):
        feedback.submit_feedback(unanswered, 0.5)
    with pytest.raises(NotFoundError) as caught:
        feedback.submit_feedback("11111111-0000-4000-8000-000000000000", 0.5)
    assert not isinstance(caught.value, NoResponseError)


@pytest.mark.parametrize("call", ["get_feedback", "delete_feedback", "update_feedback", "get_feedback_by_request"])
def test_unknown_feedback_is_not_found(feedback, rated, call):
    with pytest.raises(NotFoundError):
        getattr(feedback, call)(rated)


@pytest.mark.parametrize("rating", [1.000001, -1.1, float("nan"), float("inf"), 10**400, True, "1", None, [0]])
def test_a_rating_outside_its_range_names_the_field(feedback, rated, rating):
    with pytest.raises(ValidationError) as caught:
        feedback.submit_feedback(rated, rating)
    assert caught.value.field == "rating"


@pytest.mark.parametrize("rating", [-1, -1.0, 0, -0.0, 1, 1.0, 0.333333])
def test_a_rating_within_its_range_is_kept_to_the_millionth(feedback, rated, rating):
    assert feedback.submit_feedback(rated, rating).rating == rating


@pytest.mark.parametrize("text", ["x" * 2001, 5, "a\0b", "\ud800"])
def test_a_text_that_cannot_be_kept_names_the_field(feedback, rated, text):
    with pytest.raises(ValidationError) as caught:
        feedback.submit_feedback(rated, 0.5, text)
    assert caught.value.field == "feedback_text"


def test_2000_characters_are_kept_of_whatever_width(feedback, rated):
    assert feedback.submit_feedback(rated, 0.5, "😀" * 2000).feedback_text == "😀" * 2000


@pytest.mark.parametrize("user", ["", "u" * 201, 5, "\0"])
def test_a_user_that_is_no_name_names_the_field(feedback, rated, user):
    with pytest.raises(ValidationError) as caught:
        feedback.submit_feedback(rated, 0.5, user_id=user)
    assert caught.value.field == "user_id"


def test_a_list_is_filtered_paged_and_counted(storage, feedback):
    ratings = [-1.0, -0.5, 0.0, 0.5, 1.0]
    for number, rating in enumerate(ratings):
        request_id = use(storage, number, [(SKILL, 5)], at=START)
        feedback.submit_feedback(request_id, rating, user_id="ann" if number % 2 else "bob")

    def listed(**filters):
        page = feedback.list_feedback(FeedbackFilters(**filters))
        return [one.rating for one in page.rows], page.total

    assert listed() == (ratings[::-1], 5)
    assert listed(limit=2, offset=1) == ([0.5, 0.0], 5)
    assert listed(min_rating=0.0) == ([1.0, 0.5, 0.0], 3)
    assert listed(max_rating=-0.5) == ([-0.5, -1.0], 2)
    assert listed(user_id="ann") == ([0.5, -0.5], 2)
    assert listed(since=START + 1, until=START + 3) == ([0.0, -0.5], 2)
    assert listed(min_rating=-0.5, max_rating=0.5, user_id="ann", until=START + 2) == ([-0.5], 1)


def test_a_failed_change_changes_nothing(storage, feedback, rated):
    """Rating and aggregates are one transaction: the totals cannot be touched, so there is no rating either."""
    storage._connection.execute(
        "CREATE TRIGGER broken BEFORE UPDATE ON context_source_metrics BEGIN SELECT raise(ABORT, 'broken'); END"
    )
    before = rows(storage)
    with pytest.raises(Exception, match="broken"):
        feedback.submit_feedback(rated, 0.5)
    assert rows(storage) == before
    assert feedback.list_feedback().total == 0


def test_deleting_the_request_deletes_its_feedback(storage, feedback, rated):
    made = feedback.submit_feedback(rated, 0.5)
    storage._connection.execute("DELETE FROM captured_requests")
    with pytest.raises(NotFoundError):
        feedback.get_feedback(made.id)


def test_the_public_view_has_the_contracts_columns(storage, feedback, rated):
    feedback.submit_feedback(rated, 0.5)
    (row,) = storage._connection.execute("SELECT * FROM quality_feedback").fetchall()
    assert {"id", "request_id", "response_id", "rating", "feedback_text", "user_id", "submitted_at"} <= set(row.keys())
    assert (row["request_id"], row["rating"], row["user_id"]) == (rated, 0.5, "local-user")
    with pytest.raises(sqlite3.IntegrityError):
        storage._connection.execute("UPDATE feedback SET rating = 1000001")


def test_two_processes_rate_without_losing_a_sum(storage, database, metrics):
    ids = [use(storage, number, [(SKILL, 5)], at=START) for number in range(10)]
    with CaptureStorage(database) as other:
        managers = [FeedbackManager(storage), FeedbackManager(other)]
        for number, request_id in enumerate(ids):
            managers[number % 2].submit_feedback(request_id, 0.5)
    skill = next(m for m in metrics.sources() if m.source_name == "vectorize")
    assert (skill.feedback_count, skill.average_rating) == (10, 0.5)


def test_a_change_is_logged_with_the_new_averages(feedback, rated, capsys):
    configure_logging("json", "info")
    try:
        made = feedback.submit_feedback(rated, 0.5)
        feedback.update_feedback(made.id, rating=-0.5)
        feedback.delete_feedback(made.id)
    finally:
        configure_logging("json", "warning")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["feedback submitted", "feedback updated", "feedback deleted"]
    assert {line["feedback_id"] for line in lines} == {made.id}
    assert [line["affected_sources"] for line in lines] == [
        {"User": 0.5, "context7": 0.5},
        {"User": -0.5, "context7": -0.5},
        {"User": 0.0, "context7": 0.0},
    ]


def test_the_manager_can_make_the_aggregates_anew(storage, feedback, rated):
    feedback.submit_feedback(rated, 0.5)
    before = rows(storage)
    storage._connection.execute("UPDATE context_source_metrics SET total_tokens = 7 WHERE source_name = 'User'")
    report = feedback.update_aggregate_metrics()
    assert (report.sources, report.corrected) == (2, 1)
    assert rows(storage) == before
