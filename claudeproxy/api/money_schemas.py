"""What the API answers about money: carrying costs, two periods, kinds of text, what ate a limit.

Apart from `insight_schemas` because these are bills, not captures weighed; the same promises hold.
"""

from __future__ import annotations

from pydantic import Field

from claudeproxy.api.schemas import Document, Dollars, Id, Time
from claudeproxy.insight.carrying_values import Gone  # noqa: TC001 - pydantic reads them
from claudeproxy.insight.quota_values import QuotaBy  # noqa: TC001
from claudeproxy.model import SourceType  # noqa: TC001


class CarriedSource(Document):
    """What one source cost a session: when its pieces were sent first, and in all later requests."""

    label: str
    source_type: SourceType
    source_name: str | None
    lives: int = Field(description="Pieces: what the source has in one block.")
    turns: int = Field(description="Requests that carried any of it along.")
    fetched_tokens: int
    carried_tokens: int
    fetched_cost: Dollars | None = Field(description="Of the first time; null where a price is unknown.")
    carried_cost: Dollars | None = Field(description="Of all later times.")


class GeneratedTotal(Document):
    """What was billed beside the prompts: text, thinking, calls; fees of server tools."""

    label: str
    source_type: SourceType
    source_name: str | None
    tokens: int
    cost: Dollars | None


class Life(Document):
    """One piece of context through a conversation."""

    label: str
    source_type: SourceType
    source_name: str | None
    kind: str
    content_hash: str | None = Field(description="Of its largest text, as in the pieces of context; null of none.")
    agent_id: str | None = Field(description="Null: the main conversation.")
    tokens: int = Field(description="When it was last sent.")
    first_request: Id
    first_sent: Time
    last_request: Id
    last_sent: Time
    requests: int = Field(description="That sent it and were billed; the first fetched it.")
    reads: int = Field(description="Later ones that read it from the cache.")
    writes: int = Field(description="Later ones that wrote it into the cache.")
    rewrites: int = Field(description="Those of the writes that the cache had had before: misses.")
    uncached: int = Field(description="Later ones at the full price.")
    fetched_cost: Dollars | None
    carried_cost: Dollars | None
    cost: Dollars | None
    gone: Gone | None = Field(description="Null while the last request of its conversation still has it.")


class CarryingCost(Document):
    """A session's bill by what was carried. Costs of sources and output add up to `cost`."""

    session_id: str
    requests: int = Field(description="Billed ones.")
    unbilled: int = Field(description="Failed, in flight or not settled: they are not in here.")
    unpriced: int = Field(description="Billed ones whose price is unknown: in tokens, not in costs.")
    api_equivalent: bool = Field(description="A subscription paid: costs are what the API would have charged.")
    cost: Dollars
    sources: list[CarriedSource] = Field(description="The dearest first.")
    output: list[GeneratedTotal]
    pieces: list[Life] = Field(description="The dearest, as many as `limit`.")
    total: int = Field(description="All pieces.")


class SourceChange(Document):
    """A source in a period and in the one as long before it. Changes are relative: 0.5 is half as much again."""

    source_type: SourceType
    source_name: str = Field(description="The type, where a source has no name.")
    usage_count: int = Field(description="Requests.")
    usage_before: int
    usage_change: float | None = Field(description="Null where there was nothing before; so are the others.")
    total_tokens: int
    tokens_before: int
    tokens_change: float | None
    average_tokens: float = Field(description="Tokens a request that used it.")
    average_before: float
    average_change: float | None = Field(description="Tells a source that grew from one that was used more.")
    total_cost: Dollars | None
    cost_before: Dollars | None
    cost_change: float | None


class MetricsComparison(Document):
    """Two periods side by side, the largest difference in tokens first."""

    start_time: Time
    end_time: Time
    before: Time = Field(description="Where the period before begins; it ends at `start_time`.")
    sources: list[SourceChange]


class SourceKinds(Document):
    """What a source's tokens in prompts consist of."""

    source_type: SourceType
    source_name: str
    total_tokens: int
    kinds: dict[str, int] = Field(description="Tokens by kind (schema, result, ...), the largest first; they add up.")


class MetricsKinds(Document):
    """Sums by source and kind, of captures that are there."""

    requests: int = Field(description="That were looked at.")
    complete: bool = Field(description="All of the time; false: the latest of them only.")
    sources: list[SourceKinds] = Field(description="The one with the most tokens first.")


class QuotaWindow(Document):
    """A limit of an account as the latest answer told of it; null for what it did not say."""

    account: str = Field(description="The organisation's id, or the hash of an API key; empty where it is unknown.")
    window: str = Field(description="Such as `5h`, `7d`, `input-tokens`.")
    used: float | None = Field(description="Of the limit: 0 to 1, and more where a limit may be gone over.")
    limit: int | None
    remaining: int | None
    reset: Time | None
    status: str | None
    timestamp: Time = Field(description="Of that answer.")


class QuotaShare(Document):
    """What one source, session or hour used of a window."""

    key: str = Field(description="A source's label, a session's id, or the beginning of an hour.")
    used: float = Field(description="Of the limit.")
    share: float = Field(description="Of what was eaten.")
    requests: int


class QuotaUse(Document):
    """What ate one window; the shares add up to `used`."""

    account: str
    window: str
    used: float = Field(description="All rises together: more than 1 over several periods.")
    requests: int
    shares: list[QuotaShare] = Field(description="The largest first; hours in order of time.")


class Quota(Document):
    """How full the account's limits are, and what ate them."""

    windows: list[QuotaWindow] = Field(description="As they were last seen.")
    by: QuotaBy
    eaten: list[QuotaUse]


class QuotaHour(QuotaWindow):
    """One window in one hour; the rest is what the last answer of the hour said."""

    start: Time
    least: float | None
    most: float | None
    samples: int = Field(description="Answers that told of it.")
    rejected: int = Field(description="Of them, those that were refused for it.")


class QuotaHistory(Document):
    """The windows hour by hour."""

    hours: list[QuotaHour] = Field(description="In order of time.")
