"""What is known and what is guessed of a prompt's sizes before its bill: the ledger's memory laid over a chain.

Apart from `ledger` because prediction and settlement both start here. Knows no bill and learns nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from claudeproxy.accounting.features import MESSAGE, PREAMBLE, mark_of
from claudeproxy.model import Accuracy
from claudeproxy.sansio.answer import is_object
from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from claudeproxy.accounting.chain import Link, Prompt
    from claudeproxy.accounting.memory import Memory, Settled, Turn
    from claudeproxy.accounting.weights import TokenWeights


_PLAUSIBLE = 0.4  # of what the weights expect: less than that means that what is "known" is not so here


class Known(IntEnum):
    """Where a size comes from, the best first."""

    PLACE = 0  # this block in this place was on a bill
    BLOCK = 1  # the same block elsewhere was
    ANSWER = 2  # it was an answer, whose output tokens were billed
    STALE = 3  # a bill's, but divided when the weights knew less: weights again
    LOCAL = 4  # weights only


class End(NamedTuple):
    """How many tokens everything up to and including a block has. `billed`: a bill said so itself."""

    tokens: int
    billed: bool


@dataclass(slots=True)
class Plan:
    """Sizes of a prompt's links in their order, and the prefixes whose size is known, by index of their last link."""

    prompt: Prompt
    sizes: list[float]
    known: list[Known]
    accuracy: list[Accuracy]
    ends: dict[int, End]
    answers: list[tuple[range, Turn]]  # runs of links that were answers and are new in this place
    preamble: float
    settled: list[Settled | None]  # what was known of each link in its place
    firm: int  # of so many links at the beginning that was all there is to know: nearly all of a long prompt
    stage: int
    opening: float

    def with_weights(self, memory: Memory, weights: TokenWeights) -> Plan:
        """Return the plan by what the weights say now: what was sized by them alone is sized again."""
        if weights.stage != self.stage:
            return make_plan(self.prompt, memory, weights)
        opening = weights.values[MESSAGE]
        for index in range(self.firm, len(self.known)):
            known = self.known[index]
            if known >= Known.STALE:
                self.sizes[index] = local_size(self.prompt, self.prompt.links[index], weights)
            elif known is Known.ANSWER and self.prompt.links[index].opens:
                self.sizes[index] += opening - self.opening
        self.opening = opening
        self.preamble = weights.values[PREAMBLE] if self.prompt.tools else 0.0
        return self


def make_plan(prompt: Prompt, memory: Memory, weights: TokenWeights) -> Plan:
    """Look every link of a prompt up; size the rest by weights."""
    stage, opening = weights.stage, weights.values[MESSAGE]
    preamble = weights.values[PREAMBLE] if prompt.tools else 0.0
    places = memory.prefixes([link.prefix for link in prompt.links])
    firm = next((i for i, place in enumerate(places) if place is None or _is_stale(place, stage)), len(places))
    sizes: list[float] = [place.size for place in places[:firm] if place]
    accuracy = [place.accuracy for place in places[:firm] if place]
    plan = Plan(prompt, sizes, [Known.PLACE] * firm, accuracy, {}, [], preamble, places, firm, stage, opening)
    for link, settled in zip(prompt.links[firm:], places[firm:], strict=True):
        known = Known.PLACE
        if settled is None:
            settled, known = memory.block(link.key), Known.BLOCK
        if settled is None:
            plan.sizes.append(local_size(prompt, link, weights))
            plan.known.append(Known.LOCAL)
            plan.accuracy.append(Accuracy.ESTIMATED)
            continue
        stale = _is_stale(settled, stage)
        plan.sizes.append(local_size(prompt, link, weights) if stale else settled.size)
        plan.known.append(Known.STALE if stale else known)
        plan.accuracy.append(settled.accuracy if known is Known.PLACE else Accuracy.ESTIMATED)
    for index, settled in enumerate(places):
        if settled is not None and settled.end is not None:
            plan.ends[index] = End(settled.end, settled.billed)
    _recognise_answers(plan, memory, weights)
    return plan


def _is_stale(settled: Settled, stage: int) -> bool:
    """Whether this was divided when the weights knew less, by what they knew."""
    return settled.stage < stage and settled.accuracy is not Accuracy.EXACT


def local_size(prompt: Prompt, link: Link, weights: TokenWeights) -> float:
    """Return what weights alone say of a block."""
    size = weights.size(link.makeup.counts) + link.makeup.fixed
    if link.opens:
        size += weights.values[MESSAGE]
    if link.makeup.kind == "tool":
        return size
    loaded = (prompt.deferred.get(name) for name in link.makeup.references)
    return size + sum(weights.size(tool.counts) for tool in loaded if tool is not None)


def turn_key(blocks: Sequence[tuple[bool, bytes]]) -> bytes:
    """Return the key of an answer from its blocks (whether thinking, mark): thinking counts only when it is alone."""
    marks = [mark for thinking, mark in blocks if not thinking] or [mark for _, mark in blocks]
    return blake2b(b"".join(marks), digest_size=8).digest()


