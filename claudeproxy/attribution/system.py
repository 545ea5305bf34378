"""Explains the blocks of `system`: the client's own prompt, part by part, and what the user put into it.

Apart because text given with ``--append-system-prompt``, ``--system-prompt`` or an agent's file carries no marker at
all: it is found by what it is not. Paragraphs of the client's own prompt are known by fingerprint (hashes, by client
version), the few that vary by project by a marker. What is neither, in a version whose prompt is known, is the user's
(or the agent's); in an unknown version it stays unclassified rather than be blamed on the user.
"""

from __future__ import annotations

import hashlib
import re
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.attribution.appended import split_tail
from claudeproxy.attribution.containers import divide_mcp_instructions
from claudeproxy.attribution.names import UNCLASSIFIED, USER, agent_source, framework
from claudeproxy.attribution.scene import Place, Role
from claudeproxy.attribution.spans import Claim, Span, cover
from claudeproxy.sansio.messages import BILLING_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from claudeproxy.attribution.scene import Scene
    from claudeproxy.model import WholeText

Fingerprints: TypeAlias = "Mapping[str, frozenset[str]]"
"""Client version -> the first 16 hex digits of the SHA-256 of each framework paragraph (evidence/fingerprints.py)."""

IDENTITIES = (
    "You are Claude Code, Anthropic's official CLI for Claude",
    "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
)
SHORT = 20  # paragraphs below this length have no fingerprint
_SHORT_OWN = frozenset({"Examples:"})  # those of the client's own that are no headings (measured, 1.0 to 2.1)

_GIT = re.compile(r"(?:\A|(?<=\n))gitStatus: This is the git status at the start of the conversation\.")
_VARIABLE = (  # paragraphs of the client's own that differ from project to project, with the part they belong to
    (re.compile(r"You have a persistent,? file-based memory"), "memory"),
    (re.compile(r"# Environment\n"), "environment"),
    (re.compile(r"(?:Here is useful information about the environment you are running in:\n)?<env>\n"), "environment"),
    (re.compile(r"(?:Assistant knowledge cutoff is |You are powered by the model )"), "environment"),
    (re.compile(r"<claude_background_info>"), "environment"),
    (re.compile(r"<total_tokens>\d+ tokens left</total_tokens>\Z"), "token budget"),
    (re.compile(r"You can use the following tools without requiring user approval: "), "tool approval"),
    (re.compile(r"# Scratchpad Directory\n"), "scratchpad"),
    (re.compile(r"Notes:\n- "), "agent notes"),
)
_OUTPUT_STYLE = re.compile(r"# Output Style: [^\n]+\n")
_SERVERS = re.compile(r"# MCP Server Instructions\Z")
_SERVERS_INTRODUCTION = re.compile(r"The following MCP servers have provided instructions ")
_HEADING = re.compile(r"# (?P<title>[^\n]{1,80})")


class _Verdict(Enum):
    """What a paragraph of a system prompt is, looked at by itself."""

    FRAMEWORK = auto()
    OUTPUT_STYLE = auto()
    SERVERS = auto()
    INTRODUCTION = auto()
    HEADING = auto()  # a short one
    SHORT = auto()
    UNKNOWN = auto()


