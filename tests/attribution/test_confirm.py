"""Evidence names what the rules leave unclassified, confirms what they suppose, and overrules nothing."""

from __future__ import annotations

from dataclasses import dataclass

from claudeproxy.model import Source, SourceType
from tests.attribution.bodies import (
    BILLING,
    CLAUDE,
    body,
    check_partition,
    engine,
    headers,
    holders,
    labels,
    reminder,
    system,
    text,
    tool,
    user,
)

NEW = Source(type=SourceType.FRAMEWORK, name="reminder of tomorrow")
UNKNOWN = "Words that no rule has ever seen."


@dataclass
class Says:
    """Evidence that knows one text."""

    text: str
    source: Source = NEW

    def agent_call(self, session_id: str, prompt: str) -> None:
        return None

    def injected(self, session_id: str, text: str) -> Source | None:
        return self.source if (session_id, text.strip()) == ("s", self.text) else None

    def whole_texts(self, session_id: str | None, owner: str) -> tuple[()]:
        return ()


def analyze(evidence: Says, *messages: object, session: str = "s"):
    request = body(user(reminder("# claudeMd"), text("go")), *messages, system=[text(BILLING)], tools=[tool("Read")])
    sender = headers(x_claude_code_session_id=session) if session else ()
    found = engine().analyze_request(request, headers=CLAUDE + sender, evidence=evidence)
    check_partition(request, found)
    return found


def test_an_unknown_item_is_named():
    found = analyze(Says(UNKNOWN), system(UNKNOWN))
    (segment,) = holders(found, UNKNOWN)
    assert (segment.source, segment.rule, segment.confidence) == (NEW, "evidence.transcript", 1.0)


def test_without_evidence_it_stays_unknown():
    """In another session, without one, or where nobody says anything."""
    before = labels(analyze(Says(UNKNOWN), system(UNKNOWN), session="other"), UNKNOWN)
    assert before == labels(analyze(Says(UNKNOWN), system(UNKNOWN), session=""), UNKNOWN)
    assert before == labels(analyze(Says("other"), system(UNKNOWN)), UNKNOWN)
    assert NEW.label not in before


def test_what_a_person_typed_is_never_renamed():
    """Although the client may have injected the same words elsewhere."""
    assert labels(analyze(Says(UNKNOWN), user(text(UNKNOWN))), UNKNOWN) == {"User"}


def test_a_rule_that_is_sure_is_not_overruled():
    date = "Today's date is 2026-11-22."
    assert labels(analyze(Says(date), system(date)), date) == {"Framework: date"}
