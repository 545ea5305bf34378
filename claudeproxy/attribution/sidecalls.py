"""Cuts the prompts of side calls, in which the client quotes the conversation to a small model.

Apart because these quotations stand outside the conversation and keep little of it: a title's digest says who spoke,
not what the words were then (a prompt, a command, an agent's task). So each piece goes to the speaker that the client
names, with the kind ``quote``; the words around it are the client's own. A quotation may hold a label itself, and
nothing escapes it: hence the lower confidence of digests. Forms: design notes on the wire, section 4.2 (measured).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import USER, tool
from claudeproxy.attribution.spans import Claim, Span
from claudeproxy.model import Source, SourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

_CALLS = Source(type=SourceType.ASSISTANT, name="tool calls")
_SAID = Source(type=SourceType.ASSISTANT, name="text")


@dataclass(frozen=True, slots=True, kw_only=True)
class SideCall:
    """One form. `pattern` matches the whole text; its groups are the quotations, `quotes` says whose each is."""

    id: str
    pattern: re.Pattern[str]
    quotes: Mapping[str, Source]
    example: str
    counter_example: str


FORMS = (
    SideCall(
        id="side-call.prefix",
        pattern=re.compile(r"<policy_spec>\n.*?\n\nCommand: (?P<command>.*)\Z", re.DOTALL),
        quotes={"command": _CALLS},
        example="<policy_spec>\n# Prefixes\n\nCommand: git status",
        counter_example="<policy_spec>",
    ),
    SideCall(
        id="side-call.paths",
        pattern=re.compile(r"Command: (?P<command>.*?)\nOutput: (?P<output>.*)\Z", re.DOTALL),
        quotes={"command": _CALLS, "output": tool("Bash")},
        example="Command: cat a.txt\nOutput: words\n\n",
        counter_example="Command: cat a.txt",
    ),
    SideCall(
        id="side-call.session-title",
        pattern=re.compile(r"<session>\n(?P<prompt>.*)\n</session>\s*\Z", re.DOTALL),
        quotes={"prompt": USER},
        example="<session>\nfix the tests\n</session>",
        counter_example="<session> fix </session>",
    ),
    SideCall(
        id="side-call.search",
        pattern=re.compile(r"Perform a web search for the query: (?P<query>.*)\Z", re.DOTALL),
        quotes={"query": _CALLS},
        example="Perform a web search for the query: splines",
        counter_example="Perform a search",
    ),
)
_DIGEST = re.compile(
    r"Please write a \d+-\d+ word title for the following conversation:\n\n(?P<digest>.*)"
    r"\n\nRespond with the title for the conversation and nothing else\.\s*\Z",
    re.DOTALL,
)
_ADDED = re.compile(
    r".*\nAdditional Instructions:\n(?P<added>.*?)(?:\n\nREMINDER: Do NOT call any tools\.[^\n]*)?\s*\Z", re.DOTALL
)
_SPEAKER = re.compile(r"(?:\A|(?<=\n\n))(?P<speaker>User|Claude): ?")
_SPEAKERS = {"User": USER, "Claude": _SAID}


def divide_side_call(text: str, claim: Claim) -> list[Span]:
    """Return spans for what a side call's prompt quotes; the rest is left to `claim`, the client's own."""
    for form in FORMS:
        found = form.pattern.match(text)
        if found is not None:
            return [
                Span(found.start(group), found.end(group), replace(claim, source=source, kind="quote", rule=form.id))
                for group, source in form.quotes.items()
            ]
    digest = _DIGEST.match(text)
    return _divide_digest(text, digest.start("digest"), digest.end("digest"), claim) if digest else []


def divide_compaction(text: str, claim: Claim) -> list[Span]:
    """Return the span of what the client was told to add to its request for a summary.

    It joins the words behind ``/compact`` and those of PreCompact hooks without a mark between them: both are given to
    the user, whose the request for them is in any case.
    """
    found = _ADDED.search(text)
    if found is None:
        return []
    own = replace(claim, source=USER, kind="instructions", rule="compaction.added", confidence=0.7)
    return [Span(found.start("added"), found.end("added"), own)]


def _divide_digest(text: str, start: int, end: int, claim: Claim) -> list[Span]:
    spoken = [
        (start + match.end(), start + match.start(), _SPEAKERS[match["speaker"]])
        for match in _SPEAKER.finditer(text[start:end])
    ]
    spans = []
    for number, (begin, _label, source) in enumerate(spoken):
        stop = spoken[number + 1][1] if number + 1 < len(spoken) else end
        quote = replace(claim, source=source, kind="quote", rule="side-call.digest", confidence=0.6)
        spans.append(Span(begin, stop, quote))
    return spans
