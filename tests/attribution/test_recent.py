"""What is taken over from the turn before: only what would be found again, and no more than fits."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from claudeproxy.attribution.recent import Divided, Recent
from claudeproxy.model import Source, SourceType
from claudeproxy.sansio.messages import layout
from tests.attribution.bodies import CLAUDE, DATE, body, engine, headers, labels, reminder, said, text, tool, use, user
from tests.attribution.test_confirm import UNKNOWN, Says
from tests.sansio.growing import bodies


@settings(max_examples=60, deadline=None)
@given(bodies())
def test_a_request_is_divided_as_if_there_had_been_none_before_it(sequence):
    warm = engine()
    for request in sequence:
        assert warm.analyze_request(request, headers=CLAUDE) == engine().analyze_request(request, headers=CLAUDE)


def test_evidence_that_comes_later_is_heard_for_a_block_that_was_explained_before():
    request = body(user(reminder(DATE), reminder(UNKNOWN), text("go")), tools=[tool("Read")])
    sender = CLAUDE + headers(x_claude_code_session_id="s")
    later = Source(type=SourceType.FRAMEWORK, name="heard of later")
    warm = engine()
    for said_of, owner in (("nothing", "Framework: unclassified"), (UNKNOWN, "Framework: heard of later")):
        found = warm.analyze_request(request, headers=sender, evidence=Says(said_of, later))
        assert labels(found, UNKNOWN) == {owner}


def test_a_tool_that_joins_leaves_the_conversation_behind_it_as_it_was():
    """The tools stand before all messages of a prompt, and the blocks of those then stand elsewhere in it."""
    talk = [user(reminder(DATE), text("go")), said(use("t", "mcp__docs__find"))]
    warm = engine()
    for tools in ([tool("Read")], [tool("Read"), tool("mcp__docs__find")], [tool("mcp__docs__find")]):
        request = body(*talk, tools=tools)
        assert warm.analyze_request(request, headers=CLAUDE) == engine().analyze_request(request, headers=CLAUDE)


def divided(name: str, turns: int, length: int) -> Divided:
    request = {"messages": [user(text(f"{name} {number}")) for number in range(turns)]}
    return Divided(blocks=layout(json.dumps(request).encode()).blocks, length=length)


def test_one_request_of_each_conversation_is_kept():
    recent = Recent(1000)
    for turns in (2, 3, 4):
        recent.keep(divided("one", turns, 10))
        recent.keep(divided("other", turns, 10))
    assert [len(one.blocks) for one in recent._kept] == [4, 4]


@pytest.mark.parametrize(
    ("lengths", "kept"), [((40, 40, 40), 2), ((10, 10, 101), 2), ((100, 10), 1), ((), 0), ((1,) * 9, 8)]
)
def test_what_is_kept_is_bounded_by_the_bytes_of_the_bodies_and_their_number(lengths, kept):
    recent = Recent(100)
    for number, length in enumerate(lengths):
        recent.keep(divided(f"bounded {number} {length}", 2, length))
    assert len(recent._kept) == kept
    assert recent.most_like(()).length in (*lengths, 0)
