"""TokenLedger: what each block of a prompt cost in tokens, in whole numbers that add up to the bill.

Before the answer `predict` says what a prompt will be billed: its longest prefix of known size, and settled or local
sizes of the rest. After it `observe` settles: every size that the bill names is a known prefix from then on, and what
lies between two of them is divided by largest remainder. One ledger for each provider and model: tokenizers differ.

    billed prefixes    the whole prompt; cache_read + cache_creation at its last breakpoint; cache_read + the 1h part at
                       the last 1h breakpoint; cache_read at the breakpoint where nothing was written after it
    derived            what the prompt became with its answer: + output_tokens (and one message's opening)

Apart from the store: its memory is plain rows (`memory`), written and read back by whoever owns the database,
and all of it can be made again by observing the captures in their order. It counts; it knows no prices and no sources.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import compress, repeat
from operator import add, itemgetter, ne
from typing import TYPE_CHECKING

from claudeproxy.accounting.bills import billed_ends, consistent, is_one_prompt
from claudeproxy.accounting.chain import ChainReader, Prompt
from claudeproxy.accounting.features import MESSAGE, NUMBER, PREAMBLE, STRUCTURE
from claudeproxy.accounting.linear import dot
from claudeproxy.accounting.memory import PREFIX, LedgerRow, Memory, Settled, Turn
from claudeproxy.accounting.models import model_traits
from claudeproxy.accounting.plan import End, Known, Plan, answer_blocks, divide, make_plan, turn_key
from claudeproxy.accounting.settlement import Prediction, Settlement
from claudeproxy.accounting.weights import TokenWeights
from claudeproxy.model import Accuracy, Answer, Usage
from claudeproxy.sansio.answer import is_object
from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NO_END: tuple[int | None, bool] = (None, False)
_TOKENS, _BILLED = itemgetter(0), itemgetter(1)

DEFAULT_TAIL = 3  # tokens after the last block (the opening of the answer), until a bill shows them


class TokenLedger:
    """Sizes of one model's prompts, learned from its bills. Not thread-safe; the first count loads the tokenizer."""

    def __init__(self, model: str, *, memory: Memory | None = None) -> None:
        self.model = model
        self.traits = model_traits(model)
        self.memory = memory or Memory()
        self.weights = TokenWeights(self.traits.family)
        self.tail = DEFAULT_TAIL
        self._reader = ChainReader(self.traits)
        self._planned: Plan | None = None  # for the prompt that was predicted last, until something is learned

    @property
    def error(self) -> float:
        """The current relative error of sizes made from weights alone."""
        return self.weights.error

    def read(self, body: bytes) -> Prompt:
        """Cut a request body, so that `predict` and `observe` need not do it twice.

        :raises JSONSpanError: when it cannot be cut: it has no blocks to account for.
        """
        return self._reader.read(body)

    def predict(self, request: bytes | Prompt) -> Prediction:
        """Say what a prompt will be billed, from what was billed before.

        :raises JSONSpanError: as `read`.
        """
        self._planned = self._plan(request)
        return self._prediction(self._planned)

    def observe(self, request: bytes | Prompt, usage: Usage, answer: Answer | None = None) -> Settlement:
        """Settle a prompt by its bill and learn from it.

        `answer` is None for count_tokens. An answer that failed, was cut, ran several prompts under one bill
        (iterations, server tools) or whose prompt the API edited is settled and teaches nothing.

        :raises JSONSpanError: as `read`.
        """
        plan, self._planned = self._plan(request), None
        total = usage.prompt_tokens
        if total is None:
            guess = self._prediction(plan)
            return Settlement(
                total=guess.total,
                before=guess.before,
                blocks=guess.blocks,
                after=guess.after,
                accuracy=guess.accuracy,
                dropped=guess.dropped,
                billed=False,
                learned=False,
            )
        if not total or not plan.sizes or not is_one_prompt(usage, answer):
            return self._alike(plan, total)
        billed = billed_ends(plan.prompt, usage, total, tail=self.tail)
        last = len(plan.sizes) - 1
        if max(end.tokens for end in billed.values()) > total:
            return self._alike(plan, total)
        ends = consistent(plan.ends, billed)
        overhead = self._settled_overhead(plan, ends)
        learned = answer is None or (answer.stop_reason is not None and answer.error_type is None)
        if learned:
            if ends[last].billed:
                self.tail = total - ends[last].tokens
            if self._learn_weights(plan, ends, overhead):
                plan = plan.with_weights(self.memory, self.weights)
        tokens, labels, before = divide(plan, ends, overhead=overhead)
        if learned:
            self._remember(plan, ends, tokens, labels, before)
            self._learn_answer(usage, answer)
        return _settlement(plan, total, before, tokens, labels, learned=learned)

    def observe_count(self, request: bytes | Prompt, tokens: int) -> Settlement:
        """Learn from a count_tokens exchange: the exact size of a whole prompt.

        :raises JSONSpanError: as `read`.
        """
        return self.observe(request, Usage(input_tokens=tokens))

    def text_size(self, counts: Sequence[int]) -> float:
        """Return the local size of a text from its classes (`classes.count_classes`): the weight of a segment.

        A block's tokens are shared among its segments by these (`sharing.share_segments`); what stands around the
        texts (JSON structure) weighs nothing, as the API does not show it to the model.
        """
        return dot(counts, self.weights.values[len(STRUCTURE) :])

    def to_state(self) -> dict[str, object]:
        """Return everything but `memory`'s rows as plain JSON values: a few kilobytes."""
        return {"model": self.model, "tail": self.tail, "weights": self.weights.to_state()}

    @classmethod
    def from_state(cls, state: Mapping[str, object], rows: Iterable[LedgerRow] = ()) -> TokenLedger:
        """Make a ledger from `to_state` and its rows (`memory.rows`, or all that `memory.take_changes` ever gave).

        :raises ValueError: state of another version; rebuild it by observing the captures.
        """
        self = cls(str(state["model"]))
        weights = state["weights"]
        if not is_object(weights):
            raise ValueError("no weights in the ledger's state")
        self.weights = TokenWeights.from_state(weights)
        self.tail = int(str(state["tail"]))
        self.memory.load(rows)
        return self

    # --- one request ----------------------------------------------------------------------------------------

    def _plan(self, request: bytes | Prompt) -> Plan:
        prompt = self.read(request) if isinstance(request, bytes) else request
        known = self._planned
        return known if known is not None and known.prompt is prompt else make_plan(prompt, self.memory, self.weights)

    def _prediction(self, plan: Plan) -> Prediction:
        last, known = len(plan.sizes) - 1, max(plan.ends, default=-1)
        rest = sum(plan.sizes[known + 1 :]) + (0.0 if plan.ends else plan.preamble)
        whole = round((plan.ends[known].tokens if plan.ends else 0) + rest)
        ends = consistent(plan.ends, {last: End(whole, billed=False)}) if plan.sizes else {}
        tokens, labels, before = divide(plan, ends, overhead=self._settled_overhead(plan, ends))
        labels[known + 1 :] = [Accuracy.ESTIMATED] * (last - known)
        blocks, accuracy = _spread(plan, tokens, labels)
        total = whole + self.tail
        return Prediction(
            total=total,
            before=before,
            blocks=blocks,
            after=total - before - sum(blocks),
            accuracy=accuracy,
            dropped=_dropped(plan.prompt),
            error=self.error * rest / max(1, total),
        )

    def _alike(self, plan: Plan, total: int) -> Settlement:
        """Share a total that is not that of this one prompt: nothing in it is known."""
        before, *tokens, _ = share(total, [plan.preamble, *plan.sizes, self.tail])
        return _settlement(plan, total, before, tokens, [Accuracy.ESTIMATED] * len(tokens), learned=False)

    # --- learning -------------------------------------------------------------------------------------------

    def _settled_overhead(self, plan: Plan, ends: Mapping[int, End]) -> int | None:
        """Return the settled tokens before the first block, where the first known prefix is the one they go with."""
        if not ends:
            return None
        settled = self.memory.prefix(_overhead_key(plan, ends))
        return None if settled is None or settled.stage < self.weights.stage else settled.size

    def _remember(
        self, plan: Plan, ends: Mapping[int, End], tokens: Sequence[int], labels: Sequence[Accuracy], before: int
    ) -> None:
        stage = self.weights.stage
        known = [ends.get(index, _NO_END) for index in range(len(tokens))]
        # As `Settled` has them. Of a long prompt nearly all is known: what is not is found without a loop.
        rows = list(zip(tokens, labels, map(_TOKENS, known), map(_BILLED, known), repeat(stage), strict=False))
        for index in compress(range(len(rows)), map(ne, rows, plan.settled)):
            link = plan.prompt.links[index]
            self.memory.settle(link.prefix, link.key, Settled(*rows[index]))
        overhead = Settled(before, Accuracy.SHARED, stage=self.weights.stage)
        self.memory.put(LedgerRow(PREFIX, _overhead_key(plan, ends), overhead.numbers()))

    def _learn_weights(self, plan: Plan, ends: Mapping[int, End], overhead: int | None) -> bool:
        known = self.weights.equations
        for run, turn in plan.answers:
            spoken = [i for i in run if not plan.prompt.links[i].thinking]
            if spoken:
                self._learn(plan, spoken, [0.0] * NUMBER, turn.output)
        start, before = 0, 0
        unknown = [i for i in range(plan.firm, len(plan.known)) if plan.known[i] is Known.LOCAL]
        for index in sorted(i for i, end in ends.items() if end.billed or i == len(plan.sizes) - 1):
            group = range(start, index + 1)
            new = [i for i in unknown if i in group] if index >= plan.firm else []
            if new:
                tokens = ends[index].tokens - before - sum(plan.sizes[i] for i in group if i not in new)
                counts = [0.0] * NUMBER
                counts[MESSAGE] = sum(plan.prompt.links[i].opens for i in new)
                if start == 0 and overhead is None:
                    counts[PREAMBLE] = float(plan.prompt.tools)
                elif start == 0:
                    tokens -= overhead or 0
                # The opening of an answer's message is part of its size and a weight like any other.
                openings = sum(run.start in group for run, _ in plan.answers)
                counts[MESSAGE] += openings
                tokens += openings * plan.opening
                self._learn(plan, new, counts, tokens)
            start, before = index + 1, ends[index].tokens
        return self.weights.equations > known

    def _learn(self, plan: Plan, new: Sequence[int], counts: list[float], tokens: float) -> None:
        """Teach the weights one group: the blocks `new`, and `counts` of structure around them."""
        for i in new:
            makeup = plan.prompt.links[i].makeup
            counts = list(map(add, counts, makeup.counts))
            tokens -= makeup.fixed
        self.weights.learn(counts, tokens, sum(plan.sizes[i] ** 2 for i in new))

    def _learn_answer(self, usage: Usage, answer: Answer | None) -> None:
        """Remember what an answer was billed: it comes back as part of the next prompts."""
        if answer is None or answer.message is None or usage.output_tokens is None:
            return
        blocks = answer_blocks(answer.message.get("content"))
        thinking = usage.thinking_tokens
        if thinking is None and not any(is_thinking for is_thinking, _ in blocks):
            thinking = 0
        if blocks and thinking is not None and thinking <= usage.output_tokens:
            self.memory.learn_turn(turn_key(blocks), Turn(usage.output_tokens - thinking, thinking))


