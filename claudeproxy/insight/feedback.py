"""`FeedbackManager`: what people thought of an answer, one rating a request.

Each change moves the rating and the numbers of every source in the request's context in one transaction
(`store.aggregates`), so that no reader sees one without the other and taking a rating back leaves no trace. Apart from
`metrics`, which only reads.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from claudeproxy.errors import ConflictError, NoResponseError, NotFoundError, ValidationError
from claudeproxy.insight.values import UNCHANGED, FeedbackFilters, FeedbackPage, QualityFeedback, Unchanged
from claudeproxy.logs import get_logger
from claudeproxy.store.aggregates import SourceAggregates
from claudeproxy.store.queries import REQUEST_IDS, find

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from claudeproxy.store.aggregates import RebuildReport
    from claudeproxy.store.storage import CaptureStorage

log = get_logger(__name__)

MAX_TEXT = 2_000  # characters (code points)
MAX_USER = 200
LOCAL_USER = "local-user"
_SCALE = 1_000_000  # ratings are kept in millionths

_LIST = "SELECT * FROM quality_feedback WHERE {} ORDER BY submitted_at DESC, n DESC LIMIT :limit OFFSET :offset"
_AFFECTED = """
SELECT m.source_name, m.average_rating FROM (
  SELECT o.type AS type, ifnull(o.name, o.type) AS name, sum(s.tokens) AS tokens
  FROM request_sources s JOIN sources o ON o.id = s.source WHERE s.request = ? AND NOT s.output GROUP BY 1, 2) u
