"""What a bill says about the prompt it is for: the sizes of its prefixes, and whether it is for one prompt at all.

Apart because it is the reading of Anthropic's `usage` (documentation of prompt caching), without any memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.accounting.plan import End
from claudeproxy.sansio.answer import is_object, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from claudeproxy.accounting.chain import Prompt
    from claudeproxy.model import Answer, Usage


MAX_TAIL = 64  # tokens after the last block: 3 and 4 were seen, and up to 10 beside short prompts


def creation_split(usage: Usage) -> tuple[int, int] | None:
    """Return the tokens written for 5 minutes and for 1 hour; None where the bill does not split what was written.

    A split that does not add up to the total says nothing.
    """
    creation = usage.cache_creation_input_tokens or 0
    short, long = usage.cache_creation_5m, usage.cache_creation_1h
    if short is None and long is None:
        return (0, 0) if creation == 0 else None
    return (short or 0, long or 0) if (short or 0) + (long or 0) == creation else None


def is_one_prompt(usage: Usage, answer: Answer | None) -> bool:
    """Tell whether the bill is for exactly the prompt of the request.

    It is not after a loop of server tools (several prompts, `iterations`), nor where the API edited the context.
    """
    if (usage.web_search_requests or 0) + (usage.web_fetch_requests or 0):
        return False
    raw = parse_json(usage.raw) if usage.raw else None
    iterations = raw.get("iterations") if is_object(raw) else None
    if isinstance(iterations, list) and len(iterations) > 1:
        return False
    message = answer.message if answer is not None else None
    managed = message.get("context_management") if message is not None else None
    return not (is_object(managed) and _edited(managed.get("applied_edits")))


def billed_ends(prompt: Prompt, usage: Usage, total: int, *, tail: int) -> dict[int, End]:
    """Return the prefixes whose size the bill names, by index of their last link; the last link is always there.

    `tail` is what the API is known to add after the last block; a breakpoint there makes it exact.
    """
    last = len(prompt.links) - 1
    read, creation = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    ends = {last: End(max(0, total - tail), billed=False)}
    if usage.cache_read_input_tokens is None or usage.cache_creation_input_tokens is None or not read + creation:
        return ends
    marks = [i for i, link in enumerate(prompt.links) if link.ttl is not None]
    if not marks:
        return ends
    if marks[-1] == last and total - read - creation > MAX_TAIL:
        return ends  # this breakpoint was not where the cache ends
    ends[marks[-1]] = End(read + creation, billed=True)
    split = creation_split(usage)
    if split is not None and split[1] and split[0]:
        hour = [i for i in marks if prompt.links[i].ttl == "1h"]
        if hour and hour[-1] != marks[-1]:
            ends[hour[-1]] = End(read + split[1], billed=True)
    return ends


def consistent(known: Mapping[int, End], billed: Mapping[int, End]) -> dict[int, End]:
    """Return the billed ends with every known one that fits between them: sizes of prefixes never fall."""
    ends: dict[int, End] = {}
    floor = End(0, billed=True)
    limits = sorted(billed)
    at = 0
    for index in sorted({*known, *billed}):
        while limits[at] < index and at + 1 < len(limits):
            at += 1
        end = billed.get(index) or known[index]
        if index in billed or floor.tokens <= end.tokens <= billed[limits[at]].tokens:
            ends[index] = end
            floor = end
    return ends


def _edited(edits: object) -> bool:
    """Whether one of the edits cleared anything; clients ask for them with every request."""
    return isinstance(edits, list) and any(
        isinstance(value, int) and value > 0
        for edit in edits
        if is_object(edit)
        for key, value in edit.items()
        if key.startswith("cleared")
    )