def _settlement(
    plan: Plan, total: int, before: int, tokens: Sequence[int], labels: Sequence[Accuracy], *, learned: bool
) -> Settlement:
    blocks, accuracy = _spread(plan, tokens, labels)
    return Settlement(
        total=total,
        before=before,
        blocks=blocks,
        after=total - before - sum(blocks),
        accuracy=accuracy,
        dropped=_dropped(plan.prompt),
        billed=True,
        learned=learned,
    )


def _spread(
    plan: Plan, tokens: Sequence[int], labels: Sequence[Accuracy]
) -> tuple[tuple[int, ...], tuple[Accuracy, ...]]:
    """Lay the links' numbers over all blocks of the body. What the model does not see has no tokens, exactly."""
    if len(plan.prompt.links) == plan.prompt.size:
        return tuple(tokens), tuple(labels)
    blocks, accuracy = [0] * plan.prompt.size, [Accuracy.EXACT] * plan.prompt.size
    for link, size, label in zip(plan.prompt.links, tokens, labels, strict=True):
        blocks[link.block], accuracy[link.block] = size, label
    return tuple(blocks), tuple(accuracy)


def _dropped(prompt: Prompt) -> tuple[bool, ...]:
    if len(prompt.links) == prompt.size:
        return (False,) * prompt.size
    seen = {link.block for link in prompt.links}
    return tuple(block not in seen for block in range(prompt.size))


def _overhead_key(plan: Plan, ends: Mapping[int, End]) -> bytes:
    return blake2b(b"overhead" + plan.prompt.links[min(ends)].prefix, digest_size=8).digest()