def fingerprint(paragraph: str) -> str:
    """Return the hash under which a paragraph (stripped) stands in the fingerprints."""
    return hashlib.sha256(paragraph.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_identity(text: str) -> bool:
    """Tell whether a system text is the client's identity line and nothing else."""
    return text.startswith(IDENTITIES) and "\n" not in text.strip() and len(text) < 300


def split_system(text: str, scene: Scene, fingerprints: Fingerprints, known: Sequence[WholeText] = ()) -> list[Span]:
    """Return spans that cover one system text. `known`: texts in it that stood alone elsewhere (`appended`)."""
    if not scene.claude_code:
        own = Claim(source=USER, kind="instructions", rule="system.application")
        return cover([], 0, len(text), own)
    if text.startswith(BILLING_HEADER):
        return cover([], 0, len(text), _framework("billing header", "system.billing", "metadata"))
    if is_identity(text):
        return cover([], 0, len(text), _framework("identity", "system.identity"))
    git = _git_start(text)
    spans = _Reader(scene, fingerprints, known).read(text[:git], appended=_is_appended(text, git, scene.version))
    if git < len(text):
        spans.append(Span(git, len(text), _framework("git status", "system.git", "text")))
    return cover(spans, 0, len(text))


def _git_start(text: str) -> int:
    """Return where git status begins: the last thing in the prompt of clients that keep it there."""
    found = list(_GIT.finditer(text))
    return found[-1].start() if found else len(text)


def _is_appended(text: str, git: int, version: str | None) -> bool:
    """Tell whether ``--append-system-prompt`` text ends the prompt, or stands before git status where that ends it.

    Versions 1.0 and 2.0 join it with one line break on either side; their own sections end with one more (measured,
    with git and without). Later ones put it behind their own paragraphs, where it is known by what it is not.
    """
    if git < len(text):
        return text[:git].endswith("\n") and not text[:git].endswith("\n\n")
    return (version or "").startswith(("1.", "2.0.")) and not text.endswith("\n")


def _framework(name: str, rule: str, kind: str = "instructions", confidence: float = 1.0) -> Claim:
    return Claim(source=framework(name), kind=kind, rule=rule, confidence=confidence)


class _Reader:
    """Reads one prompt paragraph by paragraph and remembers the part that it is in."""

    def __init__(self, scene: Scene, fingerprints: Fingerprints, texts: Sequence[WholeText]) -> None:
        self._scene = scene
        self._texts = texts
        self._known = fingerprints.get(scene.version or "")
        self._anyhow = self._known if self._known is not None else frozenset().union(*fingerprints.values())
        self._part = "system prompt"

    def read(self, text: str, *, appended: bool) -> list[Span]:
        """Return spans for the paragraphs, each with the blank lines after it.

        :param appended: the user's own text stands at the end.
        """
        found = list(_paragraphs(text))
        judged = _confirmed([self._judge(paragraph) for _start, _end, paragraph in found])
        spans: list[Span] = []
        number = 0
        while number < len(found):
            start, end, paragraph = found[number]
            if judged[number] in {_Verdict.OUTPUT_STYLE, _Verdict.SERVERS}:
                stop = _container_end(judged, number)
                end = found[stop - 1][1]
                entries = self._container(text, start, end, judged[number])
                if appended and stop == len(found):
                    last = entries[-1].start
                    inside = [(last + low, last + high) for low, high, _ in _paragraphs(text[last:end])]
                    entries = split_tail(text, entries, inside, self._foreign(), self._scene, self._texts)
                spans += entries
                number = stop
            else:
                spans.append(Span(start, end, self._claim(paragraph, judged, number, spans)))
                number += 1
        return spans

    def _judge(self, paragraph: str) -> _Verdict:
        """Say what a paragraph is by itself."""
        if _OUTPUT_STYLE.match(paragraph):
            return _Verdict.OUTPUT_STYLE
        if _SERVERS.match(paragraph):
            return _Verdict.SERVERS
        if _SERVERS_INTRODUCTION.match(paragraph):
            return _Verdict.INTRODUCTION
        if any(pattern.match(paragraph) for pattern, _part in _VARIABLE):
            return _Verdict.FRAMEWORK
        if len(paragraph) < SHORT:
            return _Verdict.HEADING if _HEADING.match(paragraph) else _Verdict.SHORT
        return _Verdict.FRAMEWORK if fingerprint(paragraph) in self._anyhow else _Verdict.UNKNOWN

    def _container(self, text: str, start: int, end: int, verdict: _Verdict) -> list[Span]:
        if verdict is _Verdict.OUTPUT_STYLE:
            return [Span(start, end, _framework("output style", "system.output-style"))]
        claim = _framework("MCP instructions", "system.mcp-instructions")
        entries = divide_mcp_instructions(text, start, end, claim, self._scene, Place(role=Role.SYSTEM))
        return cover(entries, start, end, claim)

    def _claim(self, paragraph: str, judged: list[_Verdict], number: int, before: list[Span]) -> Claim:
        verdict = judged[number]
        if verdict in {_Verdict.HEADING, _Verdict.SHORT}:
            return self._short(paragraph, judged, number, before)
        if verdict is not _Verdict.FRAMEWORK:
            return self._foreign()
        for pattern, part in _VARIABLE:
            if pattern.match(paragraph):
                self._part = part
                return _framework(part, "system.variable")
        self._enter(paragraph)
        return _framework(self._part, "system.fingerprint")

    def _short(self, paragraph: str, judged: list[_Verdict], number: int, before: list[Span]) -> Claim:
        """A short heading goes with what it heads. Other short paragraphs are foreign but for a few."""
        if not paragraph:
            return before[-1].claim if before else _framework(self._part, "system.heading", confidence=0.9)
        if judged[number] is _Verdict.SHORT:
            own = paragraph in _SHORT_OWN and number > 0 and judged[number - 1] is _Verdict.FRAMEWORK
            return _framework(self._part, "system.short", confidence=0.9) if own else self._foreign()
        heads = next((verdict for verdict in judged[number + 1 :] if verdict is not _Verdict.HEADING), None)
        if heads in {None, _Verdict.UNKNOWN, _Verdict.INTRODUCTION, _Verdict.SHORT}:
            return self._foreign()
        self._enter(paragraph)
        return _framework(self._part, "system.heading", confidence=0.9)

    def _enter(self, paragraph: str) -> None:
        heading = _HEADING.match(paragraph)
        if heading is not None:
            self._part = heading["title"].strip(" :").lower()

    def _foreign(self) -> Claim:
        if self._scene.auxiliary:
            return _framework("side call", "side-call.system", confidence=0.8)
        if self._scene.agent is not None:
            sure = 1.0 if self._known is not None else 0.7
            return Claim(
                source=agent_source(self._scene.agent), kind="instructions", rule="system.agent", confidence=sure
            )
        if self._known is None:
            return Claim(source=UNCLASSIFIED, kind="instructions", rule="system.unknown-version", confidence=0.5)
        return Claim(source=USER, kind="instructions", rule="system.custom", confidence=0.95)


def _confirmed(judged: list[_Verdict]) -> list[_Verdict]:
    """Take a heading of servers' instructions for an ordinary one where the client's introduction does not follow."""
    followed = zip(judged, [*judged[1:], None], strict=False)
    return [
        _Verdict.HEADING if verdict is _Verdict.SERVERS and after is not _Verdict.INTRODUCTION else verdict
        for verdict, after in followed
    ]


def _container_end(judged: list[_Verdict], number: int) -> int:
    """Return the number of the paragraph at which an open container that begins at `number` ends."""
    ends = {_Verdict.FRAMEWORK, _Verdict.OUTPUT_STYLE, _Verdict.SERVERS}
    stop = number + 1
    while stop < len(judged) and judged[stop] not in ends:
        stop += 1
    return stop


def _paragraphs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, stripped text) of each paragraph; the blank lines after it belong to it."""
    at = 0
    while at < len(text):
        blank = text.find("\n\n", at)
        end = len(text) if blank < 0 else blank
        stop = end
        while stop < len(text) and text[stop] == "\n":
            stop += 1
        if text[at:end].strip():
            yield at, stop, text[at:end].strip()
        elif stop < len(text):
            yield at, stop, ""
        at = stop if stop > at else len(text)
