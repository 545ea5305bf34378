"""What a request carries, before any route sees it. (Every wrong body over HTTP: `test_feedback`.)"""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from claudeproxy.api.bodies import ChangedFeedback, NewFeedback
from claudeproxy.insight.feedback import MAX_TEXT, MAX_USER

ID = "00000000-0000-4000-8000-0000000000FF"


def test_an_id_is_a_uuid_in_any_spelling() -> None:
    assert NewFeedback.model_validate({"request_id": ID, "rating": 1}).request_id == ID.lower()


def test_a_change_knows_what_was_given_from_what_was_left_out() -> None:
    assert ChangedFeedback.model_validate({"feedback_text": None}).model_fields_set == {"feedback_text"}
    assert ChangedFeedback.model_validate({"rating": 0}).model_fields_set == {"rating"}
    with pytest.raises(ValidationError, match="give rating, feedback_text or both"):
        ChangedFeedback.model_validate({})


def test_the_document_states_the_limits_that_the_library_has() -> None:
    properties = NewFeedback.model_json_schema()["properties"]
    text, user = properties["feedback_text"]["anyOf"][0], properties["user_id"]["anyOf"][0]
    assert (text["minLength"], text["maxLength"]) == (0, MAX_TEXT)
    assert (user["minLength"], user["maxLength"]) == (1, MAX_USER)
    assert (properties["rating"]["minimum"], properties["rating"]["maximum"]) == (-1, 1)
    for length, schema in ((MAX_TEXT, "feedback_text"), (MAX_USER, "user_id")):
        NewFeedback.model_validate({"request_id": ID, "rating": 0, schema: "🌿" * length})
        with pytest.raises(ValidationError, match=schema):
            NewFeedback.model_validate({"request_id": ID, "rating": 0, schema: "🌿" * (length + 1)})
