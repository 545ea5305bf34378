"""Finds the items in text that the client injected, and hands containers to their dividers.

Apart because this is the one place that decides where an item begins. In a ``role: "system"`` text the client joins
items with blank lines, in a fixed order of ranks; some items are free text (a hook's output) and may imitate what
follows. So candidates are found at paragraph starts, and of all ways to read the text the one is taken that breaks
the order least and explains most. In a reminder there is one item, and it begins at the beginning.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import TYPE_CHECKING

from claudeproxy.attribution.containers import DIVIDERS, divide_resources, server_headings
from claudeproxy.attribution.memory import may_nest, memory_folder
from claudeproxy.attribution.names import framework
from claudeproxy.attribution.spans import NOBODY, Claim, Span, cover
from claudeproxy.attribution.views import REMINDER_CLOSE, REMINDER_OPEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from claudeproxy.attribution.rules import Rule, RuleSet
    from claudeproxy.attribution.scene import Place, Scene

WRAPPER = Claim(source=framework("system reminder"), kind="wrapper", rule="reminder.wrapper")
MAX_CANDIDATES = 48  # beyond this many no order is sought: each is taken (the search is quadratic)
DESCENT = 3.0  # what a step back in the order costs, in items explained: a hook that quotes two does not outweigh it
UNKNOWN = 1.0  # what text costs that no item explains
MAX_VARIANTS = 16

_QUEUED = 2
_QUEUE = 0.5  # behind the hooks of tools, before all else
_NESTED = "memory.nested"
_SERVERS = "mcp.instructions"
_SKILLS = "skills.listing"
_NOTIFICATION = "notification"
_OF_PROMPTS = frozenset({_NOTIFICATION, "hook.prompt"})
GLUED = ".glued"  # behind the id of a rule: in a tool's result, which may end in a perfect copy of such a reminder

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
    chosen = _read(text, end, _candidates(text, start, end, rules, scene))
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
    that was read. An output that ends in a perfect copy of what the client would add here cannot be told from it by
    this request alone: `place.known` may say where the output ends, otherwise the claim is not certain.
    """
    end = len(text)
    own = max((one.length for one in place.known if one.begins(text)), default=None)
    glued: list[Span] = []
    while scene.glues and text[:end].rstrip().endswith(REMINDER_CLOSE):
        begin = _glued_start(text, end, rules, place)
        if begin is None or begin < (own or 0):
            break
        piece = text[begin:end]
        lead = len(piece) - len(piece.lstrip("\n"))
        inner = split_reminder(piece[lead:], rules, scene, place)
        glued += [Span(begin, begin + lead, WRAPPER)]
        glued += [Span(span.start + begin + lead, span.end + begin + lead, span.claim) for span in inner]
        end = begin
    if own is None:
        glued = [Span(span.start, span.end, supposed(span.claim)) for span in glued]
    if place.evidence == "ListMcpResourcesTool":
        glued += divide_resources(text[:end], claim, scene)
    return cover(glued, 0, len(text), claim)


def supposed(claim: Claim) -> Claim:
    """Return the claim on a glued item that nothing proves to be the client's."""
    return replace(claim, rule=f"{claim.rule}{GLUED}", confidence=min(claim.confidence, 0.9))


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
    """Return spans for a reminder's item; behind one that is known whole there may be another."""
    spans: list[Span] = []
    while start < end:
        found = rules.match(text, start)
        if found is None:
            return [*spans, Span(start, end, NOBODY)]
        rule, match = found
        known = _past_blanks(text, match.end(), end) if rule.closed else end
        spans += explain_item(text, start, known, rule, match, scene, place)
        start = max(known, start + 1)
    return spans


def _candidates(text: str, start: int, end: int, rules: RuleSet, scene: Scene) -> list[_Candidate]:
    found: list[_Candidate] = []
    for paragraph in _PARAGRAPH.finditer(text, start, end):
        at = paragraph.end()
        hit = rules.match(text, at)
        if hit is None:
            continue
        rule, match = hit
        if rule.closed and not text.startswith("\n\n", match.end()) and text[match.end() : end].strip():
            continue  # the paragraph goes on: not the item that this rule knows whole
        if found and rule.id == _NESTED and not may_nest(match["path"], text[start:at], scene.cwd):
            continue
        found.append(_Candidate(at, min(match.end(), end), rule, match))
    return _without_quoted(text, end, _without_inner(found), scene)


