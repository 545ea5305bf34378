"""Prices as they are listed: genai-prices' offline data, what it lacks from a sourced file, and the user's own.

Apart from `prices`, which applies them: here is where numbers come from. genai-prices carries its data inside the
package; its updater is never started. Prices are exact decimals in US dollars per million tokens (per thousand for
searches) and leave here as integer pico-dollars a unit: what may be rounded, once, is a unit price finer than that.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, TypeAlias, TypedDict, cast

from claudeproxy.accounting.models import model_version
from claudeproxy.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genai_prices.types import TieredPrices

PICO_PER_USD = 10**12
_PER_TOKEN = PICO_PER_USD // 10**6  # a dollar per million tokens
_PER_REQUEST = PICO_PER_USD // 10**3  # a dollar per thousand requests
_MAX_NAME = 256  # characters of a model's name that are looked at: it comes off the wire, and its suffixes one by one


class _Factor(TypedDict):
    modifier: str
    models: list[str]
    factor: str


class _Fee(TypedDict):
    fee: str
    usd_per_thousand: str


class _Modifiers(TypedDict):
    factors: list[_Factor]
    fees: list[_Fee]


_REGION = re.compile(r"^(?:[a-z]{2,6}\.)?anthropic[./]")  # us.anthropic.claude-..., anthropic/claude-...
_SUFFIX = re.compile(r"(?:\[[^\]]*\]|-v\d+(?::\d+)?|:[a-z-]+)$")  # [1m], Bedrock's -v1:0, routers' :batch


class PriceClass(StrEnum):
    """What a bill's line is for."""

    UNCACHED = "uncached"
    WRITE_5M = "write_5m"
    WRITE_1H = "write_1h"
    READ = "read"
    OUTPUT = "output"
    WEB_SEARCH = "web_search"
    WEB_FETCH = "web_fetch"


TOKEN_CLASSES = (PriceClass.UNCACHED, PriceClass.WRITE_5M, PriceClass.WRITE_1H, PriceClass.READ, PriceClass.OUTPUT)

_CLASS_NAMES = frozenset(map(str, PriceClass))

