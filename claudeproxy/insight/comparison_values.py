"""What `Comparison` gives: two periods side by side, days in a row, kinds of text. Frozen values; costs pico-dollars.

Apart, as `values` is, so that the API and the command line can name them without the SQL behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodNumbers:
    """What one source was used for, and cost, in one period."""

    requests: int
    tokens: int
    cost: int | None  # of the requests whose cost is known; None: of none, or not used

    @property
    def average_tokens(self) -> float:
        """Tokens a request that used it; 0.0 of none."""
        return self.tokens / self.requests if self.requests else 0.0

    @property
    def average_cost(self) -> float | None:
        """Pico-dollars a request that used it."""
        return None if self.cost is None or not self.requests else self.cost / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceChange:
    """A source in a period (`now`) and in the one before it."""

    source_type: str
    source_name: str  # the type, where a source has no name
    now: PeriodNumbers
    before: PeriodNumbers

    @property
    def requests_change(self) -> float | None:
        """Relative: 0.5 is half as much again. None: it was not used before."""
        return relative(self.now.requests, self.before.requests)

    @property
    def tokens_change(self) -> float | None:
        """Likewise, of all its tokens."""
        return relative(self.now.tokens, self.before.tokens)

    @property
    def average_change(self) -> float | None:
        """Likewise, of its tokens a request: what remains when only the number of requests has changed."""
        return relative(self.now.average_tokens, self.before.average_tokens)

    @property
    def cost_change(self) -> float | None:
        """Likewise, of its cost; None also where a price is unknown."""
        return relative(self.now.cost, self.before.cost)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrend:
    """A source day by day: `tokens`, `requests` and `costs` have a value for each UTC day of the trend."""

    source_type: str
    source_name: str
    requests: Sequence[int]
    tokens: Sequence[int]
    costs: Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """All sources day by day; `days` are the first instants (ns since the epoch) of the days, none left out."""

    days: Sequence[int]
    sources: Sequence[SourceTrend]  # the one with the most tokens first


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKinds:
    """What a source's tokens in prompts consist of: schema, result, instructions, ... The kinds add up to `tokens`."""

    source_type: str
    source_name: str
    tokens: int
    kinds: Mapping[str, int]  # the largest first


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTotals:
    """Sums by source and kind over the captures of a time; `complete`: over all of them, not the latest only."""

    requests: int
    complete: bool
    sources: Sequence[SourceKinds]  # the one with the most tokens first


def relative(now: float | None, before: float | None) -> float | None:
    """Return the relative change; None where there is nothing to compare with."""
    return None if now is None or not before else now / before - 1
