"""Finds the items in text that the client injected, and hands containers to their dividers.

Apart because this is the one place that decides where an item begins. In a ``role: "system"`` text the client joins
items with blank lines, in a fixed order of ranks; some items are free text (a hook's output) and may imitate what
follows. So candidates are found at paragraph starts, and of all ways to read the text the one is taken that breaks
the order least and explains most. In a reminder there is one item, and it begins at the beginning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

from claudeproxy.attribution.containers import DIVIDERS, divide_resources
from claudeproxy.attribution.memory import memory_folder
from claudeproxy.attribution.names import framework
from claudeproxy.attribution.spans import NOBODY, Claim, Span, cover
from claudeproxy.attribution.views import REMINDER_CLOSE, REMINDER_OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.attribution.rules import Rule, RuleSet
    from claudeproxy.attribution.scene import Place, Scene

WRAPPER = Claim(source=framework("system reminder"), kind="wrapper", rule="reminder.wrapper")
MAX_CANDIDATES = 48  # beyond this many no order is sought: each is taken (the search is quadratic)
DESCENT = 1.5  # what a step back in the order costs, in items explained: two explained items outweigh it, one does not
UNKNOWN = 1.0  # what text costs that no item explains
MAX_VARIANTS = 16

_PARAGRAPH = re.compile(r"(?:\A\n*|\n\n+)(?=[^\n])")
_TRAILING = re.compile(r"\n\n<system-reminder>\n")


@dataclass(frozen=True, slots=True)
class _Candidate:
    at: int
    end: int  # of a closed item's text; of an open one's marker
    rule: Rule
    match: re.Match[str]


def split_injected(text: str, start: int, end: int, rules: RuleSet, scene: Scene, place: Place) -> list[Span]:
    """Return spans that cover ``[start, end)`` of a text that consists of items joined by blank lines."""
    chosen = _read(text, end, _candidates(text, start, end, rules))
    spans: list[Span] = []
    for number, item in enumerate(chosen):
        stop = chosen[number + 1].at if number + 1 < len(chosen) else end
        if item.rule.closed:
            stop = _past_blanks(text, item.end, stop)
        spans += explain_item(text, item.at, stop, item.rule, item.match, scene, place)
    return cover(spans, start, end)


def split_reminder(text: str, rules: RuleSet, scene: Scene, place: Place) -> list[Span]:
    """Return spans for a text that is one ``<system-reminder>``: wrapper, item, wrapper."""
    start = len(REMINDER_OPEN)
    end = text.rindex(REMINDER_CLOSE)
    start = min(_past_blanks(text, start, end), end)
    inner_end = end
    while inner_end > start and text[inner_end - 1] == "\n":
        inner_end -= 1
    spans = [Span(0, start, WRAPPER), *_one_item(text, start, inner_end, rules, scene, place)]
    spans.append(Span(inner_end, len(text), WRAPPER))
    return cover(spans, 0, len(text))


def split_result(text: str, claim: Claim, rules: RuleSet, scene: Scene, place: Place) -> list[Span]:
    """Return spans for a tool's result text: the tool's own, and the reminders that layout A glues to its end.

    A tool may print whatever it likes, reminders too. So only what stands at the very end counts, and only items that
    the client is known to glue there and that fit: a hook of a tool called in this turn, a memory file above a file
    that was read. An output that ends in a perfect copy of what the client would add here cannot be told from it.
    """
    end = len(text)
    glued: list[Span] = []
    while scene.glues and text[:end].rstrip().endswith(REMINDER_CLOSE):
        begin = _glued_start(text, end, rules, place)
        if begin is None:
            break
        piece = text[begin:end]
        lead = len(piece) - len(piece.lstrip("\n"))
        inner = split_reminder(piece[lead:], rules, scene, place)
        glued += [Span(begin, begin + lead, WRAPPER)]
        glued += [Span(span.start + begin + lead, span.end + begin + lead, span.claim) for span in inner]
        end = begin
    if place.evidence == "ListMcpResourcesTool":
        glued += divide_resources(text[:end], claim, scene)
    return cover(glued, 0, len(text), claim)


def is_glued_reminder(text: str, rules: RuleSet, place: Place) -> bool:
    """Tell whether a whole text is a reminder of a kind that layout A adds to a tool's result."""
    words = text.strip()
    return (
        words.startswith(REMINDER_OPEN)
        and words.endswith(REMINDER_CLOSE)
        and _fits(words, len(REMINDER_OPEN), rules, place)
    )


def _glued_start(text: str, end: int, rules: RuleSet, place: Place) -> int | None:
    """Return where the last glued reminder before `end` begins; nested tags belong to the outer one."""
    openings = list(_TRAILING.finditer(text, 0, end))[-4:]
    for opening in reversed(openings):
        if _fits(text, opening.end() - 1, rules, place):
            return opening.start()
    return None


