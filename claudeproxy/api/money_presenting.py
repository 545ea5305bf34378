"""Bills as documents of the API: renaming and formatting, nothing else. As `insight_presenting`, of `money_schemas`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from claudeproxy.api.money_schemas import (
    CarriedSource,
    CarryingCost,
    GeneratedTotal,
    Life,
    QuotaHour,
    QuotaShare,
    QuotaUse,
    QuotaWindow,
    SourceChange,
    SourceKinds,
)
from claudeproxy.api.presenting import dollars
from claudeproxy.api.times import iso, iso_or_none
from claudeproxy.model import SourceType

if TYPE_CHECKING:
    from claudeproxy.insight import carrying_values, comparison_values, quota_values
    from claudeproxy.model import Source


def carrying_cost(one: carrying_values.CarryingCost, *, limit: int) -> CarryingCost:
    """A session's bill with the `limit` dearest pieces."""
    return CarryingCost(
        session_id=one.session_id,
        requests=one.requests,
        unbilled=one.unbilled,
        unpriced=one.unpriced,
        api_equivalent=one.subscription,
        cost=dollars(one.cost) or "0",
        sources=[_carried(source) for source in one.sources],
        output=[
            GeneratedTotal.model_validate({**_named(part.source), "tokens": part.tokens, "cost": dollars(part.cost)})
            for part in one.output
        ],
        pieces=[_life(life) for life in one.lives[:limit]],
        total=len(one.lives),
    )


def source_change(one: comparison_values.SourceChange) -> SourceChange:
    """A source in two periods."""
    return SourceChange(
        source_type=SourceType(one.source_type),
        source_name=one.source_name,
        usage_count=one.now.requests,
        usage_before=one.before.requests,
        usage_change=one.requests_change,
        total_tokens=one.now.tokens,
        tokens_before=one.before.tokens,
        tokens_change=one.tokens_change,
        average_tokens=one.now.average_tokens,
        average_before=one.before.average_tokens,
        average_change=one.average_change,
        total_cost=dollars(one.now.cost),
        cost_before=dollars(one.before.cost),
        cost_change=one.cost_change,
    )


def source_kinds(one: comparison_values.SourceKinds) -> SourceKinds:
    """What a source consists of."""
    return SourceKinds(
        source_type=SourceType(one.source_type),
        source_name=one.source_name,
        total_tokens=one.tokens,
        kinds=dict(one.kinds),
    )


def quota_window(one: quota_values.QuotaState) -> QuotaWindow:
    """A window as it was last seen."""
    return QuotaWindow.model_validate(_window_fields(one))


def quota_use(one: quota_values.QuotaUse, *, by: quota_values.QuotaBy) -> QuotaUse:
    """What ate a window."""
    return QuotaUse(
        account=one.account,
        window=one.window,
        used=one.used,
        requests=one.requests,
        shares=[
            QuotaShare(
                key=iso(int(share.key)) if by == "hour" else share.key,
                used=share.used,
                share=round(share.millionths / one.millionths, 6),
                requests=share.requests,
            )
            for share in one.shares
        ],
    )


def quota_hour(one: quota_values.QuotaHour) -> QuotaHour:
    """A window in one hour."""
    return QuotaHour.model_validate(
        {
            **_window_fields(one.latest),
            "start": iso(one.start),
            "least": one.least,
            "most": one.most,
            "samples": one.samples,
            "rejected": one.rejected,
        }
    )


def _named(source: Source) -> dict[str, object]:
    return {"label": source.label, "source_type": source.type, "source_name": source.name}


def _carried(one: carrying_values.CarriedSource) -> CarriedSource:
    return CarriedSource.model_validate(
        {
            **_named(one.source),
            "lives": one.lives,
            "turns": one.turns,
            "fetched_tokens": one.fetched_tokens,
            "carried_tokens": one.carried_tokens,
            "fetched_cost": dollars(one.fetched_cost),
            "carried_cost": dollars(one.carried_cost),
        }
    )


_LIFE = ("kind", "agent_id", "tokens", "first_request", "last_request", "gone")
_TIMES = ("requests", "reads", "writes", "rewrites", "uncached")


def _life(one: carrying_values.Life) -> Life:
    return Life.model_validate(
        {
            **_named(one.source),
            **{name: getattr(one, name) for name in (*_LIFE, *_TIMES)},
            "content_hash": one.text_hash or None,
            "first_sent": iso(one.first_at),
            "last_sent": iso(one.last_at),
            "fetched_cost": dollars(one.fetched_cost),
            "carried_cost": dollars(one.carried_cost),
            "cost": dollars(one.cost),
        }
    )


def _window_fields(one: quota_values.QuotaState) -> dict[str, object]:
    return {
        "account": one.account,
        "window": one.window,
        "used": one.used,
        "limit": one.limit,
        "remaining": one.remaining,
        "reset": iso_or_none(one.reset),
        "status": one.status,
        "timestamp": iso(one.at),
    }