def answer_blocks(content: object) -> list[tuple[bool, bytes]]:
    """Return the blocks of an answer's content for `turn_key`."""
    items = content if isinstance(content, list) else []
    return [(str(item.get("type")).endswith("thinking"), mark_of(item)) for item in items if is_object(item)]


def divide(plan: Plan, ends: dict[int, End], *, overhead: int | None) -> tuple[list[int], list[Accuracy], int]:
    """Divide known prefixes among their blocks; the last link must have an end.

    `overhead` is the tokens before the first block where they are settled. Returns tokens and label of each link, and
    the tokens before the first block.
    """
    tokens: list[int] = []
    labels: list[Accuracy] = []
    before = 0
    start, start_end = 0, End(0, billed=True)
    for index in sorted(ends):
        if index < start:
            continue
        group = range(start, index + 1)
        total = max(0, ends[index].tokens - start_end.tokens)
        if start == 0:
            before, parts = _divide_first(plan, group, total, overhead)
        else:
            parts = _parts(plan, group, total)
        kept = _kept(plan, group, parts)
        alone = len(group) == 1 and (start > 0 or not plan.preamble) and ends[index].billed and start_end.billed
        tokens += parts
        labels += (
            [plan.accuracy[i] for i in group] if kept else [Accuracy.EXACT if alone else Accuracy.SHARED] * len(group)
        )
        last = _as_settled(plan, ends, index) if start == 0 else index
        tokens += map(int, plan.sizes[index + 1 : last + 1])
        labels += plan.accuracy[index + 1 : last + 1]
        start, start_end = last + 1, ends[last]
    return tokens, labels, before


def _as_settled(plan: Plan, ends: dict[int, End], first: int) -> int:
    """Return the last end up to which all groups behind the first are divided already, into just their sums."""
    sums = list(accumulate(plan.sizes[: plan.firm]))
    last = first
    for index in sorted(ends):
        if index >= plan.firm or ends[index].tokens - sums[index] != ends[first].tokens - sums[first]:
            break
        last = index
    return last


def _divide_first(plan: Plan, group: range, total: int, overhead: int | None) -> tuple[int, list[int]]:
    if overhead is not None and overhead <= total:
        return overhead, _parts(plan, group, total - overhead)
    parts = _parts(plan, group, total, extra=plan.preamble)
    return parts[0], parts[1:]


def _parts(plan: Plan, group: range, total: int, *, extra: float | None = None) -> list[int]:
    """Divide `total` among a group: what is known keeps its size, the rest shares what is left by local size.

    Where nothing is left for the rest (or there is no rest) all share alike. `extra` is one more part, the first.
    """
    sizes = [plan.sizes[i] for i in group]
    firm = [plan.known[i] < Known.STALE for i in group]
    if extra is not None:
        sizes, firm = [extra, *sizes], [False, *firm]
    fixed = [round(size) if is_firm else 0 for size, is_firm in zip(sizes, firm, strict=True)]
    loose = [0.0 if is_firm else size for size, is_firm in zip(sizes, firm, strict=True)]
    left = total - sum(fixed)
    if left == 0 and not any(loose):
        return fixed
    if any(loose) and left >= _PLAUSIBLE * sum(loose):
        return [a + b for a, b in zip(fixed, share(left, loose), strict=True)]
    return share(total, sizes)


def _kept(plan: Plan, group: range, parts: list[int]) -> bool:
    return all(plan.known[i] is Known.PLACE and plan.sizes[i] == part for i, part in zip(group, parts, strict=True))


def _recognise_answers(plan: Plan, memory: Memory, weights: TokenWeights) -> None:
    """Size the runs of assistant blocks that were answers; where the prefix before one is known, so is its end."""
    links = plan.prompt.links
    index = plan.firm
    while index < len(links):
        if not links[index].assistant or plan.known[index] is Known.PLACE:
            index += 1
            continue
        stop = index
        while stop < len(links) and links[stop].message == links[index].message:
            stop += 1
        run = range(index, stop)
        turn = memory.turn(turn_key([(links[i].thinking, links[i].makeup.mark) for i in run]))
        if turn is not None and links[index].opens:
            _size_answer(plan, run, turn, weights.values[MESSAGE])
        index = stop


def _size_answer(plan: Plan, run: range, turn: Turn, opening: float) -> None:
    links = plan.prompt.links
    total = opening
    fresh = all(plan.known[i] is Known.LOCAL for i in run)
    for thinking, billed in ((True, turn.thinking), (False, turn.output)):
        part = [i for i in run if links[i].thinking is thinking]
        if not part:
            continue
        if billed is None:
            return
        total += billed
        for i, tokens in zip(part, share(billed, [plan.sizes[i] for i in part]), strict=True):
            if plan.known[i] >= Known.STALE:
                plan.sizes[i] = tokens + (opening if links[i].opens else 0.0)
                plan.known[i] = Known.ANSWER
    if fresh:
        plan.answers.append((run, turn))
    before = plan.ends.get(run.start - 1)
    if before is not None and run.stop - 1 not in plan.ends:
        plan.ends[run.stop - 1] = End(before.tokens + round(total), billed=False)