def _fits(text: str, at: int, rules: RuleSet, place: Place) -> bool:
    found = rules.match(text, _past_blanks(text, at, len(text)), glued=True)
    if found is None:
        return False
    rule, match = found
    if rule.id == "hook.tool":
        return match["matcher"] in place.turn_tools and not place.apart
    if rule.id == "memory.nested":
        folder = memory_folder(match["path"])
        return any(path.replace("\\", "/").startswith(f"{folder}/") for path in place.turn_paths)
    return True


def explain_item(
    text: str, start: int, end: int, rule: Rule, match: re.Match[str], scene: Scene, place: Place
) -> list[Span]:
    """Return spans that cover one item: its own claim, and its entries' where it is a container."""
    claim = Claim(source=rule.source(match), kind=rule.kind, rule=rule.id, confidence=rule.confidence)
    if rule.divide is None:
        return [Span(start, end, claim)]
    return cover(DIVIDERS[rule.divide](text, start, end, claim, scene, place), start, end, claim)


def _one_item(text: str, start: int, end: int, rules: RuleSet, scene: Scene, place: Place) -> list[Span]:
    found = rules.match(text, start)
    if found is None:
        return [Span(start, end, NOBODY)]
    rule, match = found
    known = _past_blanks(text, match.end(), end) if rule.closed else end
    spans = explain_item(text, start, known, rule, match, scene, place)
    return spans if known >= end else [*spans, Span(known, end, NOBODY)]


def _candidates(text: str, start: int, end: int, rules: RuleSet) -> list[_Candidate]:
    found: list[_Candidate] = []
    blocked = start
    for paragraph in _PARAGRAPH.finditer(text, start, end):
        at = paragraph.end()
        if at < blocked:
            continue
        hit = rules.match(text, at)
        if hit is None:
            continue
        rule, match = hit
        if rule.closed and not text.startswith("\n\n", match.end()) and text[match.end() : end].strip():
            continue  # the paragraph goes on: not the item that this rule knows whole
        found.append(_Candidate(at, min(match.end(), end), rule, match))
        if rule.closed:
            blocked = match.end()
    return found


def _read(text: str, end: int, candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the items of the best reading: in either order, with either of two equal items that come once."""
    if len(candidates) > MAX_CANDIDATES:
        return candidates
    best: tuple[float, list[_Candidate]] = (float("-inf"), [])
    for order in (0, 1):
        for items in _variants(candidates, order):
            best = max(best, _choose(text, end, items, order), key=lambda reading: reading[0])  # of equals the first
    return best[1]


def _variants(candidates: list[_Candidate], order: int) -> Iterator[list[_Candidate]]:
    """Yield the candidates with one left of each kind that comes once.

    The last (something quoted it before it came) or the first (it quotes its own kind itself). Quotations inside a
    later item are out in any case.
    """
    twins: dict[str, list[_Candidate]] = {}
    for item in candidates:
        if not item.rule.repeats:
            twins.setdefault(item.rule.id, []).append(item)
    choices = []
    for same in twins.values():
        outside = [item for item in same if not _inside_later(candidates, item, order)] or same
        choices.append((outside[-1], outside[0]) if len(outside) > 1 else (outside[0],))
    for kept in islice(product(*choices), MAX_VARIANTS):
        yield [item for item in candidates if item.rule.repeats or item in kept]


def _inside_later(candidates: list[_Candidate], item: _Candidate, order: int) -> bool:
    rank = item.rule.ranks()[order]
    return any(
        other.at < item.at and not other.rule.closed and other.rule.ranks()[order] > rank for other in candidates
    )


def _choose(text: str, end: int, items: list[_Candidate], order: int) -> tuple[float, list[_Candidate]]:
    """Choose which items are genuine: most items explained, less for steps back in the order and for unknown text.

    An item can only be passed over when an open one stands before it that may contain it.
    """
    if not items:
        return 0.0, []
    count = len(items)
    best: list[tuple[float, int | None]] = [(1.0, None)] * count  # from each item on: the score, and which comes next
    for here in range(count - 1, -1, -1):
        item = items[here]
        following = range(here + 1, min(here + 2, count) if item.rule.closed else count)
        choice: tuple[float, int | None] = (float("-inf") if item.rule.closed and following else 1.0, None)
        for there in following:
            back = items[there].rule.ranks()[order] < item.rule.ranks()[order]
            score = 1.0 + best[there][0] - (DESCENT if back else 0.0)
            if score >= choice[0]:
                choice = (score, there)
        stop = items[here + 1].at if following else end
        unknown = item.rule.closed and bool(text[item.end : stop].strip())
        best[here] = (choice[0] - (UNKNOWN if unknown else 0.0), choice[1])
    chosen, at = [items[0]], best[0][1]
    while at is not None:
        chosen.append(items[at])
        at = best[at][1]
    return best[0][0] - (UNKNOWN if text[: items[0].at].strip() else 0.0), chosen


def _past_blanks(text: str, at: int, end: int) -> int:
    while at < end and text[at] == "\n":
        at += 1
    return at
