"""What ``claudeproxy sessions ID --carried`` shows: fetched for so much, carried for so much, over so many turns.

Apart from `sessions`, which tells a conversation turn by turn, because this is its bill by what was in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from claudeproxy_cli.money import with_payment
from claudeproxy_cli.options import Format
from claudeproxy_cli.render import Column, compact, dollars, emit, note, number, price, write_json
from claudeproxy_cli.times import iso

if TYPE_CHECKING:
    from claudeproxy.insight.carrying_values import CarriedSource, CarryingCost, Life

LIVES: Final = 10  # in a table

SOURCES: Final = (
    Column(key="label", title="source", flexible=True, least=20),
    Column(key="fetched_cost", title="fetched", text=price, align="right"),
    Column(key="carried_cost", title="carried", text=price, align="right"),
    Column(key="turns", title="turns", text=number, align="right"),
    Column(key="fetched_tokens", title="tokens", text=compact, align="right"),
    Column(key="carried_tokens", title="re-read", text=compact, align="right"),
    Column(key="lives", title="pieces", text=number, align="right", optional=True),
)
PIECES: Final = (
    Column(key="label", title="dearest pieces", flexible=True, least=20),
    Column(key="kind", title="kind", flexible=True, least=8),
    Column(key="tokens", title="tokens", text=compact, align="right"),
    Column(key="cost", title="cost", text=price, align="right"),
    Column(key="requests", title="sent", text=number, align="right"),
    Column(key="reads", title="read", text=number, align="right"),
    Column(key="rewrites", title="again", text=number, align="right", optional=True),
    Column(key="gone", title="gone", text=lambda value: str(value or "-"), optional=True),
)


def show_carried(told: CarryingCost, output: Format, *, limit: int) -> None:
    """Write a session's carrying cost: whole as JSON, its sources otherwise; as a table `limit` of them, the dearest,
    and the dearest pieces."""
    sources = [source_row(one) for one in told.sources]
    if output is Format.JSON:
        write_json(document(told))
        return
    if output is not Format.TABLE:
        emit(sources, SOURCES, output)
        return
    for line in facts(told):
        print(line)
    if sources:
        print()
        emit(sources[:limit], SOURCES, output)
        if len(sources) > limit:
            note(f"{limit} of {len(sources):,}; --limit N shows more")
        print()
        emit([life_row(one) for one in told.lives[:LIVES]], PIECES, output)
    else:
        note("no request of this session has a bill")


def facts(told: CarryingCost) -> list[str]:
    """What the numbers are of, a line a fact."""
    left_out = [
        f"{count:,} {why}"
        for count, why in ((told.unbilled, "without a bill"), (told.unpriced, "whose price is unknown"))
        if count
    ]
    output = sum(one.cost or 0 for one in told.output)
    said = [
        ("session", told.session_id),
        ("cost", with_payment(price(dollars(told.cost)), subscription=told.subscription)),
        ("of it output", price(dollars(output))),
        ("requests", f"{told.requests:,}"),
        ("left out", ", ".join(left_out)),
    ]
    return [f"{name:<13}{value}" for name, value in said if value]


def document(told: CarryingCost) -> dict[str, object]:
    """The whole, as JSON can carry it."""
    return {
        "session_id": told.session_id,
        "requests": told.requests,
        "unbilled": told.unbilled,
        "unpriced": told.unpriced,
        "api_equivalent": told.subscription,
        "cost": dollars(told.cost),
        "sources": [source_row(one) for one in told.sources],
        "output": [{"label": one.source.label, "tokens": one.tokens, "cost": dollars(one.cost)} for one in told.output],
        "pieces": [life_row(one) for one in told.lives],
    }


def source_row(one: CarriedSource) -> dict[str, object]:
    """One source."""
    return {
        "label": one.source.label,
        "source_type": str(one.source.type),
        "source_name": one.source.name,
        "lives": one.lives,
        "turns": one.turns,
        "fetched_tokens": one.fetched_tokens,
        "carried_tokens": one.carried_tokens,
        "fetched_cost": dollars(one.fetched_cost),
        "carried_cost": dollars(one.carried_cost),
        "summary": sentence(one),
    }


def sentence(one: CarriedSource) -> str:
    """``fetched for $0.03, carried for $1.90 over 84 turns``; in tokens where a price is unknown."""
    if one.fetched_cost is None or one.carried_cost is None:
        fetched, carried = f"with {one.fetched_tokens:,} tokens", f"with {one.carried_tokens:,}"
    else:
        fetched, carried = f"for {price(dollars(one.fetched_cost))}", f"for {price(dollars(one.carried_cost))}"
    turns = "1 turn" if one.turns == 1 else f"{one.turns:,} turns"
    return f"fetched {fetched}, carried {carried} over {turns}" if one.turns else f"fetched {fetched}"


def life_row(one: Life) -> dict[str, object]:
    """One piece."""
    return {
        "label": one.source.label,
        "kind": one.kind,
        "content_hash": one.text_hash or None,
        "agent_id": one.agent_id,
        "tokens": one.tokens,
        "first_request": one.first_request,
        "first_sent": iso(one.first_at),
        "last_request": one.last_request,
        "last_sent": iso(one.last_at),
        "requests": one.requests,
        "reads": one.reads,
        "writes": one.writes,
        "rewrites": one.rewrites,
        "uncached": one.uncached,
        "fetched_cost": dollars(one.fetched_cost),
        "carried_cost": dollars(one.carried_cost),
        "cost": dollars(one.cost),
        "gone": str(one.gone) if one.gone else None,
    }