# As genai-prices names them.
_KEYS = {
    PriceClass.UNCACHED: "input_mtok",
    PriceClass.WRITE_5M: "cache_write_mtok",
    PriceClass.WRITE_1H: "cache_write_1h_mtok",
    PriceClass.READ: "cache_read_mtok",
    PriceClass.OUTPUT: "output_mtok",
    PriceClass.WEB_SEARCH: "web_searches_kcount",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOverride:
    """A user's own prices for models that match `models`, while they apply. They come before every list."""

    models: str  # pattern, as in the shell: claude-opus-*
    prices: Mapping[PriceClass, Decimal]  # US dollars per million tokens; per thousand for searches and fetches
    since: date | None = None  # UTC days; the first and the last on which it applies
    until: date | None = None

    @classmethod
    def parse(cls, entry: Mapping[str, object]) -> PriceOverride:
        """Read an entry such as ``{"models": "claude-opus-*", "uncached": "4.00", "since": "2026-07-01"}``.

        :raises ConfigError: a key or value that cannot be used.
        """
        prices: dict[PriceClass, Decimal] = {}
        days: dict[str, date] = {}
        for key, value in entry.items():
            try:
                if key in _CLASS_NAMES:
                    prices[PriceClass(key)] = _price(value)
                elif key in {"since", "until"}:
                    days[key] = value if isinstance(value, date) else date.fromisoformat(str(value))
                elif key != "models":
                    known = ", ".join(["models", "since", "until", *PriceClass])
                    raise ConfigError(f"price override: unknown key {key!r}; known are {known}")
            except (ValueError, InvalidOperation):
                raise ConfigError(f"price override: {key} cannot be {value!r}") from None
        models = entry.get("models")
        if not isinstance(models, str) or not models:
            raise ConfigError("price override: `models` must name a model, or a pattern such as claude-opus-*")
        return cls(models=models, prices=prices, since=days.get("since"), until=days.get("until"))

    def applies(self, model: str, day: date) -> bool:
        """Whether it is for this model (a bare name) and day."""
        in_time = (self.since is None or self.since <= day) and (self.until is None or day <= self.until)
        return in_time and fnmatchcase(model, self.models.lower())


Variants: TypeAlias = "tuple[tuple[str, str], ...]"
"""Which variant of a model's prices: ``("processing", "batch")``, ``("speed", "fast")``."""

Steps: TypeAlias = "tuple[tuple[int, Decimal], ...]"
"""A price by size of the prompt: (more tokens than this, price), rising. One price holds for the whole request."""


@dataclass(frozen=True, slots=True)
class ListedPrices:
    """Unit prices of one model in US dollars (per million tokens, per thousand requests), by class."""

    model: str  # as the list names it
    source: str
    steps: Mapping[PriceClass, Steps]

    def for_prompt(self, tokens: int) -> dict[PriceClass, Decimal]:
        """Return the prices of a request whose whole prompt has this many tokens."""
        return {kind: [p for start, p in steps if tokens > start][-1] for kind, steps in self.steps.items()}


def bare_model(name: str) -> str:
    """Return a model's name as Anthropic spells it: without provider and region, ``[1m]`` and version suffix."""
    bare = name[:_MAX_NAME].strip().lower().replace("@", "-")
    bare = _REGION.sub("", bare)
    while (shorter := _SUFFIX.sub("", bare)) != bare:
        bare = shorter
    return re.sub(r"(?<=\d)\.(?=\d)", "-", bare)


@lru_cache(1024)
def listed_prices(model: str, provider: str, day: date, context: Variants = ()) -> ListedPrices | None:
    """Look a model up in genai-prices; None when it is not listed."""
    import genai_prices  # 0.2 s and 17 MB with what it brings: only where prices are asked for

    try:
        found = genai_prices.calc_price(
            genai_prices.Usage(input_tokens=0),
            model,
            provider_id=provider,
            genai_request_timestamp=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
            price_context=dict(context) or None,
        )
    except LookupError:
        return None
    if model_version(found.model.id) != model_version(model):
        return None  # an unknown version that the list's patterns take for its nearest relative
    steps = {kind: _steps(getattr(found.model_price, key)) for kind, key in _KEYS.items()}
    known = {kind: step for kind, step in steps.items() if step}
    return ListedPrices(found.model.id, f"genai-prices {genai_prices.__version__}", known)


def factor(modifier: str, model: str) -> Decimal | None:
    """Return what a modifier multiplies token prices by, from the sourced file; None when that is not known."""
    for entry in _modifiers()["factors"]:
        if entry["modifier"] == modifier and any(fnmatchcase(model, pattern) for pattern in entry["models"]):
            return Decimal(entry["factor"])
    return None


def fee(kind: PriceClass) -> Decimal | None:
    """Return the price of a thousand requests to a server tool, from the sourced file."""
    for entry in _modifiers()["fees"]:
        if entry["fee"] == kind:
            return Decimal(entry["usd_per_thousand"])
    return None


def pico(kind: PriceClass, price: Decimal) -> int:
    """Return a unit price in pico-dollars: per token, or per request."""
    return round(price * (_PER_TOKEN if kind in TOKEN_CLASSES else _PER_REQUEST))


def _steps(price: object) -> Steps:
    if isinstance(price, Decimal):
        return ((-1, price),)
    if price is None:
        return ()
    tiered = cast("TieredPrices", price)
    return ((-1, tiered.base), *((tier.start, tier.price) for tier in tiered.tiers))


def _price(value: object) -> Decimal:
    price = Decimal(str(value))
    if not price.is_finite() or price < 0 or isinstance(value, bool):
        raise ValueError(value)
    return price


@cache
def _modifiers() -> _Modifiers:
    data: _Modifiers = json.loads(
        files("claudeproxy.accounting").joinpath("data", "price-modifiers.json").read_text("utf-8")
    )
    return data
