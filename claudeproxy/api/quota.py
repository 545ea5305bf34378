"""/api/claude/quota: how full the account's limits are, hour by hour, and what ate them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response
from quart_schema import document_response, validate_querystring

from claudeproxy.api.answers import document, json_response
from claudeproxy.api.money_presenting import quota_hour, quota_use, quota_window
from claudeproxy.api.money_schemas import Quota, QuotaHistory
from claudeproxy.api.parameters import QuotaHistoryQuery, QuotaQuery
from claudeproxy.insight.quota import Quota as Quotas

if TYPE_CHECKING:
    from claudeproxy.api.storage import StoragePool
    from claudeproxy.store.storage import CaptureStorage


def quota_routes(storage: StoragePool) -> Blueprint:
    """The routes of limits."""
    routes = Blueprint("quota", __name__)

    @routes.get("/quota")
    @validate_querystring(QuotaQuery)
    @document_response(Quota)
    async def get_quota(query_args: QuotaQuery) -> Response:
        """Say how full each limit is, and what ate it: by source, session or hour."""
        return json_response(await storage.run(lambda reader: _eaten(reader, query_args)))

    @routes.get("/quota/history")
    @validate_querystring(QuotaHistoryQuery)
    @document_response(QuotaHistory)
    async def get_quota_history(query_args: QuotaHistoryQuery) -> Response:
        """Tell how full each limit was, hour by hour, also of times whose captures are deleted."""
        return json_response(await storage.run(lambda reader: _history(reader, query_args)))

    return routes


def _eaten(reader: CaptureStorage, query: QuotaQuery) -> str:
    quota = Quotas(reader)
    since, until = query.period
    uses = quota.eaten(query.by, since=since, until=until, window=query.window)
    return document(
        Quota(
            windows=[quota_window(one) for one in quota.windows() if query.window in (None, one.window)],
            by=query.by,
            eaten=[quota_use(one, by=query.by) for one in uses],
        )
    )


def _history(reader: CaptureStorage, query: QuotaHistoryQuery) -> str:
    hours = Quotas(reader).history(since=query.since, until=query.until, window=query.window)
    return document(QuotaHistory(hours=[quota_hour(one) for one in hours]))
