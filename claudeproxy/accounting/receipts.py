"""A priced bill as it is kept, with a sentence for what has no price; and what the answer itself cost, part by part.

Apart from `prices`, which multiplies: here a bill's output is divided among text, thinking and calls, and fees of
server tools get a part of their own, so that prompt and parts add up to the cost of the request.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.accounting.classes import count_classes
from claudeproxy.accounting.listed import PriceClass
from claudeproxy.model import Accuracy, OutputPart, PricedBill, Rates, Source, SourceType
from claudeproxy.sansio.answer import is_object
from claudeproxy.sansio.sharing import share

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from claudeproxy.accounting.prices import Bill
    from claudeproxy.model import Answer

COUNTED = "not billed: tokens were only counted"
BELIEVED = 1000 * 10**12  # pico-dollars for one request: ten times what the dearest can be, and 9,000 of them add up
UNBELIEVED = "price unknown: more than $1,000 for one request is not believed"

# What was generated, beside the sources of the prompt in which it comes back later.
THINKING = Source(type=SourceType.ASSISTANT, name="output thinking")
TEXT = Source(type=SourceType.ASSISTANT, name="output text")
CALLS = Source(type=SourceType.ASSISTANT, name="output tool calls")
_FEES = (
    (PriceClass.WEB_SEARCH, Source(type=SourceType.TOOL, name="web_search fee")),
    (PriceClass.WEB_FETCH, Source(type=SourceType.TOOL, name="web_fetch fee")),
)


def receipt(bill: Bill, answer: Answer, model: str, text_size: Callable[[Sequence[int]], float]) -> PricedBill:
    """Return a bill as it is kept. `model` is named in the note where no list has it."""
    note = _note(bill, model)
    if sum(line.cost or 0 for line in bill.lines) > BELIEVED:  # of an upstream that says anything: sums must not burst
        bill = replace(bill, lines=tuple(replace(line, unit=None) for line in bill.lines), model=None)
        note = UNBELIEVED
    rates = None
    if bill.model is not None:
        units = {kind: bill.line(kind).unit for kind in PriceClass}
        rates = Rates(
            model=bill.model,
            source=bill.source or "",
            modifiers=", ".join(bill.modifiers),
            **{str(kind): unit for kind, unit in units.items()},
        )
    return PricedBill(
        read=bill.line(PriceClass.READ).quantity,
        write_1h=bill.line(PriceClass.WRITE_1H).quantity,
        write_5m=bill.line(PriceClass.WRITE_5M).quantity,
        uncached=bill.line(PriceClass.UNCACHED).quantity,
        rates=rates,
        cost=bill.total,
        note=note,
        output=output_parts(bill, answer, text_size),
    )


def output_parts(bill: Bill, answer: Answer, text_size: Callable[[Sequence[int]], float]) -> tuple[OutputPart, ...]:
    """Divide the output among what was thought, said and called, by local sizes where the bill does not tell."""
    line = bill.line(PriceClass.OUTPUT)
    sizes = _sizes(answer, text_size)
    thinking = answer.usage.thinking_tokens
    if thinking is None and THINKING not in sizes:
        thinking = 0
    shared = {source: size for source, size in sizes.items() if source != THINKING or thinking is None}
    shared = shared or {TEXT: 1.0}
    thought = min(thinking or 0, line.quantity)
    accuracy = Accuracy.EXACT if len(shared) == 1 else Accuracy.SHARED
    parts = [(THINKING, thought, Accuracy.EXACT)]
    parts += [
        (source, tokens, accuracy)
        for source, tokens in zip(shared, share(line.quantity - thought, list(shared.values())), strict=True)
    ]
    found = [
        OutputPart(source=source, tokens=tokens, accuracy=label, cost=None if line.unit is None else tokens * line.unit)
        for source, tokens, label in parts
        if tokens
    ]
    for kind, source in _FEES:
        if bill.line(kind).quantity:
            found.append(OutputPart(source=source, tokens=0, accuracy=Accuracy.EXACT, cost=bill.line(kind).cost))
    return tuple(found)


def _sizes(answer: Answer, text_size: Callable[[Sequence[int]], float]) -> dict[Source, float]:
    """Return the local size of each kind of block in an answer."""
    sizes: dict[Source, float] = {}
    content = answer.message.get("content") if answer.message is not None else None
    for block in content if isinstance(content, list) else ():
        if not is_object(block):
            continue
        kind = block.get("type")
        if kind in {"thinking", "redacted_thinking"}:
            source, text = THINKING, block.get("thinking") or block.get("data")
        elif isinstance(kind, str) and kind.endswith("tool_use"):
            source, text = CALLS, json.dumps([block.get("name"), block.get("input")], ensure_ascii=False)
        else:
            source, text = TEXT, block.get("text")
        size = text_size(count_classes(text)) if isinstance(text, str) else 0.0
        sizes[source] = sizes.get(source, 0.0) + max(size, 1.0)
    return sizes


def _note(bill: Bill, model: str) -> str | None:
    if bill.unknown:
        lines = [str(line.price_class) for line in bill.lines if line.cost is None]
        missing = f"no price list has {model}" if bill.model is None else f"no price for {', '.join(lines)}"
        return f"price unknown: {missing}"
    return f"unpriced modifier: {', '.join(bill.unpriced)}" if bill.unpriced else None
