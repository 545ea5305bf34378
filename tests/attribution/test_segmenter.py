"""Where items begin in injected text."""

from __future__ import annotations

import pytest

from claudeproxy.attribution.names import tool
from claudeproxy.attribution.rulebook import DEFAULT
from claudeproxy.attribution.scene import Place, Role, Scene
from claudeproxy.attribution.segmenter import MAX_CANDIDATES, split_injected, split_reminder, split_result
from claudeproxy.attribution.spans import Claim
from tests.attribution.bodies import DATE, ENVIRONMENT, STYLE_REMINDER

PLACE = Place(role=Role.INJECTED)
HOOK = "UserPromptSubmit hook success: hook"
SKILLS = "The following skills are available for use with the Skill tool:\n\n- a: b"


def names(text: str) -> list[str]:
    spans = split_injected(text, 0, len(text), DEFAULT, Scene(), PLACE)
    assert [span.start for span in spans[1:]] == [span.end for span in spans[:-1]]
    return [str(span.claim.source.name) for span in spans]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([ENVIRONMENT, HOOK, DATE], ["environment", "UserPromptSubmit", "date"]),
        ([HOOK, ENVIRONMENT, DATE], ["UserPromptSubmit", "date"]),
        ([HOOK, HOOK], ["UserPromptSubmit"]),
        ([STYLE_REMINDER, STYLE_REMINDER, HOOK], ["output style", "UserPromptSubmit"]),
        ([SKILLS, DATE, SKILLS, DATE], ["skills listing", "a", "date"]),
        (["", "", DATE], ["unclassified", "date"]),
        (["what", ENVIRONMENT, "more"], ["unclassified", "environment", "unclassified"]),
        ([f"{DATE}\nsecond line"], ["unclassified"]),
    ],
)
def test_the_reading_that_fits_the_order_is_taken(items, expected):
    """An open item keeps what would not stand there; a closed one keeps nothing."""
    assert names("\n\n".join(items)) in (expected, expected[1:] if expected[0] == "unclassified" else expected)


def test_more_candidates_than_are_searched_are_each_taken():
    """The search is quadratic: beyond the limit every candidate counts."""
    found = names("\n\n".join([HOOK, DATE] * MAX_CANDIDATES))
    assert len(found) == 2 * MAX_CANDIDATES


def test_a_reminder_is_one_item_between_its_tags():
    """Whatever tags stand inside."""
    text = f"<system-reminder>\n{HOOK}\n</system-reminder>\n<system-reminder>\n{DATE}\n</system-reminder>\n"
    spans = split_reminder(text, DEFAULT, Scene(), PLACE)
    assert [span.claim.kind for span in spans] == ["wrapper", "body", "wrapper"]
    assert text[spans[1].start : spans[1].end].endswith(DATE)


def test_an_empty_reminder_is_all_wrapper():
    """Nothing between the tags."""
    spans = split_reminder("<system-reminder>\n</system-reminder>", DEFAULT, Scene(), PLACE)
    assert [(span.start, span.end, span.claim.kind) for span in spans] == [(0, 36, "wrapper")]


def test_glued_reminders_are_cut_off_one_by_one():
    """The last first, until one does not fit."""
    claim = Claim(source=tool("Read"), kind="result", rule="result.call")
    place = Place(role=Role.RESULT, turn_tools=frozenset({"Read"}), turn_paths=frozenset({"/p/sub/x"}))
    nested = "Contents of /p/sub/CLAUDE.md:\n\ninner\n\n<system-reminder>\nquoted\n</system-reminder>"
    glue = "\n\n<system-reminder>\n{}\n</system-reminder>"
    text = "out" + "".join(glue.format(item) for item in (DATE, nested, STYLE_REMINDER))
    spans = split_result(text, claim, DEFAULT, Scene(glues=True), place)
    owners = [span.claim.source.name for span in spans if span.claim.kind != "wrapper"]
    assert owners == ["Read", "/p/sub/CLAUDE.md", "output style"]
    assert text[: spans[0].end] == "out" + glue.format(DATE)
    assert split_result(text, claim, DEFAULT, Scene(glues=False), place)[0].end == len(text)
