"""PriceBook: what an answer cost, line by line, in whole pico-dollars (a millionth of a millionth of a dollar).

    cost = tokens x unit price,  for each of: uncached input, 5 minute and 1 hour cache writes, cache reads, output
         + requests x fee,       for each server tool

Unit prices are whole pico-dollars, so nothing else is ever rounded and sums are exact. What is not known is never 0: an
unlisted model has no total ("price unknown"), and what is billed in a way that no list covers is named in `unpriced`.

Where prices come from is in `listed`. Apart from the ledger: tokens are facts of the bill, prices change by decree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from claudeproxy.accounting.bills import creation_split
from claudeproxy.accounting.listed import (
    TOKEN_CLASSES,
    ListedPrices,
    PriceClass,
    PriceOverride,
    bare_model,
    factor,
    fee,
    listed_prices,
    pico,
)
from claudeproxy.sansio.answer import is_object, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from claudeproxy.accounting.listed import Variants
    from claudeproxy.model import Usage

LookUp: TypeAlias = "Callable[[str, str, date, Variants], ListedPrices | None]"
"""Model, provider, day, variants of the list -> prices; None: not listed."""

_CONTEXTS = {"batch": ("processing", "batch"), "fast": ("speed", "fast")}  # variants that genai-prices may list
_STANDARD_TIERS = frozenset({"", "standard", "batch"})
_PRICED_TOOLS = frozenset({"web_search_requests", "web_fetch_requests"})
_NO_GEO = frozenset({"", "global", "not_available"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One price class of a bill. `unit` is pico-dollars a token (or request); None where no list has it."""

    price_class: PriceClass
    quantity: int
    unit: int | None

    @property
    def cost(self) -> int | None:
        """Pico-dollars; 0 where there is nothing to pay for, None where the price is unknown."""
        if self.quantity == 0:
            return 0
        return None if self.unit is None else self.quantity * self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one answer cost. Its lines hold the unit prices, so it can be stored and never changes with the lists."""

    lines: tuple[BillLine, ...]
    model: str | None  # as the price list names it; None: price unknown
    source: str | None  # whose prices
    modifiers: tuple[str, ...] = ()  # applied: "batch", "fast", "geo:us"
    unpriced: tuple[str, ...] = ()  # known to change the price, by how much is not known

    @property
    def unknown(self) -> bool:
        """Whether something that was used has no known price."""
        return any(line.cost is None for line in self.lines)

    @property
    def total(self) -> int | None:
        """Pico-dollars; None when the price is unknown."""
        costs = [line.cost for line in self.lines]
        return None if self.unknown else sum(cost for cost in costs if cost is not None)

    def line(self, price_class: PriceClass) -> BillLine:
        """The line of one class; an empty one where the bill has none."""
        found = (line for line in self.lines if line.price_class == price_class)
        return next(found, BillLine(price_class=price_class, quantity=0, unit=None))


class PriceBook:
    """Prices bills. `overrides` come before all lists; the last one that applies wins. Thread-safe."""

    def __init__(
        self, overrides: Iterable[PriceOverride | Mapping[str, object]] = (), *, lists: LookUp = listed_prices
    ) -> None:
        """Take overrides, parsed or as the configuration has them.

        :param lists: looks a model up: `listed.listed_prices`, or in another process `asked.AskedPrices`.
        :raises ConfigError: an override that cannot be used.
        """
        self._lists = lists
        self._overrides = [o if isinstance(o, PriceOverride) else PriceOverride.parse(o) for o in overrides]

    def price(self, usage: Usage, model: str, *, at: int, provider: str = "anthropic", batch: bool = False) -> Bill:
        """Price one answer's usage.

        :param model: as the answer named it (or the request, where there is none).
        :param at: when it was asked, ns since the epoch.
        :param provider: as genai-prices names it: ``anthropic``, ``aws``, ``google``, ...
        :param batch: whether it came through the batches API, where the usage does not say.
        """
        name, day = bare_model(model), datetime.fromtimestamp(at // 10**9, UTC).date()
        wanted, unpriced = _modifiers(usage, batch=batch)
        names = (name, model) if provider == "anthropic" else (model, name)
        prices, listed, applied, missing = _with_modifiers(
            self._lists, names, provider, day, usage.prompt_tokens or 0, wanted
        )
        source = listed.source if listed is not None else None
        for override in self._overrides:
            if override.applies(name, day):
                prices.update(override.prices)
                source = "override" if listed is None else f"{listed.source}, override"
        lines = tuple(
            BillLine(price_class=kind, quantity=quantity, unit=pico(kind, prices[kind]) if kind in prices else None)
            for kind, quantity in _quantities(usage)
        )
        known = listed.model if listed is not None else name if prices else None
        return Bill(lines=lines, model=known, source=source, modifiers=applied, unpriced=(*unpriced, *missing))


def _quantities(usage: Usage) -> list[tuple[PriceClass, int]]:
    creation = usage.cache_creation_input_tokens or 0
    split = creation_split(usage) or (creation, 0)  # not split: at the default lifetime, and said so in `unpriced`
    return [
        (PriceClass.UNCACHED, usage.input_tokens or 0),
        (PriceClass.WRITE_5M, split[0]),
        (PriceClass.WRITE_1H, split[1]),
        (PriceClass.READ, usage.cache_read_input_tokens or 0),
        (PriceClass.OUTPUT, usage.output_tokens or 0),
        (PriceClass.WEB_SEARCH, usage.web_search_requests or 0),
        (PriceClass.WEB_FETCH, usage.web_fetch_requests or 0),
    ]


def _modifiers(usage: Usage, *, batch: bool) -> tuple[list[str], list[str]]:
    """Return the modifiers that have prices, and what changes the price in a way nobody lists."""
    wanted: list[str] = []
    unpriced: list[str] = []
    tier, geo = (usage.service_tier or "").lower(), (usage.inference_geo or "").lower()
    if batch or tier == "batch":
        wanted.append("batch")
    if (usage.speed or "").lower() == "fast":
        wanted.append("fast")
    if geo not in _NO_GEO:
        wanted.append(f"geo:{geo}")
    if tier not in _STANDARD_TIERS:
        unpriced.append(f"service tier {tier}")
    if usage.cache_creation_input_tokens and creation_split(usage) is None:
        unpriced.append("cache writes of unknown lifetime")
    raw = parse_json(usage.raw) if usage.raw else None
    return wanted, unpriced + (_unlisted(raw) if is_object(raw) else [])


def _unlisted(raw: Mapping[str, object]) -> list[str]:
    """What the usage names and no price list has: other server tools, prompts that the sums leave out."""
    tools, iterations = raw.get("server_tool_use"), raw.get("iterations")
    found = [
        f"server tool {name}"
        for name, count in (tools.items() if is_object(tools) else ())
        if name not in _PRICED_TOOLS and isinstance(count, int) and count
    ]
    if isinstance(iterations, list) and any(is_object(i) and i.get("type") == "compaction" for i in iterations):
        found.append("compaction")
    return found


def _with_modifiers(
    lists: LookUp, names: tuple[str, str], provider: str, day: date, prompt_tokens: int, wanted: Sequence[str]
) -> tuple[dict[PriceClass, Decimal], ListedPrices | None, tuple[str, ...], list[str]]:
    """Return the prices with every modifier applied that has one, the list's entry, and what was applied and was not.

    Variants that the list has come before factors of the file.
    """
    listed = _listed(lists, names, provider, day, ())
    if listed is None:
        return {}, None, (), []
    context: list[tuple[str, str]] = []
    multiplier, applied, missing = Decimal(1), [], []
    for modifier in wanted:
        variant = _CONTEXTS.get(modifier)
        other = _listed(lists, names, provider, day, (*context, variant)) if variant is not None else None
        if variant is not None and other is not None and other.steps != listed.steps:
            listed = other
            context.append(variant)
            applied.append(modifier)
        elif (by := factor(modifier, bare_model(names[0]))) is not None:
            multiplier *= by
            applied.append(modifier)
        else:
            missing.append(modifier)
    prices = {
        kind: price * (multiplier if kind in TOKEN_CLASSES else 1)
        for kind, price in listed.for_prompt(prompt_tokens).items()
    }
    for kind in (PriceClass.WEB_SEARCH, PriceClass.WEB_FETCH):
        if kind not in prices and (price := fee(kind)) is not None:
            prices[kind] = price
    return prices, listed, tuple(applied), missing


def _listed(lists: LookUp, names: tuple[str, str], provider: str, day: date, context: Variants) -> ListedPrices | None:
    found = (lists(name, provider, day, context) for name in dict.fromkeys(names))
    return next((prices for prices in found if prices is not None), None)