def _without_inner(found: list[_Candidate]) -> list[_Candidate]:
    """Leave out what stands inside an item known whole: quoted by it, also where all of it is a quotation.

    But an item that holds the beginning of its own kind may be a broken quotation that the genuine one completes.
    """
    following: dict[str, int] = {}  # rule -> where its next item begins
    bounds = [0] * len(found)
    for number, item in reversed(list(enumerate(found))):
        if item.rule.closed and following.get(item.rule.id, item.end) >= item.end:
            bounds[number] = item.end
        following[item.rule.id] = item.at
    kept: list[_Candidate] = []
    bound = 0
    for item, item_bound in zip(found, bounds, strict=True):
        if item.at >= bound:
            kept.append(item)
            bound = item_bound
    return kept


def _without_quoted(text: str, end: int, found: list[_Candidate], scene: Scene) -> list[_Candidate]:
    """Leave out what servers' instructions quote: a listing, or an item known whole, that another server follows."""
    instructed = min((item.at for item in found if item.rule.id == _SERVERS), default=end)
    headings = server_headings(text, instructed, end, scene)
    kept: list[_Candidate] = []
    for item in reversed(found):
        ends = item.rule.closed or item.rule.id == _SKILLS
        follows = kept[-1].at if kept else end
        heading = bisect_left(headings, item.end)
        if item.at < instructed or not ends or heading == len(headings) or headings[heading] >= follows:
            kept.append(item)
    return kept[::-1]


def _read(text: str, end: int, candidates: list[_Candidate]) -> list[_Candidate]:
    """Return the items of the best reading: in either order, with either of two equal items that come once."""
    if len(candidates) > MAX_CANDIDATES:
        return candidates
    best: tuple[float, list[_Candidate]] = (float("-inf"), [])
    for order in _orders(candidates):
        for items in _variants(candidates, order):
            best = max(best, _choose(text, end, items, order), key=lambda reading: reading[0])  # of equals the first
    return best[1]


def _orders(candidates: list[_Candidate]) -> tuple[int, ...]:
    """Return the orders in which the client may have joined these items: the last needs prompts that it queued."""
    return (0, 1, _QUEUED) if any(item.rule.id == _NOTIFICATION for item in candidates) else (0, 1)


def _rank(rule: Rule, order: int) -> float:
    """Return a rule's place. Of queued prompts each is a notification with what the prompt's hooks say to it."""
    return (_QUEUE if rule.id in _OF_PROMPTS else rule.rank) if order == _QUEUED else rule.ranks()[order]


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
    rank = _rank(item.rule, order)
    return any(other.at < item.at and not other.rule.closed and _rank(other.rule, order) > rank for other in candidates)


def _choose(text: str, end: int, items: list[_Candidate], order: int) -> tuple[float, list[_Candidate]]:
    """Choose which items are genuine: most items explained, less for steps back in the order and for unknown text.

    An item can only be passed over when one stands before it that contains it, or an open one that may.
    """
    if not items:
        return 0.0, []
    count = len(items)
    best: list[tuple[float, int | None]] = [(1.0, None)] * count  # from each item on: the score, and which comes next
    for here in range(count - 1, -1, -1):
        item = items[here]
        after = here + 1
        while item.rule.closed and after < count and items[after].at < item.end:
            after += 1
        following = range(after, min(after + 1, count) if item.rule.closed else count)
        choice: tuple[float, int | None] = (float("-inf") if item.rule.closed and following else 1.0, None)
        for there in following:
            back = _rank(items[there].rule, order) < _rank(item.rule, order)
            score = 1.0 + best[there][0] - (DESCENT if back else 0.0)
            if score >= choice[0]:
                choice = (score, there)
        stop = items[after].at if following else end
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