CROSS JOIN context_source_metrics m ON m.source_type = u.type AND m.source_name = u.name
ORDER BY u.tokens DESC, m.source_name, m.source_type
"""


@dataclass(frozen=True, slots=True)
class _Change:
    feedback: QualityFeedback
    averages: dict[str, float]  # of the affected sources, after the change


class FeedbackManager:
    """Ratings in an open, writable `CaptureStorage`. As that, to be used by one thread at a time.

    :param clock: gives the time of submission, ns since the epoch.
    """

    def __init__(self, storage: CaptureStorage, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._storage = storage
        self._clock = clock

    def submit_feedback(
        self, request_id: str, rating: float, feedback_text: str | None = None, user_id: str = LOCAL_USER
    ) -> QualityFeedback:
        """Rate the answer to a request (by its id, or a beginning of one).

        :raises ValidationError: the rating is not in [-1, 1], a text is too long; names the field.
        :raises NotFoundError: no such request. NoResponseError: it has no response.
        :raises ConflictError: it has feedback; that is to be updated.
        """
        values = {"rating": _rating(rating), "text": _text(feedback_text), "user": _user(user_id)}
        with self._storage.writing() as connection:
            number = find(connection, request_id, REQUEST_IDS, "request")
            if connection.execute("SELECT 1 FROM responses WHERE request = ?", (number,)).fetchone() is None:
                raise NoResponseError(f"request {request_id} has no captured response to rate")
            existing = connection.execute("SELECT id FROM feedback WHERE request = ?", (number,)).fetchone()
            if existing is not None:
                raise ConflictError(f"request {request_id} has feedback {existing[0]}", existing=existing[0])
            with SourceAggregates(connection).changing(number):
                connection.execute(
                    "INSERT INTO feedback (request, id, rating, feedback_text, user_id, submitted_at)"
                    " VALUES (:number, :id, :rating, :text, :user, :at)",
                    {**values, "number": number, "id": str(uuid.uuid4()), "at": self._clock()},
                )
            change = _change(connection, number)
        return _logged("feedback submitted", change)

    def update_feedback(
        self,
        feedback_id: str,
        *,
        rating: float | Unchanged = UNCHANGED,
        feedback_text: str | Unchanged | None = UNCHANGED,
    ) -> QualityFeedback:
        """Change a rating, a text (None removes it), or both. The time of submission stays.

        :raises ValidationError: see `submit_feedback`.
        :raises NotFoundError: no such feedback.
        """
        values: dict[str, int | str | None] = {}
        if not isinstance(rating, Unchanged):
            values["rating"] = _rating(rating)
        if not isinstance(feedback_text, Unchanged):
            values["feedback_text"] = _text(feedback_text)
        with self._storage.writing() as connection:
            number = _number(connection, feedback_id)
            with SourceAggregates(connection).changing(number):
                for column, value in values.items():
                    connection.execute(f"UPDATE feedback SET {column} = ? WHERE request = ?", (value, number))  # noqa: S608
            change = _change(connection, number)
        return _logged("feedback updated", change)

    def delete_feedback(self, feedback_id: str) -> QualityFeedback:
        """Take a rating back; return what it was.

        :raises NotFoundError: no such feedback.
        """
        with self._storage.writing() as connection:
            number = _number(connection, feedback_id)
            was = _change(connection, number).feedback
            with SourceAggregates(connection).changing(number):
                connection.execute("DELETE FROM feedback WHERE request = ?", (number,))
            change = _Change(was, _averages(connection, number))
        return _logged("feedback deleted", change)

    def get_feedback(self, feedback_id: str) -> QualityFeedback:
        """Return one rating by its id, or a beginning of one.

        :raises NotFoundError: no such feedback.
        """
        with self._storage.reading() as connection:
            return _change(connection, _number(connection, feedback_id)).feedback

    def get_feedback_by_request(self, request_id: str) -> QualityFeedback:
        """Return the rating of a request.

        :raises NotFoundError: no such request, or it has none.
        """
        with self._storage.reading() as connection:
            number = find(connection, request_id, REQUEST_IDS, "request")
            if connection.execute("SELECT 1 FROM feedback WHERE request = ?", (number,)).fetchone() is None:
                raise NotFoundError(f"request {request_id} has no feedback")
            return _change(connection, number).feedback

    def list_feedback(self, filters: FeedbackFilters | None = None) -> FeedbackPage:
        """Return a page of ratings, the latest submitted first, with the number of all that match."""
        filters = filters or FeedbackFilters()
        where, parameters = ["true"], {"limit": filters.limit, "offset": filters.offset}
        for condition, name, value in (
            ("n IN (SELECT request FROM feedback WHERE rating >= :least)", "least", _millionths(filters.min_rating)),
            ("n IN (SELECT request FROM feedback WHERE rating <= :most)", "most", _millionths(filters.max_rating)),
            ("user_id = :user", "user", filters.user_id),
            ("submitted_at >= :since", "since", filters.since),
            ("submitted_at < :until", "until", filters.until),
        ):
            if value is not None:
                where.append(condition)
                parameters[name] = value  # type: ignore[assignment]
        condition = " AND ".join(where)
        with self._storage.reading() as connection:
            rows = connection.execute(_LIST.format(condition), parameters).fetchall()
            count = connection.execute(f"SELECT count(*) FROM quality_feedback WHERE {condition}", parameters)  # noqa: S608
            return FeedbackPage(rows=[_feedback(connection, row) for row in rows], total=int(count.fetchone()[0]))

    def update_aggregate_metrics(self) -> RebuildReport:
        """Make all source metrics again from the day history and the captures (`claudeproxy metrics rebuild`)."""
        with self._storage.writing() as connection:
            return SourceAggregates(connection).rebuild()


# --- rows ----------------------------------------------------------------------------------------------------------


def _number(connection: sqlite3.Connection, feedback_id: str) -> int:
    return find(connection, feedback_id, (("feedback", "id"),), "feedback")


def _change(connection: sqlite3.Connection, number: int) -> _Change:
    row = connection.execute("SELECT * FROM quality_feedback WHERE n = ?", (number,)).fetchone()
    if row is None:
        raise NotFoundError("the feedback is gone")  # between two statements of a reader
    return _Change(_feedback(connection, row), _averages(connection, number))


def _feedback(connection: sqlite3.Connection, row: sqlite3.Row) -> QualityFeedback:
    return QualityFeedback(
        id=row["id"],
        request_id=row["request_id"],
        response_id=row["response_id"],
        rating=row["rating"],
        feedback_text=row["feedback_text"],
        user_id=row["user_id"],
        submitted_at=row["submitted_at"],
        affected_sources=tuple(_averages(connection, row["n"])),
    )


def _averages(connection: sqlite3.Connection, number: int) -> dict[str, float]:
    return dict(tuple(row) for row in connection.execute(_AFFECTED, (number,)).fetchall())


def _logged(event: str, change: _Change) -> QualityFeedback:
    feedback = change.feedback
    averages = {name: round(average, 4) for name, average in change.averages.items()}
    log.info(
        event,
        feedback_id=feedback.id,
        request_id=feedback.request_id,
        rating=feedback.rating,
        affected_sources=averages,
    )
    return feedback


# --- values from outside -------------------------------------------------------------------------------------------


def _rating(value: object) -> int:
    # NaN compares false with everything; True is a number to Python only.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1 <= value <= 1:
        raise ValidationError("rating: must be a number from -1.0 to 1.0", field="rating")
    return round(value * _SCALE)


def _text(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not _storable(value):
        raise ValidationError("feedback_text: must be text", field="feedback_text")
    if len(value) > MAX_TEXT:
        raise ValidationError(
            f"feedback_text: {len(value)} characters, at most {MAX_TEXT} are kept", field="feedback_text"
        )
    return value


def _user(value: object) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_USER or not _storable(value):
        raise ValidationError(f"user_id: must be text of 1 to {MAX_USER} characters", field="user_id")
    return value


def _storable(text: str) -> bool:
    """SQLite takes UTF-8, and its length() stops at NUL."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _millionths(rating: float | None) -> int | None:
    return None if rating is None else round(rating * _SCALE)
