"""What tokens and dollars are called: as billed or estimated, the API's bill or what it would have been, or unknown.

Apart because every list of requests and sources has to be true in the same words.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from claudeproxy_cli.render import ESTIMATED, dollars, note, number, price

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from claudeproxy.model import Usage
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import CapturedRequest, ContextAttribution, SourceTotal

_BLOCK: Final = re.compile(r"\$\.((?:tools|system|messages)(?:\[\d+\](?:\.content(?:\[\d+\])?)?)?)")

UNKNOWN: Final = "price unknown"  # how the notes of requests begin whose bill no price list covers


def payment_note(storage: CaptureStorage, *, since: int | None = None, until: int | None = None) -> None:
    """Say it where costs of a time are not, or not all, the API's bill."""
    from claudeproxy.insight.payment import API_EQUIVALENT, Payment, payment

    paid = payment(storage, since=since, until=until)
    if paid is not Payment.API:
        some = "" if paid is Payment.SUBSCRIPTION else "some "
        note(f"{some}costs are {API_EQUIVALENT}: a subscription paid for the requests")


def subscription_note(rows: Iterable[Mapping[str, object]]) -> None:
    """Likewise of the requests that are listed."""
    from claudeproxy.insight.payment import API_EQUIVALENT

    paid = [bool(row["subscription"]) for row in rows if row["cost"] is not None]
    if any(paid):
        note(f"{'' if all(paid) else 'some '}costs are {API_EQUIVALENT}: a subscription paid for the requests")


def with_payment(cost: str, *, subscription: bool) -> str:
    """A cost for people, called what it is."""
    from claudeproxy.insight.payment import API_EQUIVALENT

    return f"{cost} ({API_EQUIVALENT})" if subscription else cost


def told_tokens(request: CapturedRequest) -> str:
    """``2,833 tokens (exact)``, ``~2,833 tokens (estimated, ±20%)``; a dash before the request was explained."""
    if request.total_tokens is None:
        return "- tokens"
    if request.accuracy != ESTIMATED:
        return f"{number(request.total_tokens)} tokens ({request.accuracy})"
    error = f", ±{request.expected_error:.1%}" if request.expected_error else ""
    return f"~{number(request.total_tokens)} tokens ({ESTIMATED}{error})"


def told_cost(request: CapturedRequest, output: Sequence[SourceTotal]) -> str:
    """``$0.0284: $0.0250 prompt, $0.0034 answer``; why there is none; what no price list covers, named."""
    if request.cost is None:
        return request.cost_note or ""
    cost = with_payment(price(dollars(request.cost)), subscription=request.subscription)
    parts = [one.cost for one in output if one.cost is not None]
    if parts and len(parts) == len(output):
        answer = sum(parts)
        cost += f": {price(dollars(request.cost - answer))} prompt, {price(dollars(answer))} answer"
    return f"{cost}; {request.cost_note}" if request.cost_note else cost


def fine_price(value: object) -> str:
    """`price` for parts of a request, which are often worth less than a hundredth of a cent: ``$0.000052``."""
    amount = 0.0 if value is None else float(str(value))
    if not 0 < amount < 0.01:
        return price(value)
    return f"${amount:.6f}" if amount >= 0.000001 else "<$0.000001"


def cost_cell(row: Mapping[str, object]) -> str:
    """The cost of a request in a table: ``unknown`` where it was billed and no list has its price."""
    unknown = row["cost"] is None and str(row["cost_note"] or "").startswith(UNKNOWN)
    return "unknown" if unknown else price(row["cost"])


def told_prompt(usage: Usage) -> str:
    """``81,204 read from the cache, 1,200 written (5m), 340 uncached``: a bill's prompt, in the order of the prompt."""
    if usage.input_tokens is None:
        return ""
    written = usage.cache_creation_input_tokens
    split = (("written (1h)", usage.cache_creation_1h), ("written (5m)", usage.cache_creation_5m))
    known = written is None or sum(count or 0 for _, count in split) == written
    parts = (
        ("read from the cache", usage.cache_read_input_tokens),
        *(split if known else (("written", written),)),
        ("uncached", usage.input_tokens),
    )
    return ", ".join(f"{number(count)} {name}" for name, count in parts if count) or "nothing"


def told_output(usage: Usage) -> str:
    """``391 output, 120 of it thinking``."""
    if usage.output_tokens is None:
        return ""
    thinking = f", {number(usage.thinking_tokens)} of it thinking" if usage.thinking_tokens else ""
    return f"{number(usage.output_tokens)} output{thinking}"


def in_prompt_order(pieces: Iterable[ContextAttribution]) -> list[ContextAttribution]:
    """The pieces of a prompt as its bill was laid over them: what the API adds in front comes first, and what was
    never seen of a thread; the answer is left out."""
    first = {"bill.overhead": 0, "thread.unseen": 1}
    prompt = [one for one in pieces if one.price_class != "output" and one.kind != "output"]
    return sorted(prompt, key=lambda one: 2 if one.kind == "tail" else first.get(one.rule, 2))


def boundaries(pieces: Sequence[ContextAttribution]) -> str:
    """``read to messages[15].content, written to messages[17].content[0]``: the last blocks of which any is. The pieces
    are in prompt order."""
    ends: dict[str, str] = {}
    for piece in pieces:
        if piece.token_count and piece.price_class not in (None, "uncached"):
            block = _BLOCK.match(piece.json_path)
            ends["read" if piece.price_class == "read" else "written"] = block[1] if block else piece.json_path
    return ", ".join(f"{done} to {path}" for done, path in ends.items())
